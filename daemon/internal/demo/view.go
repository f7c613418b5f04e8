package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"busd/daemon/internal/histogram"
)

const (
	lineEvery  = time.Second
	tableEvery = 250 * time.Millisecond
	// maxRows bounds the table, so that it fits any screen.
	maxRows = 16
)

// A view shows how it goes: a line each second, or a table redrawn in place.
type view struct {
	// Fixed at creation.
	out          io.Writer
	live, colour bool
	agents       []*agent

	mu sync.Mutex
	// Guarded by mu.
	shown  bool // once at least
	rows   []row
	drawn  int // lines of the table on the screen
	last   time.Time
	before []*histogram.Counts // of each agent, when last shown
}

// A row is what the last interval brought.
type row struct {
	name       string
	rate       float64
	p50, p99   time.Duration
	reconnects int64
	moved      int64
	connected  bool
}

func newView(o Options) *view { return &view{out: o.Out, live: o.Live, colour: o.Colour} }

func (v *view) every() time.Duration {
	if v.live {
		return tableEvery
	}
	return lineEvery
}

// say adds a line; a table moves below it.
func (v *view) say(format string, a ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.write(v.erased() + v.paint("36", "» ") + fmt.Sprintf(format, a...) + "\n" + v.table())
}

// begin starts the first interval.
func (v *view) begin(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = now
	v.before = make([]*histogram.Counts, len(v.agents))
	for i := range v.before {
		v.before[i] = &histogram.Counts{}
	}
}

// show ends an interval and shows what it brought.
func (v *view) show(played time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.showLocked(played)
}

func (v *view) showLocked(played time.Duration) {
	v.shown = true
	total := v.measure()
	if !v.live {
		v.write(fmt.Sprintf("%5.1f s  %7.0f round trips/s  p50 %s  p99 %s  reconnects %d  moved %d%s\n",
			played.Seconds(), total.rate, histogram.Text(total.p50), histogram.Text(total.p99), total.reconnects, total.moved, v.away()))
		return
	}
	v.rows = append(v.rows[:min(len(v.rows), maxRows)], total)
	v.write(v.erased() + v.table())
}

// end leaves what is shown where it is. A short game is shown once, too.
func (v *view) end(played time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.shown {
		v.showLocked(played)
	}
	v.drawn, v.rows = 0, nil
}

// measure fills in the rows of the agents and returns the sum of all.
func (v *view) measure() row {
	now := time.Now()
	seconds := now.Sub(v.last).Seconds()
	v.last, v.rows = now, v.rows[:0]
	var all histogram.Counts
	total := row{name: "all"}
	for i, a := range v.agents {
		var sofar histogram.Counts
		sofar.AddFrom(&a.roundTrips)
		fresh := sofar.Since(v.before[i])
		v.before[i] = &sofar
		all.AddCounts(fresh)
		r := row{name: a.name, reconnects: a.reconnects(), moved: a.moved.Load(), connected: a.client.Connected()}
		r.measured(fresh, seconds)
		v.rows = append(v.rows, r)
		total.reconnects += r.reconnects
		total.moved += r.moved
	}
	total.connected = true
	total.measured(&all, seconds)
	return total
}

func (r *row) measured(fresh *histogram.Counts, seconds float64) {
	r.rate, r.p50, r.p99 = float64(fresh.Total())/seconds, fresh.Quantile(0.50), fresh.Quantile(0.99)
}

// away names those who are not connected.
func (v *view) away() string {
	var names []string
	for _, r := range v.rows {
		if !r.connected {
			names = append(names, r.name)
		}
	}
	if names == nil {
		return ""
	}
	return "  not connected: " + strings.Join(names, ", ")
}

// erased takes the table off the screen.
func (v *view) erased() string {
	if v.drawn == 0 {
		return ""
	}
	up := fmt.Sprintf("\x1b[%dA\x1b[J", v.drawn)
	v.drawn = 0
	return up
}

// table draws the rows.
func (v *view) table() string {
	if !v.live || len(v.rows) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(v.paint("1", fmt.Sprintf("%-10s %14s %10s %10s %11s %6s", "", "round trips/s", "p50", "p99", "reconnects", "moved")) + "\n")
	for _, r := range v.rows {
		line := fmt.Sprintf("%-10s %14.0f %10s %10s %11d %6d", r.name, r.rate, histogram.Text(r.p50), histogram.Text(r.p99), r.reconnects, r.moved)
		switch {
		case !r.connected:
			line = v.paint("31", line+"  not connected")
		case r.name == "all":
			line = v.paint("1", line)
		case r.reconnects > 0:
			line = v.paint("32", line)
		}
		b.WriteString(line + "\n")
	}
	v.drawn = len(v.rows) + 1
	return b.String()
}

func (v *view) paint(style, text string) string {
	if !v.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (v *view) write(s string) { _, _ = io.WriteString(v.out, s) } // nobody is left to tell
