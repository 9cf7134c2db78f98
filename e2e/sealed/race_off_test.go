//go:build !race

package sealed_test

const underRace = false
