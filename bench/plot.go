package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A bar is one line of a plot: a value, and between what others of it lie.
type bar struct {
	label    string
	value    float64
	min, max float64
	text     string // the value for people
	ours     bool
}

// The measures of a plot, in pixels.
const (
	plotWidth   = 780
	plotLabels  = 230 // left of the bars
	plotTexts   = 200 // right of the longest bar
	plotTitle   = 34
	barHeight   = 18
	barDistance = 26
)

// The colours of a plot: of busd, of others, of the whiskers, and of text.
const (
	ourColour     = "#2f6f4f"
	theirColour   = "#b9c2cc"
	whiskerColour = "#55606c"
	textColour    = "#1f2429"
)

// plot draws horizontal bars from nought, each with a line from the least to the
// most, as SVG.
func plot(title string, bars []bar) string {
	longest := 0.0
	for _, b := range bars {
		longest = max(longest, b.max, b.value)
	}
	if longest == 0 {
		longest = 1
	}
	scale := float64(plotWidth-plotLabels-plotTexts) / longest
	height := plotTitle + len(bars)*barDistance + 10
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n",
		plotWidth, height, plotWidth, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", plotWidth, height)
	fmt.Fprintf(&out, `<text x="10" y="22" font-weight="bold" fill="%s">%s</text>`+"\n", textColour, escapedXML(title))
	for i, b := range bars {
		top := plotTitle + i*barDistance
		middle, end := top+barHeight/2, plotLabels+b.value*scale
		colour := theirColour
		if b.ours {
			colour = ourColour
		}
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end" fill="%s">%s</text>`+"\n", plotLabels-10, middle+5, textColour, escapedXML(b.label))
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", plotLabels, top, b.value*scale, barHeight, colour)
		if b.max > b.min {
			fmt.Fprintf(&out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="2"/>`+"\n",
				plotLabels+b.min*scale, middle, plotLabels+b.max*scale, middle, whiskerColour)
			end = max(end, plotLabels+b.max*scale)
		}
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" fill="%s">%s</text>`+"\n", end+8, middle+5, textColour, escapedXML(b.text))
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func escapedXML(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a builder takes everything
	return out.String()
}

// barsOf makes the bars of a work's first metric.
func barsOf(r *results, w *work) []bar {
	var bars []bar
	for _, c := range r.measured(w.name) {
		s, ok := r.summary(w.name, c.name, w.columns[0].metric)
		if !ok {
			continue
		}
		bars = append(bars, bar{
			label: c.title, value: s.Median, min: s.Min, max: s.Max, text: w.columns[0].unit(s.Median),
			ours: strings.HasPrefix(c.name, busdContender.name),
		})
	}
	return bars
}

// writePlots writes a plot of each work that has something to compare into a
// directory, which is there, and returns the files by work.
func writePlots(r *results, dir string) (map[string]string, error) {
	files := map[string]string{}
	for _, w := range works() {
		bars := barsOf(r, w)
		if len(bars) < 2 {
			continue
		}
		file := filepath.Join(dir, w.name+".svg")
		title := fmt.Sprintf("%s: %s", w.title, w.columns[0].head)
		if err := os.WriteFile(file, []byte(plot(title, bars)), 0o644); err != nil { //nolint:gosec // G306: for everybody to read
			return files, err
		}
		files[w.name] = file
	}
	return files, nil
}
