//go:build linux

package hostile_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"busd/msgclient"
	"busd/rpc/rpcclient"
)

// How often the innocent client asks, and how long it may have to wait. All clients,
// the hostile ones too, share the machine with the server, and CI's is small: it is
// a server that stands still that shall be found.
const (
	requestEvery = 25 * time.Millisecond
	callEvery    = 50 * time.Millisecond
	connectEvery = 250 * time.Millisecond

	longest  = 8 * time.Second  // any answer
	usual    = 2 * time.Second  // 95 of 100 answers
	patience = 10 * time.Second // then it gives up
)

// A pinging is what the server's Ping is to a client.
type pinging struct {
	ID int64 `bus:"id"`
}

func (pinging) MessageName() string { return "Ping" }

type ponging struct {
	ID int64 `bus:"id"`
}

func (ponging) MessageName() string { return "Pong" }

// An innocent is an honest client: a stable connection on which it makes requests, a
// client of methods, and one that connects anew each time.
type innocent struct {
	// Fixed at creation.
	stable *msgclient.Client
	calls  *rpcclient.Client
	anew   rpcclient.Config
	stop   context.CancelFunc
	work   sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	samples []sample
	faults  []fault
}

// A sample is one answer.
type sample struct {
	what string
	at   time.Time // when it was asked for
	took time.Duration
}

// A fault is what must not happen to an innocent client.
type fault struct {
	at  time.Time
	why error
}

func newInnocent(t *testing.T, s *server) *innocent {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(thePKI.ca.cert)
	conf := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{thePKI.alice}}
	i := &innocent{anew: rpcclient.Config{URL: "https://" + s.addr + callPath, TLS: conf.Clone()}}
	stable := conf.Clone()
	stable.NextProtos = []string{"http/1.1"}
	var err error
	i.stable, err = msgclient.New(msgclient.Config{
		URL: "wss://" + s.addr + pingPath, TLS: stable,
		OnDrop: func(_ context.Context, _ *msgclient.Client, why error) {
			i.fault(time.Now(), fmt.Errorf("dropped: %w", why))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if i.calls, err = rpcclient.New(i.anew); err != nil {
		t.Fatal(err)
	}
	if err := i.stable.Connect(t.Context()); err != nil {
		t.Fatalf("the innocent client: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	i.stop = cancel
	i.work.Go(func() { _ = i.stable.Run(ctx) }) // ends with ctx
	i.every(ctx, requestEvery, "request", i.request)
	i.every(ctx, callEvery, "call", i.call)
	i.every(ctx, connectEvery, "connection", i.connect)
	return i
}

func (i *innocent) every(ctx context.Context, pause time.Duration, what string, ask func(context.Context) error) {
	i.work.Go(func() {
		for tick := time.NewTicker(pause); ; {
			select {
			case <-tick.C:
				_ = i.time(ctx, what, ask) // it keeps what failed
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	})
}

// time asks, and keeps how long it took.
func (i *innocent) time(ctx context.Context, what string, ask func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begin := time.Now()
	err := ask(within)
	if ctx.Err() != nil {
		return nil // it was stopped
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
		i.fault(begin, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.samples = append(i.samples, sample{what, begin, time.Since(begin)})
	return err
}

func (i *innocent) fault(at time.Time, why error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = append(i.faults, fault{at, why})
}

func (i *innocent) request(ctx context.Context) error {
	_, err := msgclient.Request[ponging](ctx, i.stable, pinging{ID: 1})
	return err
}

func (i *innocent) call(ctx context.Context) error {
	sum, err := rpcclient.Call[int](ctx, i.calls, "add", 1, 2)
	if err == nil && sum != 3 {
		err = fmt.Errorf("1 and 2 are %d", sum)
	}
	return err
}

func (i *innocent) connect(ctx context.Context) error {
	c, err := rpcclient.New(i.anew)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = rpcclient.Call[int](ctx, c, "add", 1, 2)
	return err
}

// since says what has happened to it since: what must not, and the slowest answer.
func (i *innocent) since(begin time.Time) (slowest sample, faults []fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, f := range i.faults {
		if !f.at.Before(begin) {
			faults = append(faults, f)
		}
	}
	for n := len(i.samples) - 1; n >= 0; n-- {
		s := i.samples[n]
		if s.at.Add(s.took).Before(begin) {
			break
		}
		if s.took > slowest.took {
			slowest = s
		}
	}
	return slowest, faults
}

// probe asks once more, now, and looks at what has happened since.
func (i *innocent) probe(t *testing.T, begin time.Time) {
	t.Helper()
	for what, ask := range map[string]func(context.Context) error{"request": i.request, "call": i.call} {
		_ = i.time(context.Background(), what, ask) // since tells it
	}
	slowest, faults := i.since(begin)
	for _, f := range faults {
		t.Errorf("the innocent client meanwhile, after %v: %v", f.at.Sub(begin).Round(time.Millisecond), f.why)
	}
	if slowest.took > longest {
		t.Errorf("the innocent client meanwhile: a %s took %v, want at most %v", slowest.what, slowest.took.Round(time.Millisecond), longest)
	}
}

// end stops it, and looks at all of its answers.
func (i *innocent) end(t *testing.T) {
	t.Helper()
	i.stop()
	i.work.Wait()
	_ = i.stable.Close(context.Background()) // it has ended
	i.calls.Close()
	i.mu.Lock()
	defer i.mu.Unlock()
	took := map[string][]time.Duration{}
	for _, s := range i.samples {
		took[s.what] = append(took[s.what], s.took)
	}
	for what, all := range took {
		slices.Sort(all)
		at := func(percent int) time.Duration {
			return all[min(len(all)-1, len(all)*percent/100)].Round(10 * time.Microsecond)
		}
		t.Logf("the innocent client: %d of %s: half within %v, 95 %% %v, 99 %% %v, all %v", len(all), what, at(50), at(95), at(99), at(100))
		if got := at(95); got > usual {
			t.Errorf("the innocent client: 95 of 100 of %s within %v, want %v", what, got, usual)
		}
	}
}
