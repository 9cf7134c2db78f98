#!/bin/sh
# Makes the full run: ./run.sh results/2026-01-31.txt
# and that of another package: ./run.sh results/2026-01-31-registry.txt ./registry
# Ten passes ($PASSES) over all peers, not ten repetitions of one peer after the other,
# so that a change of the machine's mood meets everybody.
set -eu
out=${1:?usage: ./run.sh results/DATE.txt [package]}
[ ! -e "$out" ] || { echo "run.sh: $out exists" >&2; exit 1; }
passes=${PASSES:-10} pass=0
while [ $((pass += 1)) -le "$passes" ]; do
	echo "pass $pass of $passes" >&2
	go test -run='^$' -bench=. -benchtime=0.3s -timeout=30m "${2:-.}" >> "$out"
done
