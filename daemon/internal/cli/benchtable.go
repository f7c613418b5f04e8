package cli

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	load "busd/daemon/internal/bench"
	"busd/daemon/internal/histogram"
)

// A benchTable prints results for people, each as it comes, and on a terminal how
// far the next is.
type benchTable struct {
	// Fixed at creation.
	app  *app
	what *benching
	live bool
	bar  *progress

	begun  bool
	test   load.Test // of the last row
	failed error     // of writing
}

func (p *app) newBenchTable(b *benching) *benchTable {
	t := &benchTable{app: p, what: b, bar: p.newProgress("")}
	t.live = t.bar.to != nil
	return t
}

// moved shows how far a measurement is.
func (t *benchTable) moved(p load.Progress) {
	full := int(p.Done * progressCells)
	t.bar.draw(fmt.Sprintf("%s, %s  [%s%s]  %s/s", p.Result.Test, benchName(&p.Result),
		strings.Repeat("#", full), strings.Repeat("-", progressCells-full), rateText(p.PerSecond)))
}

// benchRow is a line of the table.
const benchRow = "%-12s %-24s %6s %9s %11s %9s %9s %9s %9s %9s %7s\n"

// add prints a result.
func (t *benchTable) add(r load.Result) {
	t.bar.end()
	t.bar.width = 0
	var b strings.Builder
	if !t.begun {
		t.begun = true
		fmt.Fprintf(&b, benchRow, "", "", "conns", "in flight", "per second", "p50", "p90", "p99", "p99.9", "max", "errors")
	}
	test := string(r.Test)
	if r.Test == t.test {
		test = ""
	}
	t.test = r.Test
	if r.NotMeasured != "" {
		fmt.Fprintf(&b, "%-12s %-24s not measured: %s\n", test, benchName(&r), visible(r.NotMeasured))
	} else {
		cells := [5]string{"-", "-", "-", "-", "-"}
		if l := r.Latency; l != nil {
			for i, us := range []float64{l.P50, l.P90, l.P99, l.P999, l.Max} {
				cells[i] = histogram.Text(fromMicros(us))
			}
		}
		inFlight := "-"
		if r.InFlight > 0 {
			inFlight = plainInt(r.InFlight)
		}
		fmt.Fprintf(&b, benchRow, test, benchName(&r), plainInt(r.Connections), inFlight, rateText(r.PerSecond),
			cells[0], cells[1], cells[2], cells[3], cells[4], strconv.FormatUint(r.ErrorCount(), 10))
	}
	for _, note := range benchNotes(&r) {
		fmt.Fprintf(&b, "%-12s   %s\n", "", visible(note))
	}
	if r.Latency != nil {
		b.WriteString(drawHistogram(r.Latency.Parts))
	}
	t.write(trimmed(b.String()))
}

// end prints of what all of it was.
func (t *benchTable) end(r *load.Report) error {
	server := ""
	if r.ServerVersion != "" {
		server = ", version " + r.ServerVersion
	}
	t.write(visibleLines(fmt.Sprintf("\n%s%s, as %s, in %.1f s; client %s, %s, %s/%s, %s\n", r.URL, server, r.Peer, r.Seconds,
		r.Client.Version, r.Client.Go, r.Client.OS, r.Client.Arch, plural(r.Client.CPUs, "processor"))))
	return t.failed
}

func (t *benchTable) write(text string) {
	if _, err := io.WriteString(t.app.out, text); err != nil && t.failed == nil {
		t.failed = err
	}
}

// benchName is what a result is of, for people.
func benchName(r *load.Result) string {
	switch r.Way {
	case load.Stable:
		return "echo, stable connection"
	case load.HTTPS:
		return "echo, HTTPS"
	case load.Request:
		return "request " + r.Message
	case load.Send:
		return "send " + r.Message
	case load.Delivery:
		if r.Delivered != nil {
			return r.Message + " to " + r.Delivered.Message + ", each"
		}
		return strings.TrimSpace(r.Message + " to all")
	case load.Last:
		return "until the last has it"
	case load.FullTLS:
		return "full TLS handshake"
	case load.Resumed:
		return "resumed TLS session"
	case load.Cut:
		return "back after a cut"
	}
	return string(r.Way)
}

// busyShare is the share of all processors from which on this program is likely to
// be what bounds a figure.
const busyShare = 0.7

