package bench_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"busd/bus"
	"busd/daemon/internal/bench"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// What is counted here is what the server counted.
func TestCountsAreTheServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()
	var told []bench.Result
	o := w.sending("Note", bench.Latency, bench.Throughput)
	o.Connections, o.InFlight, o.Histogram = 2, 4, true
	o.OnResult = func(r bench.Result) { told = append(told, r) }
	report := w.run(o)

	echoes, notes := uint64(2), uint64(1) // tried before
	for _, test := range []bench.Test{bench.Latency, bench.Throughput} {
		for _, way := range []bench.Way{bench.Stable, bench.HTTPS} {
			x := result(t, report, test, way)
			plausible(t, x, true)
			echoes += x.Operations + x.Warmup
			inHistogram := uint64(0)
			for _, part := range x.Latency.Parts {
				inHistogram += part.Count
			}
			if inHistogram != x.Operations || x.Connections != 2 || x.Size != bench.DefaultSize || x.Latency.From != "sent" {
				t.Errorf("%s, %s: got %+v with %d in its histogram", test, way, x, inHistogram)
			}
		}
	}
	request, send := result(t, report, bench.Latency, bench.Request), result(t, report, bench.Throughput, bench.Send)
	plausible(t, request, true)
	plausible(t, send, false)
	notes += request.Operations + request.Warmup + send.Operations + send.Warmup
	if got := w.echoes(); got != echoes {
		t.Errorf("calls: the server has answered %d, the report has %d", got, echoes)
	}
	if got := uint64(w.notes.Load()); got != notes {
		t.Errorf("messages: the server has handled %d, the report has %d", got, notes)
	}
	if len(told) != len(report.Results) || len(told) != 6 {
		t.Errorf("told of %d results, the report has %d, want 6", len(told), len(report.Results))
	}
	if report.Version != bench.ReportVersion || report.Service != "Test/Load" || report.Peer != "dns:agent" || report.ServerVersion == "" || report.Interrupted {
		t.Errorf("got %+v", report)
	}
}

// With a rate so many begin, and no more.
func TestRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()
	o := w.options(bench.Latency)
	o.Rate, o.Duration = 200, 2*bench.MinDuration
	x := result(t, w.run(o), bench.Latency, bench.Stable)
	plausible(t, x, true)
	if x.Operations+x.NotBegun != 40 || x.Operations > 40 || x.Latency.From != "due" || x.Rate != 200 {
		t.Errorf("got %+v, want 40 operations", x)
	}
}

// Whatever fails is counted, by its code.
func TestFailuresAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.note = func(n int64) error {
		if n%2 == 0 {
			return errNotNow
		}
		return nil
	}
	w.serve()
	report := w.run(w.sending("Note", bench.Latency, bench.Throughput))
	x := result(t, report, bench.Latency, bench.Request)
	failed := x.Errors["permission_denied"]
	if failed == 0 || failed != x.ErrorCount() || x.Operations == 0 || x.First != "not now" {
		t.Errorf("requests: got %+v, want some that failed", x)
	}
	y := result(t, report, bench.Throughput, bench.Send)
	failed += y.Errors["permission_denied"]
	// One was handled before, and one more, or none, failed while it got warm.
	if all := int64(x.Operations + x.Warmup + y.Operations + y.Warmup + failed + 1); y.ErrorCount() == 0 || all < w.notes.Load() {
		t.Errorf("one way: got %+v, and in all %d of %d", y, all, w.notes.Load())
	}
}

// A service that has nothing of the kind has not failed; but then there must be
// something else.
func TestServiceWithoutMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.svc.Methods = nil
	w.serve()
	report := w.run(w.sending("Note", bench.Latency))
	for _, way := range []bench.Way{bench.Stable, bench.HTTPS} {
		if x := result(t, report, bench.Latency, way); x.NotMeasured == "" || x.Failed {
			t.Errorf("%s: got %+v, want that it was not measured", way, x)
		}
	}
	plausible(t, result(t, report, bench.Latency, bench.Request), true)

	_, err := bench.Run(t.Context(), w.options(bench.Latency, bench.Throughput))
	if !errors.As(err, new(*bench.Refused)) || bus.CodeOf(err) != bus.CodeUnimplemented {
		t.Errorf("nothing to measure: got %v", err)
	}
}

// Where one certificate has one connection, what wants several is left out.
func TestOneConnectionOfEachCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.svc.Identity = msgbus.PerCertificate
	w.serve()
	report := w.run(w.sending("Shout"))
	plausible(t, result(t, report, bench.Throughput, bench.Stable), true)
	plausible(t, result(t, report, bench.Reconnect, bench.Cut), true)
	for test, way := range map[bench.Test]bench.Way{bench.FanOut: bench.Delivery, bench.Connections: bench.FullTLS} {
		if x := result(t, report, test, way); x.NotMeasured == "" || x.Failed {
			t.Errorf("%s: got %+v, want that it was not measured", test, x)
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()
	ctx, interrupt := context.WithCancelCause(t.Context())
	o := w.options()
	o.Duration = bench.MaxDuration
	o.OnProgress = func(p bench.Progress) {
		if p.Operations > 10 && p.PerSecond > 0 && p.Result.Way == bench.Stable {
			interrupt(errTest)
		}
	}
	report, err := bench.Run(ctx, o)
	if !errors.Is(err, errTest) || !report.Interrupted || len(report.Results) != 1 {
		t.Fatalf("got %+v, %v; want one result, and that it was interrupted", report, err)
	}
	plausible(t, report.Results[0], true)
}

func TestNothingToMeasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.note = func(int64) error { return errNotNow }
	w.serve()

	o := w.options()
	o.Client.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: errors.New("nobody listens there")}
	}
	if _, err := bench.Run(t.Context(), o); !errors.As(err, new(*bench.Unreached)) || bus.CodeOf(err) != bus.CodeUnavailable {
		t.Errorf("nobody listens: got %v", err)
	}

	var refused *bench.Refused
	if _, err := bench.Run(t.Context(), w.sending("Note")); !errors.As(err, &refused) || refused.What != "Note" || bus.CodeOf(err) != bus.CodePermissionDenied {
		t.Errorf("a message that is not allowed: got %v", err)
	}

	o = w.options()
	o.Message = func(*msgclient.Client) (*schema.Record, error) { return nil, errTest }
	if _, err := bench.Run(t.Context(), o); !errors.Is(err, errTest) {
		t.Errorf("no message: got %v", err)
	}

	for name, change := range map[string]func(*bench.Options){
		"test":        func(o *bench.Options) { o.Only = []bench.Test{"latncy"} },
		"connections": func(o *bench.Options) { o.Connections = bench.MaxConnections + 1 },
		"in flight":   func(o *bench.Options) { o.InFlight = -1 },
		"both":        func(o *bench.Options) { o.Connections, o.InFlight = bench.MaxConnections, bench.MaxInFlight },
		"duration":    func(o *bench.Options) { o.Duration = bench.MinDuration - 1 },
		"rate":        func(o *bench.Options) { o.Rate = -1 },
		"size":        func(o *bench.Options) { o.Size = bench.MaxSize + 1 },
		"no message":  func(o *bench.Options) { o.Only = []bench.Test{bench.FanOut} },
	} {
		o := w.options()
		change(&o)
		if report, err := bench.Run(t.Context(), o); bus.CodeOf(err) != bus.CodeInvalidArgument || report.Version != 0 {
			t.Errorf("%s: got %v, want %v", name, err, bus.CodeInvalidArgument)
		}
	}
}
