#!/bin/sh
# Makes the full run: ./run.sh results/2026-01-31.txt
# Ten passes over all peers, not ten repetitions of one peer after the other, so that
# a change of the machine's mood meets everybody.
set -eu
out=${1:?usage: ./run.sh results/DATE.txt}
[ ! -e "$out" ] || { echo "run.sh: $out exists" >&2; exit 1; }
for pass in 1 2 3 4 5 6 7 8 9 10; do
	echo "pass $pass of 10" >&2
	go test -run='^$' -bench=. -benchtime=0.3s -timeout=30m . >> "$out"
done
