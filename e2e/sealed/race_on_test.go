//go:build race

package sealed_test

// underRace: the race detector slows all down by a factor of five to ten.
const underRace = true
