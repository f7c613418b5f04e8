package proxy

import "time"

// A Direction is one way of a connection, or both. A method that takes one
// acts on each of them by itself.
type Direction uint8

// The directions.
const (
	Up   Direction = 1 << iota // from the client to the target
	Down                       // from the target to the client
	Both = Up | Down
)

func (d Direction) String() string {
	switch d {
	case Up:
		return "up"
	case Down:
		return "down"
	case Both:
		return "both"
	}
	return "no direction"
}

// An End is how the two ends of a cut connection see the cut.
type End uint8

// The ends.
const (
	// RST resets the connection at both ends, as a machine does that has lost
	// its state.
	RST End = iota + 1
	// FIN ends the stream in both directions, as the end of a process does that
	// says no goodbye. What comes after it is thrown away; after a second the
	// sockets are closed whatever the ends do.
	FIN
)

func (e End) String() string {
	switch e {
	case RST:
		return "RST"
	case FIN:
		return "FIN"
	}
	return "no end"
}

// DefaultWindow is how many bytes a direction holds if its Line does not say.
const DefaultWindow = 1 << 20

// A Line is how one direction carries bytes. The zero value forwards at once.
// A direction carries pieces: what one read of the sender's bytes gave, or less.
type Line struct {
	// Latency is how long after it came a piece goes on; Jitter makes that up to
	// so much more or less, at random, and never less than zero. Order is kept:
	// a piece waits for the one before it.
	Latency, Jitter time.Duration
	// Slice cuts pieces into smaller ones, of 1 to so many bytes, at random;
	// 0 does not. Each piece is a write of its own, and so, with a receiver that
	// keeps up, a TCP segment of its own.
	Slice int
	// Pause is how long the line rests after each piece. Slice 1 and a Pause are
	// a line that drips.
	Pause time.Duration
	// Bandwidth is how many bytes pass in a second; 0 is any number.
	Bandwidth int
	// Window is how many bytes the direction holds before it stops reading and
	// the sender's kernel fills up, which on its own takes hundreds of KiB or
	// more; 0 is [DefaultWindow]. No more than Window passes in each Latency.
	Window int
}

// window is the window in force.
func (l Line) window() int {
	if l.Window > 0 {
		return l.Window
	}
	return DefaultWindow
}

// bandwidthShare is how much time a piece may take at the line's bandwidth, so
// that bytes come evenly.
const bandwidthShare = 20 * time.Millisecond

// most is the longest piece that the bandwidth lets go at once.
func (l Line) most(n int) int {
	if l.Bandwidth <= 0 {
		return n
	}
	return min(n, max(1, int(float64(l.Bandwidth)*bandwidthShare.Seconds())))
}

// occupied is how long a piece of n bytes keeps the line from the next one.
func (l Line) occupied(n int) time.Duration {
	d := l.Pause
	if l.Bandwidth > 0 {
		d += time.Duration(float64(n) / float64(l.Bandwidth) * float64(time.Second))
	}
	return d
}
