package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A progress shows on a terminal how far a transfer is. It has one user at a time.
type progress struct {
	// Fixed at creation.
	to    io.Writer // nil: nobody watches
	name  string
	began time.Time
	now   func() time.Time

	done  int64
	shown time.Time
	width int // of what is on the screen
}

// progressEvery is how often it is drawn, and progressCells how wide the bar is.
const (
	progressEvery = 100 * time.Millisecond
	progressCells = 24
)

// newProgress shows on standard error, if that is a terminal.
func (p *app) newProgress(name string) *progress {
	bar := &progress{name: name, now: time.Now}
	if isTerminal(p.err) && !p.quiet {
		bar.to = p.err
	}
	bar.began = bar.now()
	return bar
}

// moved is told how far it is; total is -1 if nobody knows.
func (b *progress) moved(done, total int64) {
	b.done = done
	if b.to == nil || b.now().Sub(b.shown) < progressEvery {
		return
	}
	b.shown = b.now()
	b.draw(b.line(done, total))
}

// line is what it says.
func (b *progress) line(done, total int64) string {
	rate := ""
	if s := b.now().Sub(b.began).Seconds(); s > 0 {
		rate = fmt.Sprintf("  %s/s", bytesText(int64(float64(done)/s)))
	}
	if total <= 0 {
		return fmt.Sprintf("%s  %s%s", b.name, bytesText(done), rate)
	}
	part := min(1, float64(done)/float64(total))
	full := int(part * progressCells)
	return fmt.Sprintf("%s  [%s%s] %3.0f%%  %s of %s%s", b.name, strings.Repeat("#", full), strings.Repeat("-", progressCells-full),
		100*part, bytesText(done), bytesText(total), rate)
}

// draw puts a line in place of the last one.
func (b *progress) draw(line string) {
	blank := strings.Repeat(" ", max(0, b.width-len(line)))
	_, _ = io.WriteString(b.to, "\r"+line+blank) // it is only for show
	b.width = len(line)
}

// end takes it away.
func (b *progress) end() {
	if b.to != nil && b.width > 0 {
		_, _ = io.WriteString(b.to, "\r"+strings.Repeat(" ", b.width)+"\r") // as above
	}
}
