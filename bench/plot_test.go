package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// shapes are the elements of an SVG picture, by name.
func shapes(t *testing.T, text string) map[string][]map[string]string {
	t.Helper()
	found := map[string][]map[string]string{}
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if e, ok := token.(xml.StartElement); ok {
			attributes := map[string]string{}
			for _, a := range e.Attr {
				attributes[a.Name.Local] = a.Value
			}
			found[e.Name.Local] = append(found[e.Name.Local], attributes)
		}
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPlot(t *testing.T) {
	t.Parallel()
	got := shapes(t, plot("rates <per second> & more", []bar{
		{label: "one", value: 50, min: 25, max: 100, text: "50", ours: true},
		{label: "other", value: 25, min: 25, max: 25, text: "25"},
	}))
	rects := got["rect"][1:] // the first is the ground
	if len(rects) != 2 || rects[0]["fill"] != ourColour || rects[1]["fill"] != theirColour {
		t.Fatalf("bars: got %v", rects)
	}
	if one, other := number(t, rects[0]["width"]), number(t, rects[1]["width"]); one != 2*other {
		t.Errorf("bars of 50 and 25: got %v and %v", one, other)
	}
	if len(got["line"]) != 1 {
		t.Fatalf("whiskers: got %v, want one: the other bar has no spread", got["line"])
	}
	from, to := number(t, got["line"][0]["x1"]), number(t, got["line"][0]["x2"])
	if width := number(t, rects[0]["width"]); from != plotLabels+width/2 || to != plotLabels+2*width {
		t.Errorf("the whisker goes from %v to %v, the bar to %v", from, to, plotLabels+width)
	}
	if to > plotWidth-plotTexts {
		t.Errorf("the whisker ends at %v, where the texts are", to)
	}
}

func TestPlotOfNothing(t *testing.T) {
	t.Parallel()
	shapes(t, plot("nothing", []bar{{label: "none", text: "0"}}))
}

func TestWritePlots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, err := writePlots(sampleResults(), dir)
	if err != nil || len(files) != 1 || files["echo-16-1"] != filepath.Join(dir, "echo-16-1.svg") {
		t.Fatalf("got %v, %v, want one: of the others there is nothing to compare", files, err)
	}
	text, err := os.ReadFile(files["echo-16-1"])
	if err != nil || !strings.Contains(string(text), "busd") {
		t.Errorf("%v, got\n%s", err, text)
	}
}
