package demo

import (
	"io"
	"time"
)

// Options says how the demonstration is played.
type Options struct {
	// Agents is how many play; 0 = 3.
	Agents int
	// For is how long they play; 0 = until the context ends.
	For time.Duration
	// Out is where the lines and the live view go; nil = nowhere.
	Out io.Writer
	// Live redraws one table in place instead of adding a line each second.
	// Only for terminals.
	Live bool
	// Colour colours the live table.
	Colour bool
}

// Summary is what came of it.
type Summary struct {
	Agents     int     `json:"agents"`
	Seconds    float64 `json:"seconds"`
	RoundTrips int64   `json:"round_trips"`
	Errors     int64   `json:"errors"`
	Reconnects int64   `json:"reconnects"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
}
