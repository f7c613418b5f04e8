package bench

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"time"

	"busd/bus"
	"busd/rpc/jencode"
	"busd/schema"
)

// Run measures until everything is measured or ctx ends; then the report is of what
// was measured so far, and the error ctx's cause. Without a report, which has no
// version then, the error says why nothing could be measured: an [*Unreached], a
// [*Refused], what the options' Message returned, or that the options make no
// sense. Operations that fail are in the report, and no error.
func Run(ctx context.Context, o Options) (Report, error) {
	if err := o.complete(); err != nil {
		return Report{}, err
	}
	b := &bench{options: o, report: Report{URL: o.Client.URL, Client: thisClient(o.Client.Version), Time: time.Now().UTC(), Results: []Result{}}}
	if err := b.prepare(ctx); err != nil {
		return Report{}, err
	}
	began := time.Now()
	b.report.Version = ReportVersion
	for _, test := range Tests() { // in this order, however they were named
		if b.wants(test) {
			b.measure(ctx, test)
		}
	}
	b.report.Seconds = round(time.Since(began).Seconds(), 1000)
	b.report.Interrupted = ctx.Err() != nil
	return b.report, context.Cause(ctx)
}

// A bench is one run.
type bench struct {
	// Fixed at creation.
	options Options

	// Set by prepare.
	tls      *tls.Config
	one      bool // the service takes one connection of each certificate
	message  *schema.Record
	echo     jencode.Raw // the arguments of echo
	noStable error       // why echo cannot be called over a stable connection
	noHTTPS  error       // and why not over HTTPS

	report Report
}

func (b *bench) wants(t Test) bool { return slices.Contains(b.options.Only, t) }

// measure makes the measurements of a test, until ctx ends.
func (b *bench) measure(ctx context.Context, test Test) {
	for _, m := range b.measurements(test) {
		if ctx.Err() != nil {
			return
		}
		m(ctx)
	}
}

func (b *bench) measurements(test Test) []func(context.Context) {
	switch test {
	case Latency, Throughput:
		return b.flows(test)
	case FanOut:
		return []func(context.Context){b.fanOut}
	case Connections:
		return []func(context.Context){b.full, b.resumed}
	case Reconnect:
		return []func(context.Context){b.reconnect}
	}
	return nil
}

// add takes a result, unless it is of nothing because it was interrupted.
func (b *bench) add(ctx context.Context, r Result) {
	if r.Errors == nil {
		r.Errors = map[string]uint64{}
	}
	if interrupted(ctx) && r.Operations == 0 && len(r.Errors) == 0 {
		return
	}
	b.report.Results = append(b.report.Results, r)
	if b.options.OnResult != nil {
		b.options.OnResult(r)
	}
}

// alone says why a measurement is not made that wants several connections; nil: it
// can be made.
func (b *bench) alone() error {
	if b.one {
		return bus.Errorf(bus.CodeUnimplemented, "the service takes one connection of each certificate")
	}
	return nil
}

// progressEvery is how often progress is told.
const progressEvery = 100 * time.Millisecond

// follow tells how far a measurement is, until the function that it returns is
// called. done is the share that is over, and when it began.
func (b *bench) follow(r Result, t *tally, done func() (share float64, began time.Time)) (stop func()) {
	if b.options.OnProgress == nil {
		return func() {}
	}
	var telling sync.WaitGroup
	end := make(chan struct{})
	telling.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case now := <-tick.C:
				share, began := done()
				p := Progress{Result: r, Done: min(share, 1), Operations: t.operations.Load()}
				if d := now.Sub(began); d > 0 {
					p.PerSecond = float64(p.Operations) / d.Seconds()
				}
				b.options.OnProgress(p)
			}
		}
	})
	return func() {
		close(end)
		telling.Wait()
	}
}
