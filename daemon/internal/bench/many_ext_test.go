package bench_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"busd/daemon/internal/bench"
	"busd/msgbus"
)

func TestFanOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()
	o := w.sending("Shout", bench.FanOut)
	o.Connections = 5
	report := w.run(o)
	x, last := result(t, report, bench.FanOut, bench.Delivery), result(t, report, bench.FanOut, bench.Last)
	plausible(t, x, true)
	plausible(t, last, true)
	rounds := uint64(w.shouts.Load()) - 2 // one to see that it may be sent, one to see who hears it
	if d := x.Delivered; d.Message != "Heard" || d.Rounds != rounds || d.Missing != 0 || d.Extra != 0 || x.Operations != 5*rounds {
		t.Errorf("got %d deliveries, %+v; want %d rounds", x.Operations, d, rounds)
	}
	if last.Operations != rounds || last.Latency.P50 < x.Latency.P50 {
		t.Errorf("to the last: got %+v, p50 %v; each has p50 %v", last, last.Latency.P50, x.Latency.P50)
	}
}

// A message that the service keeps for itself is no fan-out, and no failure.
func TestFanOutOfNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		shout func(ctx context.Context, svc *msgbus.Service)
		want  string
	}{
		"to nobody": {func(context.Context, *msgbus.Service) {}, "nothing came to the other 3 connections"},
		"to one": {func(ctx context.Context, svc *msgbus.Service) {
			_ = svc.Conns()[0].Send(ctx, Heard{}) // it is there
		}, "Heard came to "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.shout = func(ctx context.Context, _ *msgbus.Conn, _ int64) { test.shout(ctx, w.svc) }
			w.serve()
			o := w.sending("Shout", bench.FanOut)
			o.Connections = 3
			x := result(t, w.run(o), bench.FanOut, bench.Delivery)
			// The one may be the connection that has sent it, which does not count.
			if x.Failed || !strings.HasPrefix(x.NotMeasured, test.want) && !strings.HasPrefix(x.NotMeasured, "nothing came") {
				t.Errorf("got %+v, want that %s", x, test.want)
			}
		})
	}
}

// A delivery that does not come is missed, and said.
func TestFanOutWithAHole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.shout = func(ctx context.Context, from *msgbus.Conn, n int64) {
			hole := n == 4 // of the second round
			for _, c := range w.svc.Conns() {
				if c != from && hole {
					hole = false
					continue
				}
				_ = c.Send(ctx, Heard{}) // it is there
			}
		}
		w.serve()
		o := w.sending("Shout", bench.FanOut)
		o.Connections = 3
		x := result(t, w.run(o), bench.FanOut, bench.Delivery)
		d := x.Delivered
		if d == nil || d.Rounds != 2 || d.Missing != 1 || x.Errors["deadline_exceeded"] != 1 || x.Operations != 5 {
			t.Errorf("got %+v, %+v; want two rounds, the second with a hole", x, d)
		}
	})
}

func TestConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()
	o := w.options(bench.Connections)
	o.Connections = 6
	report := w.run(o)
	for way, resumed := range map[bench.Way]uint64{bench.FullTLS: 0, bench.Resumed: 6} {
		x := result(t, report, bench.Connections, way)
		plausible(t, x, true)
		if x.Operations != 6 || x.Opened.TLSResumed != resumed || x.InFlight != 6 {
			t.Errorf("%s: got %+v, %+v; want 6 opened, %d resumed", way, x, x.Opened, resumed)
		}
	}
	if got := w.connects.Load(); got != 1+6+1+6 { // to look, and for a TLS session
		t.Errorf("the server has seen %d connections, want 14", got)
	}
}

// A server that has no room says so, and that is counted.
func TestConnectionsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.svc.MaxConns = 4
	w.serve()
	o := w.options(bench.Connections)
	o.Connections = 6
	x := result(t, w.run(o), bench.Connections, bench.FullTLS)
	if x.Operations != 4 || x.Errors["resource_exhausted"] != 2 || x.First == "" {
		t.Errorf("got %+v, want 4 opened and 2 refused", x)
	}
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()
	o := w.options(bench.Reconnect)
	o.Connections = 6
	x := result(t, w.run(o), bench.Reconnect, bench.Cut)
	plausible(t, x, true)
	if x.Operations != 6 || *x.Back != (bench.Back{Resumed: 6}) {
		t.Errorf("got %+v, %+v; want 6 back, with their sessions", x, x.Back)
	}
	if w.connects.Load() != 1+6+6 || w.resumes.Load() != 6 {
		t.Errorf("the server has seen %d connections, %d of them resumed; want 13, 6", w.connects.Load(), w.resumes.Load())
	}
}

// Who is told to come back later is counted, and comes later.
func TestReconnectObeysHints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var asked atomic.Int64
		w.refuses = func(rw http.ResponseWriter) bool {
			if n := asked.Add(1); n <= 1+4 || n > 1+4+3 { // of those that come back the first three
				return false
			}
			rw.Header().Set("Retry-After", "2")
			rw.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		w.serve()
		o := w.options(bench.Reconnect)
		o.Connections = 4
		x := result(t, w.run(o), bench.Reconnect, bench.Cut)
		if x.Operations != 4 || *x.Back != (bench.Back{Resumed: 4, Hints: 3}) || x.Errors["resource_exhausted"] != 3 {
			t.Errorf("got %+v, %+v; want 4 back, after 3 hints", x, x.Back)
		}
		if x.Seconds < 2 || x.Latency.Max < 2e6 {
			t.Errorf("the last was back after %v s, %v µs; want 2 s at least", x.Seconds, x.Latency.Max)
		}
	})
}
