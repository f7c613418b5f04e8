package bench

import (
	"maps"
	"math"
	"runtime"
	"time"

	"busd/bus"
	"busd/daemon/internal/histogram"
)

// ReportVersion is raised when what a program reads in a [Report] changes its
// meaning or goes.
const ReportVersion = 1

// A Report is what came of a run.
type Report struct {
	Version int    `json:"report_version"`
	URL     string `json:"url"`
	Service string `json:"service"`
	// Peer is who we are to the service.
	Peer string `json:"peer"`
	// ServerVersion is what the service says of itself in answer to ping; empty if it
	// says nothing.
	ServerVersion string    `json:"server_version"`
	Client        Client    `json:"client"`
	Time          time.Time `json:"time"`
	Seconds       float64   `json:"seconds"`
	// Interrupted: it ended before everything was measured.
	Interrupted bool     `json:"interrupted"`
	Results     []Result `json:"results"`
}

// Client is the program that measures, and its machine.
type Client struct {
	Version string `json:"version"`
	Go      string `json:"go_version"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	CPUs    int    `json:"cpus"`
}

func thisClient(version string) Client {
	return Client{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: CPUs()}
}

// CPUs is how many processors this program may use at once.
func CPUs() int { return runtime.GOMAXPROCS(0) }

// A Way is what a measurement does, of the ways that its test has.
type Way string

// The ways.
const (
	Stable   Way = "stable"      // echo over stable connections
	HTTPS    Way = "https"       // echo over HTTPS, one call at a time on each connection
	Request  Way = "request"     // the message as a request, to the end of its handler
	Send     Way = "send"        // the message one way, and at the end of all a request
	Delivery Way = "delivery"    // from the sending to each connection that got it
	Last     Way = "last"        // from the sending to the last of them
	FullTLS  Way = "full_tls"    // connecting to a server as if never met
	Resumed  Way = "resumed_tls" // connecting with a TLS session of before
	Cut      Way = "cut"         // from the cut to the next welcome
)

// A Result is what one measurement brought.
type Result struct {
	Test    Test   `json:"test"`
	Way     Way    `json:"way"`
	Message string `json:"message,omitempty"` // what is sent
	// Class is what the contract says of a message that finds no room, where that is
	// not that it waits.
	Class string `json:"class,omitempty"`
	// Connections is how many there are, InFlight how much is under way on each of
	// them at once, or of connecting in all; 0: there is no such bound.
	Connections int `json:"connections"`
	InFlight    int `json:"in_flight"`
	// Rate is how many were to begin in a second; 0: as many as answers let.
	Rate float64 `json:"rate_per_second,omitempty"`
	// Size is the length of the text that goes there and comes back.
	Size int `json:"size_bytes,omitempty"`

	Seconds float64 `json:"seconds"`
	// Operations are those that ended well: calls, requests, deliveries, connections;
	// of [Send] those that were sent, also if the service then reported an error. Warmup
	// are calls and messages before the time began.
	Operations uint64  `json:"operations"`
	Warmup     uint64  `json:"warmup_operations"`
	PerSecond  float64 `json:"operations_per_second"`
	// Latency is of each operation; nil: a one-way message has none.
	Latency *Durations `json:"latency,omitempty"`

	// Errors counts what failed, by code; First says the first of them.
	Errors map[string]uint64 `json:"errors"`
	First  string            `json:"first_error,omitempty"`
	// Lost counts the connections that ended while they were needed; calls and
	// messages of a session that goes on are none of the errors.
	Lost uint64 `json:"connections_lost"`
	// NotBegun counts what was due by the rate, and not begun by the end.
	NotBegun uint64 `json:"not_begun,omitempty"`
	// CPUSeconds is what this program took of its processors meanwhile; 0: not known.
	CPUSeconds float64 `json:"client_cpu_seconds,omitempty"`

	Delivered *Delivered `json:"delivered,omitempty"` // of [Delivery]
	Opened    *Opened    `json:"opened,omitempty"`    // of [FullTLS] and [Resumed]
	Back      *Back      `json:"back,omitempty"`      // of [Cut]

	// NotMeasured says why there is nothing of this; empty: there is. Failed: that is
	// a failure, and not only that the service has nothing of the kind.
	NotMeasured string `json:"not_measured,omitempty"`
	Failed      bool   `json:"failed,omitempty"`
}

// Durations are percentiles to 3 %, rounded up, in microseconds.
type Durations struct {
	// From says from when: "sent", or with a rate "due".
	From  string   `json:"measured_from"`
	P50   float64  `json:"p50_us"`
	P90   float64  `json:"p90_us"`
	P99   float64  `json:"p99_us"`
	P999  float64  `json:"p999_us"`
	Max   float64  `json:"max_us"`
	Parts []Bucket `json:"histogram,omitempty"`
}

// A Bucket counts durations up to one, and above that of the bucket before.
type Bucket struct {
	UpTo  float64 `json:"up_to_us"`
	Count uint64  `json:"count"`
}

// Delivered is what is known of a fan-out.
type Delivered struct {
	// Message is what came, Rounds how often it was sent for. Missing deliveries did
	// not come, Extra ones came a second time.
	Message string `json:"message"`
	Rounds  uint64 `json:"rounds"`
	Missing uint64 `json:"missing"`
	Extra   uint64 `json:"extra"`
}

// Opened is what is known of connecting.
type Opened struct {
	// TLSResumed is how many of the connections resumed a TLS session.
	TLSResumed uint64 `json:"tls_resumed"`
}

// Back is what is known of coming back.
type Back struct {
	// Resumed sessions went on, New ones are others, and of Unknown messages it is
	// not known whether they arrived.
	Resumed uint64 `json:"sessions_resumed"`
	New     uint64 `json:"sessions_new"`
	Unknown uint64 `json:"messages_unknown"`
	// Hints is how often the server said when to come back, Early how many attempts
	// came before that.
	Hints uint64 `json:"hints"`
	Early uint64 `json:"early"`
}

// ErrorCount is how much failed.
func (r *Result) ErrorCount() (n uint64) {
	for count := range maps.Values(r.Errors) {
		n += count
	}
	return n
}

// skip says why there is nothing of this. A service that has nothing of the kind
// has not failed.
func (r *Result) skip(why error) {
	r.NotMeasured = sentence(why)
	switch bus.CodeOf(why) {
	case bus.CodeUnimplemented, bus.CodeNotFound:
	default:
		r.Failed = true
	}
}

// took sets what came of so many operations in so long a time.
func (r *Result) took(operations uint64, elapsed time.Duration) {
	r.Operations, r.Seconds = operations, round(elapsed.Seconds(), 1e6)
	if elapsed > 0 {
		r.PerSecond = round(float64(operations)/elapsed.Seconds(), 100)
	}
}

// durations says what a histogram holds; nil: nothing.
func durations(h *histogram.Histogram, from string, parts bool) *Durations {
	var c histogram.Counts
	c.AddFrom(h)
	if c.Total() == 0 {
		return nil
	}
	d := &Durations{
		From: from,
		P50:  micros(c.Quantile(0.5)), P90: micros(c.Quantile(0.9)), P99: micros(c.Quantile(0.99)),
		P999: micros(c.Quantile(0.999)), Max: micros(c.Max()),
	}
	if parts {
		for upTo, n := range c.All() {
			d.Parts = append(d.Parts, Bucket{UpTo: micros(upTo), Count: n})
		}
	}
	return d
}

func micros(d time.Duration) float64 { return round(float64(d)/float64(time.Microsecond), 1000) }

// round keeps 1/parts.
func round(f, parts float64) float64 { return math.Round(f*parts) / parts }