// benchNotes say what no column has.
func benchNotes(r *load.Result) []string {
	var notes []string
	add := func(format string, a ...any) { notes = append(notes, fmt.Sprintf(format, a...)) }
	if len(r.Errors) > 0 {
		add("errors: %s", benchErrors(r))
	}
	if r.Lost > 0 {
		add("%s lost meanwhile", plural(int(r.Lost), "connection"))
	}
	if r.NotBegun > 0 {
		add("the rate of %s/s was not reached: %d were due and not begun", rateText(r.Rate), r.NotBegun)
	}
	if r.Class != "" {
		add("%s is of class %s: what finds no room may be replaced or dropped, and counts as sent", r.Message, r.Class)
	}
	if r.Size > 0 && r.Size >= 1024 {
		add("%s/s each way", bytesText(int64(r.PerSecond*float64(r.Size))))
	}
	if d := r.Delivered; d != nil {
		add("%s: %d delivered, %d missing, %d twice", plural(int(d.Rounds), "round"), r.Operations, d.Missing, d.Extra)
	}
	if o := r.Opened; o != nil {
		add("%d of %d opened, %d of them with a resumed TLS session", r.Operations, r.Connections, o.TLSResumed)
	}
	if back := r.Back; back != nil {
		add("%d of %d back after %s: %s resumed, %d new, %s unknown", r.Operations, r.Connections, histogram.Text(time.Duration(r.Seconds*float64(time.Second))),
			plural(int(back.Resumed), "session"), back.New, plural(int(back.Unknown), "message"))
		if back.Hints > 0 {
			add("the server said %s when to come back: %s too early", times(back.Hints), plural(int(back.Early), "attempt"))
		}
	}
	if (r.Opened != nil || r.Back != nil) && r.Connections > load.PerAddress {
		add("busd lets %d connections a second begin from one address (limits.new_per_address): that may be what bounds this", load.PerAddress)
	}
	if r.Seconds > 0 && r.CPUSeconds/r.Seconds > busyShare*float64(load.CPUs()) {
		add("this client used %.1f of %s: it may be the bound", r.CPUSeconds/r.Seconds, plural(load.CPUs(), "processor"))
	}
	return notes
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// benchErrors lists what failed, the most frequent first, and says the first.
func benchErrors(r *load.Result) string {
	codes := slices.Sorted(maps.Keys(r.Errors))
	slices.SortStableFunc(codes, func(a, b string) int {
		switch {
		case r.Errors[a] > r.Errors[b]:
			return -1
		case r.Errors[a] < r.Errors[b]:
			return 1
		}
		return 0
	})
	parts := make([]string, len(codes))
	for i, code := range codes {
		parts[i] = fmt.Sprintf("%d %s", r.Errors[code], code)
	}
	return strings.Join(parts, ", ") + "; the first: " + r.First
}

// Bounds of a histogram on the screen.
const (
	histogramCells = 50
	histogramRows  = 24
)

// steps are where a row of a histogram ends, in each power of ten; coarse ones are
// for what is spread too wide.
var (
	fineSteps   = []float64{1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8}
	coarseSteps = []float64{1, 2, 5}
)

// drawHistogram draws counts as bars, one for each step of duration that there is.
func drawHistogram(parts []load.Bucket) string {
	if len(parts) == 0 {
		return ""
	}
	ends := histogramEnds(parts, fineSteps)
	if len(ends) > histogramRows {
		ends = histogramEnds(parts, coarseSteps)
	}
	counts := make([]uint64, len(ends))
	row := 0
	var all, most uint64
	for _, part := range parts {
		for part.UpTo > ends[row] {
			row++
		}
		counts[row] += part.Count
		all, most = all+part.Count, max(most, counts[row])
	}
	var b strings.Builder
	var seen uint64
	for i, n := range counts {
		seen += n
		bar := int(math.Ceil(float64(n) / float64(most) * histogramCells)) // what there is, is seen
		fmt.Fprintf(&b, "%12s to %8s  %-*s  %d  %.5g %%\n", "", histogram.Text(fromMicros(ends[i])), histogramCells,
			strings.Repeat("#", bar), n, 100*float64(seen)/float64(all))
	}
	return b.String()
}

// histogramEnds are the ends of the rows, from the one that holds the shortest to the one
// that holds the longest, in microseconds.
func histogramEnds(parts []load.Bucket, steps []float64) []float64 {
	first, last := parts[0].UpTo, parts[len(parts)-1].UpTo
	var ends []float64
	for scale := 1.0; ; scale *= 10 {
		for _, step := range steps {
			end := step * scale
			if end >= first {
				ends = append(ends, end)
			}
			if end >= last {
				return ends
			}
		}
	}
}

func fromMicros(us float64) time.Duration { return time.Duration(us * float64(time.Microsecond)) }

// rateText says how many a second: above 100 whole, in groups of three digits.
func rateText(f float64) string {
	if f < 100 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	text := strconv.FormatFloat(f, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}

func plainInt(n int) string { return strconv.Itoa(n) }
