package main

import (
	"bytes"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// groupWidth is the part of the distance between two groups that bars fill.
const groupWidth = 0.84

// The parts of a chart, beside the groups.
const (
	groupSpace  = 3.2 * vg.Centimeter
	axisSpace   = 2 * vg.Centimeter
	legendSpace = 4 * vg.Centimeter
	height      = 9 * vg.Centimeter
)

// chart draws one group of bars for each cell and one bar for each plugin. The axis
// is logarithmic, as cells differ by orders of magnitude: what can be compared by
// eye is the distance between two tops, which is their ratio.
func chart(res *results, w workload) ([]byte, error) {
	p := plot.New()
	p.Title.Text = w.title
	p.Y.Label.Text = "µs per operation, log scale"
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	p.Add(grid)

	names := make([]string, len(w.cells))
	for i, at := range w.cells {
		names[i] = at.String()
	}
	p.NominalX(names...)

	legend := plot.NewLegend()
	legend.Top, legend.Left = true, true
	low, high := math.Inf(1), math.Inf(-1)
	for i, plugin := range w.plugins {
		b := &bars{color: colorOf(plugin), width: groupWidth / float64(len(w.plugins))}
		for x, at := range w.cells {
			m, ok := res.median(at, plugin, unitTime)
			if !ok {
				continue
			}
			us := m.Center * 1e6
			low, high = min(low, us), max(high, us)
			left := float64(x) - groupWidth/2 + float64(i)*b.width
			b.at = append(b.at, bar{left: left, height: us})
		}
		p.Add(b)
		legend.Add(plugin, b)
	}
	p.X.Min, p.X.Max = -0.5, float64(len(w.cells))-0.5
	// Half of the lowest, so that its bar has a height.
	p.Y.Min = math.Pow10(int(math.Floor(math.Log10(low / 2))))
	p.Y.Max = math.Pow10(int(math.Ceil(math.Log10(high))))

	width := vg.Length(len(w.cells))*groupSpace + axisSpace + legendSpace
	svg := vgsvg.New(width, height)
	whole := draw.New(svg)
	whole.FillPolygon(color.White, []vg.Point{{}, {Y: height}, {X: width, Y: height}, {X: width}})
	p.Draw(draw.Crop(whole, 0, -legendSpace, 0, 0))
	legend.Draw(draw.Crop(whole, width-legendSpace+vg.Centimeter/2, 0, 0, -vg.Centimeter))

	var out bytes.Buffer
	if _, err := svg.WriteTo(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

type bar struct{ left, height float64 }

// bars are the bars of one plugin. plotter.BarChart draws bars from zero, which a
// logarithmic axis does not have; these stand on the axis.
type bars struct {
	at    []bar
	width float64
	color color.Color
}

func (b *bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, bar := range b.at {
		c.FillPolygon(b.color, []vg.Point{
			{X: x(bar.left), Y: y(p.Y.Min)},
			{X: x(bar.left), Y: y(bar.height)},
			{X: x(bar.left + b.width), Y: y(bar.height)},
			{X: x(bar.left + b.width), Y: y(p.Y.Min)},
		})
	}
}

// Thumbnail draws the plugin's colour in the legend.
func (b *bars) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(b.color, []vg.Point{
		c.Min, {X: c.Min.X, Y: c.Max.Y}, c.Max, {X: c.Max.X, Y: c.Min.Y},
	})
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
