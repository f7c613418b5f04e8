package bench

import (
	"slices"
	"time"

	"busd/bus"
	"busd/msgclient"
	"busd/schema"
)

// A Test is a kind of measurement.
type Test string

// The tests. Those of messages want one, see [Options].
const (
	Latency     Test = "latency"     // one call, or message, at a time
	Throughput  Test = "throughput"  // as many as go
	FanOut      Test = "fan-out"     // one message, sent on by the service to many connections
	Connections Test = "connections" // opened, with full and with resumed handshakes
	Reconnect   Test = "reconnect"   // after many lines are cut at once
)

// Tests returns all, in the order in which they run.
func Tests() []Test { return []Test{Latency, Throughput, FanOut, Connections, Reconnect} }

// Defaults and bounds of [Options].
const (
	DefaultDuration = 2 * time.Second
	MinDuration     = 100 * time.Millisecond
	MaxDuration     = time.Hour

	// LatencyConnections are used for latency, FlowConnections for throughput, and
	// ManyConnections in every other test, where no number is said. They are so few
	// that all of it stays below [PerAddress].
	LatencyConnections = 1
	FlowConnections    = 8
	ManyConnections    = 50
	MaxConnections     = 20_000

	// DefaultInFlight are under way at once on each connection where throughput is
	// measured, and DefaultDialing connections are opened at once.
	DefaultInFlight = 32
	DefaultDialing  = 8
	MaxInFlight     = 4096
	// MaxWorkers bounds connections times what is under way on each.
	MaxWorkers = 200_000

	MaxRate = 1e6 // a second

	// PerAddress is how many connections busd lets begin in a second from one address
	// unless it is told otherwise (limits.new_per_address).
	PerAddress = 200

	DefaultSize = 16 // bytes
	MaxSize     = 128 << 10
)

// Options says what is measured, and how.
type Options struct {
	// Client says where the service is and who we are; each connection is one such
	// client. Its callbacks, its Instance and its Schema are not used.
	Client msgclient.Config
	// Only are the tests to run; empty: all that there are.
	Only []Test
	// Message makes the message to send, for the contract of a client that is
	// connected; nil: no messages are sent. The service must answer it without an
	// error.
	Message func(c *msgclient.Client) (*schema.Record, error)

	// Connections, InFlight and Duration hold for every test; 0 is each test's own
	// default. InFlight is of each connection, and, where connections are opened, of
	// all together.
	Connections int
	InFlight    int
	Duration    time.Duration
	// Rate is how many calls or messages begin in a second, over all connections, in
	// latency and throughput; 0: as many as answers let. With it latency counts from
	// when each was due.
	Rate float64
	// Size is the length of the text that is echoed, in bytes; 0 is 16.
	Size int
	// Histogram adds the histograms to the results.
	Histogram bool

	// OnResult is told of each result as it comes, and OnProgress, ten times a
	// second, of the one that is being made; nil: nobody wants to know. They are
	// called one at a time.
	OnResult   func(Result)
	OnProgress func(Progress)
}

// A Progress says how far a measurement is.
type Progress struct {
	// Result is what is known of it before it begins.
	Result Result
	// Done is the share of it that is over, 0 to 1.
	Done float64
	// Operations is how many have ended well so far, and PerSecond how many of them
	// in a second.
	Operations uint64
	PerSecond  float64
}

func (o *Options) complete() error {
	if len(o.Only) == 0 {
		o.Only = Tests()
	}
	if o.Duration == 0 {
		o.Duration = DefaultDuration
	}
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	for _, t := range o.Only {
		if !slices.Contains(Tests(), t) {
			return bus.Errorf(bus.CodeInvalidArgument, "there is no test %q", t)
		}
	}
	switch {
	case o.Connections < 0 || o.Connections > MaxConnections:
		return bus.Errorf(bus.CodeInvalidArgument, "want 1 to %d connections, got %d", MaxConnections, o.Connections)
	case o.InFlight < 0 || o.InFlight > MaxInFlight:
		return bus.Errorf(bus.CodeInvalidArgument, "want 1 to %d in flight, got %d", MaxInFlight, o.InFlight)
	case o.Connections*o.InFlight > MaxWorkers:
		return bus.Errorf(bus.CodeInvalidArgument, "want at most %d in flight on all connections together, got %d × %d", MaxWorkers, o.Connections, o.InFlight)
	case o.Duration < MinDuration || o.Duration > MaxDuration:
		return bus.Errorf(bus.CodeInvalidArgument, "want a duration of %s to %s, got %s", MinDuration, MaxDuration, o.Duration)
	case !(o.Rate >= 0 && o.Rate <= MaxRate): // NaN is neither
		return bus.Errorf(bus.CodeInvalidArgument, "want a rate above 0, and at most %.0f a second, got %v", MaxRate, o.Rate)
	case o.Size < 0 || o.Size > MaxSize:
		return bus.Errorf(bus.CodeInvalidArgument, "want a size of 1 to %d bytes, got %d", MaxSize, o.Size)
	case o.Message == nil && slices.Equal(o.Only, []Test{FanOut}):
		return bus.Errorf(bus.CodeInvalidArgument, "%s wants a message that the service sends on to all", FanOut)
	}
	return nil
}

// connections is how many are used where def is the default.
func (o *Options) connections(def int) int {
	if o.Connections > 0 {
		return o.Connections
	}
	return def
}

// inFlight is how many are under way where def is the default.
func (o *Options) inFlight(def int) int {
	if o.InFlight > 0 {
		return o.InFlight
	}
	return def
}
