// Package chart draws benchmark results.
package chart

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

// A Series is what was measured of one plugin.
type Series struct {
	Name   string
	Color  color.Color
	Values []float64 // in µs, one for each group; NaN where there is none
}

// Bars draws one group of bars for each name in groups, and one bar for each series, as
// SVG. The axis is logarithmic, as groups differ by orders of magnitude: what can be
// compared by eye is the distance between two tops, which is their ratio.
func Bars(title string, groups []string, series []Series) ([]byte, error) {
	p := plot.New()
	p.Title.Text = title
	p.Y.Label.Text = "µs per operation, log scale"
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	p.Add(grid)
	p.NominalX(groups...)

	legend := plot.NewLegend()
	legend.Top, legend.Left = true, true
	low, high := math.Inf(1), math.Inf(-1)
	for i, s := range series {
		b := &bars{color: s.Color, width: groupWidth / float64(len(series))}
		for x, us := range s.Values {
			if math.IsNaN(us) {
				continue
			}
			low, high = min(low, us), max(high, us)
			left := float64(x) - groupWidth/2 + float64(i)*b.width
			b.at = append(b.at, bar{left: left, height: us})
		}
		p.Add(b)
		legend.Add(s.Name, b)
	}
	p.X.Min, p.X.Max = -0.5, float64(len(groups))-0.5
	// Half of the lowest, so that its bar has a height.
	p.Y.Min = math.Pow10(int(math.Floor(math.Log10(low / 2))))
	p.Y.Max = math.Pow10(int(math.Ceil(math.Log10(high))))

	width := vg.Length(len(groups))*groupSpace + axisSpace + legendSpace
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
