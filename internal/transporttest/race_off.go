//go:build !race

package transporttest

// raceDetector says whether data races are reported, go-micro's included.
const raceDetector = false
