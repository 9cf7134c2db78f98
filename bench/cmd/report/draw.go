package main

import (
	"image/color"
	"math"

	"github.com/go-signet/signet/bench/internal/chart"
)

// draw draws one group of bars for each cell and one bar for each plugin.
func draw(res *table, w workload) ([]byte, error) {
	names := make([]string, len(w.cells))
	for i, at := range w.cells {
		names[i] = at.String()
	}
	var series []chart.Series
	for _, plugin := range w.plugins {
		s := chart.Series{Name: plugin, Color: colorOf(plugin)}
		for _, at := range w.cells {
			us := math.NaN()
			if m, ok := res.median(at, plugin, unitTime); ok {
				us = m.Center * 1e6
			}
			s.Values = append(s.Values, us)
		}
		series = append(series, s)
	}
	return chart.Bars(w.title, names, series)
}

// colorOf keeps a plugin's colour the same in every chart: ours stands out, and a
// peer in clear is lighter than itself over TLS.
func colorOf(plugin string) color.Color {
	known := map[string]color.Color{
		ours:           color.RGBA{R: 0xd1, G: 0x3b, B: 0x2a, A: 0xff},
		"http":         color.RGBA{R: 0x9c, G: 0xc3, B: 0xe6, A: 0xff},
		"http-mtls":    color.RGBA{R: 0x2f, G: 0x6d, B: 0xa8, A: 0xff},
		"grpc-mtls":    color.RGBA{R: 0x3f, G: 0x8f, B: 0x5b, A: 0xff},
		"memory":       color.RGBA{R: 0xe3, G: 0xc5, B: 0x6b, A: 0xff},
		"raw-quic":     color.RGBA{R: 0xa9, G: 0xa9, B: 0xa9, A: 0xff},
		"raw-quic-gro": color.RGBA{R: 0x5e, G: 0x5e, B: 0x5e, A: 0xff},
	}
	if c, ok := known[plugin]; ok {
		return c
	}
	return color.Black
}
