package demo

import (
	"io"
	"time"

	"busd/bus"
)

// Bounds and defaults of [Options].
const (
	// DefaultAgents play where no number is said.
	DefaultAgents = 3
	// MaxAgents bounds how many may play.
	MaxAgents = 256
	// MinFor is the shortest game; it goes on until all is seen.
	MinFor = 200 * time.Millisecond
	// CutAfter and HandOverAfter are when the line is cut and when the second
	// server takes over, in a game without an end.
	CutAfter      = 5 * time.Second
	HandOverAfter = 10 * time.Second
)

// Options says how the demonstration is played.
type Options struct {
	// Agents is how many play; 0 = [DefaultAgents].
	Agents int
	// For is how long they play; 0 = until the context ends.
	For time.Duration
	// Out is where the lines and the live view go; nil = nowhere.
	Out io.Writer
	// Live redraws one table in place instead of adding a line each second.
	// Only for terminals.
	Live bool
	// Colour colours what is written. Only for terminals.
	Colour bool
}

func (o *Options) complete() error {
	if o.Agents == 0 {
		o.Agents = DefaultAgents
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Agents < 1 || o.Agents > MaxAgents {
		return bus.Errorf(bus.CodeInvalidArgument, "want 1 to %d agents, got %d", MaxAgents, o.Agents)
	}
	if o.For != 0 && o.For < MinFor {
		return bus.Errorf(bus.CodeInvalidArgument, "want to play for %s at least, got %s", MinFor, o.For)
	}
	return nil
}

// acts says after how long the line of one agent is cut, and after how long a
// second server takes over.
func (o *Options) acts() (cut, handOver time.Duration) {
	if o.For > 0 {
		return o.For / 3, o.For * 2 / 3
	}
	return CutAfter, HandOverAfter
}
