package bench_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/daemon/internal/bench"
	"busd/msgbus"
	"busd/msgclient"
	"busd/rpc"
	"busd/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A Note is handled and nothing more.
type Note struct {
	Text string `bus:"text"`
}

func (Note) MessageName() string { return "Note" }

// A Shout is sent on to all as Heard, and to nobody as often as Deaf says.
type Shout struct{}

func (Shout) MessageName() string { return "Shout" }

// Heard is what becomes of a Shout.
type Heard struct{}

func (Heard) MessageName() string { return "Heard" }

// A world is a service in memory that counts what happens to it.
type world struct {
	t       *testing.T
	line    *bustest.Listener
	svc     *msgbus.Service
	methods *rpc.Server

	notes, shouts, connects, resumes atomic.Int64

	// What the service does, set before it serves.
	note    func(n int64) error                                // of the n-th Note; nil: it is handled
	shout   func(ctx context.Context, c *msgbus.Conn, n int64) // instead of a broadcast, of the n-th Shout
	refuses func(w http.ResponseWriter) bool                   // answers an upgrade, or does not
}

var contract = schema.MustNew("Test/Load",
	schema.Of[Note](schema.FromClient), schema.Of[Shout](schema.FromClient), schema.Of[Heard](schema.FromService))

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, line: bustest.Listen(t)}
	methods := rpc.NewService(contract.Service())
	methods.Allow = access.Authenticated
	var err error
	if w.methods, err = rpc.NewServer(rpc.Config{}, methods); err != nil {
		t.Fatal(err)
	}
	w.svc = &msgbus.Service{Schema: contract, Methods: methods, OnConnect: func(_ context.Context, c *msgbus.Conn) error {
		w.connects.Add(1)
		if c.Resumed() {
			w.resumes.Add(1)
		}
		return nil
	}}
	msgbus.Handle(w.svc, func(context.Context, *msgbus.Conn, Note) error {
		if n := w.notes.Add(1); w.note != nil {
			return w.note(n)
		}
		return nil
	}).KeepOnError()
	msgbus.Handle(w.svc, func(ctx context.Context, c *msgbus.Conn, _ Shout) error {
		n := w.shouts.Add(1)
		if w.shout != nil {
			w.shout(ctx, c, n)
			return nil
		}
		return w.svc.Broadcast(ctx, Heard{})
	})
	return w
}

// serve serves until the test ends.
func (w *world) serve() {
	w.t.Helper()
	srv, err := msgbus.NewServer(msgbus.Config{}, w.svc)
	if err != nil {
		w.t.Fatal(err)
	}
	h := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && w.refuses != nil && w.refuses(rw) {
				return
			}
			srv.ServeHTTP(rw, r)
		}),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = h.Serve(w.line) // it ends with the test
	}()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			w.t.Errorf("shutdown: %v", err)
		}
		_ = h.Close() // nothing is served any more
		<-served
	})
}

// options are those of a short run of some tests.
func (w *world) options(tests ...bench.Test) bench.Options {
	return bench.Options{
		Client: msgclient.Config{
			URL: "wss://" + bustest.Host + "/" + contract.Service(), TLS: bustest.ClientTLS(w.t, "agent"),
			DialContext: w.line.DialContext, Name: "test", Version: "1",
		},
		Only: tests, Duration: bench.MinDuration,
	}
}

// sending is options with a message.
func (w *world) sending(name string, tests ...bench.Test) bench.Options {
	o := w.options(tests...)
	o.Message = func(c *msgclient.Client) (*schema.Record, error) {
		r, err := c.NewRecord(name)
		if err == nil && name == "Note" {
			err = r.Set("text", "hello")
		}
		return r, err
	}
	return o
}

// run runs to the end.
func (w *world) run(o bench.Options) bench.Report {
	w.t.Helper()
	report, err := bench.Run(w.t.Context(), o)
	if err != nil {
		w.t.Fatalf("Run: %v", err)
	}
	return report
}

// echoes is how often echo was called and answered.
func (w *world) echoes() (n uint64) {
	for _, m := range w.methods.Stats()[0].Methods {
		if m.Method == "echo" {
			n += m.Calls["ok"]
		}
	}
	return n
}

// result finds a result.
func result(t *testing.T, r bench.Report, test bench.Test, way bench.Way) bench.Result {
	t.Helper()
	for _, x := range r.Results {
		if x.Test == test && x.Way == way {
			return x
		}
	}
	t.Fatalf("no result of %s, %s, in %+v", test, way, r.Results)
	return bench.Result{}
}

// plausible checks what holds for every measurement that went well.
func plausible(t *testing.T, x bench.Result, latency bool) {
	t.Helper()
	name := string(x.Test) + ", " + string(x.Way)
	if x.Operations == 0 || x.Seconds <= 0 || x.ErrorCount() != 0 || x.Lost != 0 || x.NotMeasured != "" {
		t.Errorf("%s: got %+v, want that all went well", name, x)
	}
	if all := x.PerSecond * x.Seconds; all < 0.99*float64(x.Operations) || all > 1.01*float64(x.Operations) {
		t.Errorf("%s: %v a second for %v s are not %d", name, x.PerSecond, x.Seconds, x.Operations)
	}
	if d := x.Latency; latency != (d != nil) {
		t.Errorf("%s: got latency %+v, want some: %t", name, d, latency)
	} else if latency && (d.P50 <= 0 || d.P50 > d.P90 || d.P90 > d.P99 || d.P99 > d.P999 || d.P999 > d.Max || d.Max > 1e6*x.Seconds+1) {
		t.Errorf("%s: got latency %+v", name, d)
	}
}

var errTest = errors.New("the test has seen enough")

var errNotNow = bus.Errorf(bus.CodePermissionDenied, "not now")
