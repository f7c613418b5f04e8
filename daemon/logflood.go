package daemon

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// floodPause is how long the same failure of one remote is not written
	// again.
	floodPause = 10 * time.Second
	// maxFloods bounds how many are remembered; the others share one place.
	maxFloods = 4096
)

// floodCore writes what fails at one remote once in a while, with how often it
// was not written: a stranger must not fill the disk. It looks at lines that
// have the fields remote and reason; others pass.
type floodCore struct {
	zapcore.Core
	floods *floods
}

// With keeps what is remembered.
func (c *floodCore) With(fields []zapcore.Field) zapcore.Core {
	return &floodCore{c.Core.With(fields), c.floods}
}

// Check adds this core, which decides when it has seen the fields.
func (c *floodCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write writes the line, or counts it.
func (c *floodCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	remote, why := failure(fields)
	if remote == "" || why == "" {
		return c.Core.Write(e, fields)
	}
	repeated, write := c.floods.look(flood{e.Message, remote, why}, e.Time)
	if !write {
		return nil
	}
	if repeated > 0 {
		fields = append(fields[:len(fields):len(fields)], zap.Int("repeated", repeated))
	}
	return c.Core.Write(e, fields)
}

// failure returns the host that a line is about, and what failed: its code, or
// else its reason. Only a line with a reason is about a failure.
func failure(fields []zapcore.Field) (host, why string) {
	failed := false
	for _, f := range fields {
		switch f.Key {
		case "remote":
			host = f.String
			if h, _, err := net.SplitHostPort(f.String); err == nil {
				host = h
			}
		case "code":
			if s, ok := f.Interface.(fmt.Stringer); ok {
				why = s.String()
			}
		case "reason":
			failed = true
			if why == "" {
				why = f.String
			}
		}
	}
	if !failed {
		return "", ""
	}
	return host, why
}

// flood is the same failure of one remote.
type flood struct{ message, host, why string }

type floods struct {
	mu sync.Mutex
	// Guarded by mu.
	seen  map[flood]*floodCount
	swept time.Time

	held atomic.Uint64 // lines that were not written
}

type floodCount struct {
	written time.Time
	since   int // lines that were not written since then
}

func newFloods() *floods { return &floods{seen: map[flood]*floodCount{}} }

// sweepLocked forgets what is old, now and then: who comes from ever new
// addresses must not make every line cost a walk.
func (f *floods) sweepLocked(now time.Time) {
	if now.Sub(f.swept) < floodPause {
		return
	}
	f.swept = now
	for k, old := range f.seen {
		if now.Sub(old.written) >= floodPause {
			delete(f.seen, k)
		}
	}
}

// look tells whether a line is to be written, and how many like it were not.
func (f *floods) look(key flood, now time.Time) (repeated int, write bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.seen[key]
	if n == nil && len(f.seen) >= maxFloods {
		f.sweepLocked(now)
		if len(f.seen) >= maxFloods {
			key = flood{message: key.message}
			n = f.seen[key]
		}
	}
	switch {
	case n == nil:
		f.seen[key] = &floodCount{written: now}
		return 0, true
	case now.Sub(n.written) < floodPause:
		n.since++
		f.held.Add(1)
		return 0, false
	}
	repeated = n.since
	n.written, n.since = now, 0
	return repeated, true
}
