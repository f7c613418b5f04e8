package memory

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// When a guard acts, in percent of the runtime's limit.
const (
	// ShedPercent: nobody new is let in, and no new call.
	ShedPercent = 85
	// EasePercent: they are let in again.
	EasePercent = 80
	// CutPercent: those are given up for whom most is kept.
	CutPercent = 92
)

const (
	// calm is how often a guard looks, alert how often once half of the limit is
	// taken, garbage included: a small heap is full within a few of these.
	calm  = 200 * time.Millisecond
	alert = 20 * time.Millisecond
	// A collection tells what of the heap is in use and what is garbage. Where that
	// matters the last one may be as old as it took, so many times over, so that
	// collecting costs a tenth of a core at most, within these bounds.
	share     = 10
	leastPast = 50 * time.Millisecond
	mostPast  = 2 * time.Second
	// settle is how long what was given up may take to be let go of.
	settle = 100 * time.Millisecond
)

// A Level says how short memory is.
type Level int32

// The levels.
const (
	Easy     Level = iota
	Shedding       // nobody new is let in
	Cutting        // and some are given up
)

// Config is what a [Guard] needs to know.
type Config struct {
	// Limit is that of Go's runtime, in bytes; 0: there is none, and the guard does
	// nothing.
	Limit int64
	// Relieve gives up those for whom most is kept, until about so many bytes will
	// be free, and returns how many it has given up and what they kept. It must not
	// wait for them.
	Relieve func(bytes int64) (cut int, freed int64)
	// Report, if not nil, is told when the level changes and when some were given
	// up. It must not wait.
	Report func(Event)
}

// An Event is what a guard has found or done.
type Event struct {
	Level       Level
	Used, Limit int64 // bytes
	Cut         int   // how many were given up
	Freed       int64 // and what was kept for them, in bytes
}

// A Guard watches the memory of the process. Its methods may be called
// concurrently; Run by one.
type Guard struct {
	// Fixed at creation.
	config  Config
	read    func() usage
	collect func()

	level atomic.Int32
	used  atomic.Int64
	cut   atomic.Uint64

	// Owned by Run.
	cycles    uint64        // collections that there had been when last looked
	collected time.Time     // when that was another number
	past      time.Duration // how old the last one may be
	patience  time.Time     // nobody is given up before that
	urgent    bool          // half of the limit is taken
}

// NewGuard makes a guard, which watches as long as its Run runs.
func NewGuard(c Config) *Guard {
	samples := newSamples()
	return &Guard{config: c, read: func() usage { return readUsage(samples) }, collect: runtime.GC, past: leastPast}
}

// Run watches until ctx ends, whose error it returns.
func (g *Guard) Run(ctx context.Context) error {
	if g.config.Limit <= 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	timer := time.NewTimer(calm)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			g.look(time.Now())
			if g.urgent {
				timer.Reset(alert)
			} else {
				timer.Reset(calm)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Short tells whether memory is short: nobody new should be let in.
func (g *Guard) Short() bool { return Level(g.level.Load()) >= Shedding }

// Stats are a guard's numbers at one moment.
type Stats struct {
	// Used is what is in use of the Limit, as last seen, in bytes; a Limit of 0 is
	// none.
	Used, Limit int64
	Level       Level
	// Cut is how many were given up since the beginning.
	Cut uint64
}

// Stats returns the numbers now.
func (g *Guard) Stats() Stats {
	return Stats{Used: g.used.Load(), Limit: max(0, g.config.Limit), Level: Level(g.level.Load()), Cut: g.cut.Load()}
}

// of is a part of the limit, in bytes.
func (g *Guard) of(percent int64) int64 { return g.config.Limit / 100 * percent }

// look sees how much is in use, and does what has to be done.
func (g *Guard) look(now time.Time) {
	u := g.see(now)
	used := u.inUse()
	g.used.Store(used)
	before, level := Level(g.level.Load()), Easy
	switch {
	case used >= g.of(CutPercent):
		level = Cutting
	case used >= g.of(ShedPercent), before >= Shedding && used >= g.of(EasePercent):
		level = Shedding
	}
	g.level.Store(int32(level))
	if level != before {
		g.report(Event{Level: level, Used: used})
	}
	if level == Cutting && !now.Before(g.patience) {
		g.relieve(now, used)
	}
}

// see measures. Where the garbage of the heap could make the difference it is
// collected first, now and then.
func (g *Guard) see(now time.Time) usage {
	u := g.read()
	if u.cycles != g.cycles {
		g.cycles, g.collected = u.cycles, now
	}
	if u.held+u.rest >= g.of(EasePercent) && now.Sub(g.collected) >= g.past {
		began := time.Now()
		g.collect()
		g.past = min(max(share*time.Since(began), leastPast), mostPast)
		u = g.read()
		g.cycles, g.collected = u.cycles, now
	}
	g.urgent = u.held+u.rest >= g.config.Limit/2
	return u
}

func (g *Guard) relieve(now time.Time, used int64) {
	n, freed := g.config.Relieve(used - g.of(ShedPercent))
	if n == 0 {
		return
	}
	g.cut.Add(uint64(n))
	g.patience = now.Add(settle)
	g.collected = g.patience.Add(-mostPast) // and then it shows
	g.report(Event{Level: Cutting, Used: used, Cut: n, Freed: freed})
}

func (g *Guard) report(e Event) {
	if g.config.Report != nil {
		e.Limit = g.config.Limit
		g.config.Report(e)
	}
}

// usage is what the runtime says of its memory, in bytes.
type usage struct {
	live   int64  // of the heap, what the last collection has found in use
	held   int64  // of the heap, what is there now, garbage included
	rest   int64  // stacks, and what the runtime needs itself
	cycles uint64 // collections
}

// inUse is what a collection would not give back, as far as is known.
func (u usage) inUse() int64 { return min(u.live, u.held) + u.rest }

// The runtime's names; total is everything that it has mapped.
var names = [...]string{
	"/gc/heap/live:bytes",
	"/gc/cycles/total:gc-cycles",
	"/memory/classes/heap/objects:bytes",
	"/memory/classes/heap/free:bytes",
	"/memory/classes/heap/released:bytes",
	"/memory/classes/heap/unused:bytes",
	"/memory/classes/total:bytes",
}

func newSamples() []metrics.Sample {
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	return samples
}

func readUsage(samples []metrics.Sample) usage {
	metrics.Read(samples)
	var n [len(names)]uint64
	for i := range samples {
		if samples[i].Value.Kind() == metrics.KindUint64 { // else this runtime does not know it
			n[i] = samples[i].Value.Uint64()
		}
	}
	live, cycles, objects, free, released, unused, total := n[0], n[1], n[2], n[3], n[4], n[5], n[6]
	return usage{
		live: int64(live), held: int64(objects), cycles: cycles,
		rest: int64(total) - int64(objects+free+released+unused),
	}
}
