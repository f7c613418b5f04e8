package msgclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// attempts counts dials, and may refuse them.
type attempts struct {
	dial func(context.Context, string, string) (net.Conn, error)

	mu sync.Mutex
	// Guarded by mu.
	times  []time.Time
	where  []string
	refuse bool
}

func (a *attempts) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	a.mu.Lock()
	a.times = append(a.times, time.Now())
	a.where = append(a.where, address)
	refuse := a.refuse
	a.mu.Unlock()
	if refuse {
		return nil, errors.New("nobody listens")
	}
	return a.dial(ctx, network, address)
}

func (a *attempts) set(refuse bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = refuse
}

func (a *attempts) so() (times []time.Time, where []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.times), slices.Clone(a.where)
}

// Pauses are random below a bound that doubles from 0.5 s to 30 s.
func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		line := &attempts{dial: srv.DialContext, refuse: true}
		c := srv.Client(msgclient.Config{DialContext: line.DialContext})
		go func() { _ = c.Run(t.Context()) }() // ends with the test
		time.Sleep(time.Hour)
		times, _ := line.so()
		bound, longest, short := msgclient.DefaultMinWait, time.Duration(0), 0
		for i := range times[1:] {
			pause := times[i+1].Sub(times[i])
			if pause > bound {
				t.Errorf("pause %d was %s, want at most %s", i+1, pause, bound)
			}
			if pause < bound/2 {
				short++
			}
			longest = max(longest, pause)
			bound = min(2*bound, msgclient.DefaultMaxWait)
		}
		// An hour has about 240 pauses of 15 s on average: full jitter.
		if n := len(times); n < 180 || n > 330 || short < n/4 || short > 3*n/4 || longest < 25*time.Second {
			t.Errorf("got %d attempts in an hour, %d of them in the first half of their bound, the longest pause %s", n, short, longest)
		}

		line.set(false)
		time.Sleep(msgclient.DefaultMaxWait)
		ping(t, c, 1)
		times, _ = line.so()
		srv.Cut() // a welcome has reset the bound
		synctest.Wait()
		ping(t, c, 2)
		after, _ := line.so()
		if len(after) != len(times)+1 {
			t.Errorf("got %d attempts after the cut, want 1", len(after)-len(times))
		}
		if c.Connects() != 2 {
			t.Errorf("got %d connections, want 2", c.Connects())
		}
	})
}

// The pause after a loss is short again once a welcome has come.
func TestBackoffIsResetByAWelcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		c := srv.Connect(msgclient.Config{})
		for i := range int64(20) {
			srv.Cut()
			synctest.Wait()
			begin := time.Now()
			ping(t, c, i)
			if took := time.Since(begin); took > msgclient.DefaultMinWait {
				t.Errorf("reconnect %d took %s, want at most %s", i, took, msgclient.DefaultMinWait)
			}
		}
	})
}

// What the service says of when to come back goes before the back-off.
func TestRetryHints(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		retry       bus.Retry
		least, most time.Duration
	}{
		"after":            {bus.Retry{After: time.Minute}, time.Minute, time.Minute + msgclient.DefaultMinWait},
		"after and spread": {bus.Retry{After: time.Minute, Spread: time.Hour}, time.Minute, 61 * time.Minute},
		"spread alone":     {bus.Retry{Spread: time.Hour}, 0, time.Hour},
		"now":              {bus.Retry{When: bus.RetryNow}, 0, 0},
		"nothing":          {bus.Retry{}, 0, msgclient.DefaultMinWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const refusals = 8
				var all sync.WaitGroup
				var mu sync.Mutex
				var waits []time.Duration
				svc := newRoom(nil)
				refused := map[bus.Identity]time.Time{}
				svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
					mu.Lock()
					defer mu.Unlock()
					if at, ok := refused[c.Identity()]; ok {
						waits = append(waits, time.Since(at))
						all.Done()
						return nil
					}
					refused[c.Identity()] = time.Now()
					return bus.Errorf(bus.CodeUnavailable, "later").WithRetry(tt.retry)
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				conf := bustest.ClientTLS(t, "agent")
				all.Add(refusals)
				for range refusals {
					c := srv.Client(msgclient.Config{TLS: conf})
					go func() { _ = c.Run(t.Context()) }() // ends with the test
				}
				all.Wait()
				for _, wait := range waits {
					if wait < tt.least || wait > tt.most {
						t.Errorf("came back after %s, want %s to %s", wait, tt.least, tt.most)
					}
				}
				slices.Sort(waits)
				if tt.retry.Spread > 0 && waits[refusals-1]-waits[0] < tt.retry.Spread/8 {
					t.Errorf("all came back together: %v", waits)
				}
			})
		})
	}
}

// A service that says "now" every time is not taken at its word: no hot loop.
func TestNowInARow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		tries := 0
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			tries++
			return bus.Errorf(bus.CodeUnavailable, "again").WithRetry(bus.Retry{When: bus.RetryNow})
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Client(msgclient.Config{})
		go func() { _ = c.Run(t.Context()) }() // ends with the test
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if tries < 10 || tries > 200 {
			t.Errorf("got %d attempts in ten minutes, want about two for each pause", tries)
		}
	})
}

// What is final ends Run, and nothing else does.
func TestWhatIsFinal(t *testing.T) {
	t.Parallel()
	never := bus.Retry{When: bus.RetryNever}
	for name, tt := range map[string]struct {
		refuse *bus.Error
		drop   bus.Code
		retry  bool // RetrySuperseded
		final  bool
	}{
		"a refusal that says never":    {refuse: bus.Errorf(bus.CodePermissionDenied, "no").WithRetry(never), final: true},
		"a refusal":                    {refuse: bus.Errorf(bus.CodePermissionDenied, "no")},
		"unauthenticated":              {refuse: bus.Errorf(bus.CodeUnauthenticated, "no")},
		"superseded":                   {drop: bus.CodeSuperseded, final: true},
		"superseded, told otherwise":   {drop: bus.CodeSuperseded, retry: true},
		"the certificate was revoked":  {drop: bus.CodeCertificateRevoked, final: true},
		"the certificate has expired":  {drop: bus.CodeCertificateExpired},
		"a protocol error":             {drop: bus.CodeProtocolError},
		"going away":                   {drop: bus.CodeGoingAway},
		"a slow consumer":              {drop: bus.CodeSlowConsumer},
		"a code of a later version":    {drop: 99},
		"revoked, RetrySuperseded set": {drop: bus.CodeCertificateRevoked, retry: true, final: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(func(_ context.Context, c *msgbus.Conn, _ Job) error {
					c.Drop(tt.drop, "go")
					return nil
				})
				tries := 0
				svc.OnConnect = func(context.Context, *msgbus.Conn) error {
					if tries++; tries == 1 && tt.refuse != nil {
						return tt.refuse
					}
					return nil
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				c := srv.Client(msgclient.Config{RetrySuperseded: tt.retry})
				ended := make(chan error, 1)
				go func() { ended <- c.Run(t.Context()) }()
				want := tt.drop
				if tt.refuse != nil {
					want = tt.refuse.Code
				} else if err := c.SendAcked(t.Context(), Job{}); err != nil && bus.CodeOf(err) != bus.CodeSessionLost {
					t.Fatal(err)
				}
				if !tt.final {
					time.Sleep(time.Minute)
					ping(t, c, 1)
					none(t, ended, "the end of Run")
					return
				}
				e := wantCode(t, "Run", next(t, ended, "the end of Run"), want)
				if !e.Remote {
					t.Errorf("got %v from this side", e)
				}
				wantCode(t, "Send afterwards", c.Send(t.Context(), Ping{}), want)
				wantCode(t, "Connect afterwards", c.Connect(t.Context()), want)
			})
		})
	}
}

func TestGiveUpAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		line := &attempts{dial: srv.DialContext}
		c := srv.Client(msgclient.Config{DialContext: line.DialContext, GiveUpAfter: 10 * time.Minute})
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context()) }()
		ping(t, c, 1)
		time.Sleep(time.Hour) // it is connected: nothing to give up
		line.set(true)
		srv.Cut()
		time.Sleep(9 * time.Minute)
		line.set(false) // back in time
		ping(t, c, 2)
		line.set(true)
		srv.Cut()
		begin := time.Now()
		time.Sleep(10*time.Minute - time.Second)
		none(t, ended, "the end of Run before its time")
		wantCode(t, "Run", next(t, ended, "the end of Run"), bus.CodeDeadlineExceeded)
		if took := time.Since(begin); took != 10*time.Minute {
			t.Errorf("gave up after %s, want 10m", took)
		}
		if c.Identity() == "" || c.Connected() {
			t.Errorf("afterwards: got identity %q, connected %t; want the one it had, false", c.Identity(), c.Connected())
		}
	})
}

// A message sent while there is no connection waits for one.
func TestSendWaitsForAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []int64
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got = append(got, m.ID); return nil })
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		line := &attempts{dial: srv.DialContext, refuse: true}
		c := srv.Client(msgclient.Config{DialContext: line.DialContext, MaxWait: 4 * time.Second})
		go func() { _ = c.Run(t.Context()) }() // ends with the test
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantCode(t, "Send without a connection", c.Send(ctx, Job{ID: 1}), bus.CodeDeadlineExceeded)
		sent := make(chan error, 1)
		go func() { sent <- c.SendAcked(t.Context(), Job{ID: 2}) }()
		time.Sleep(10 * time.Second)
		none(t, sent, "the outcome of SendAcked without a connection")
		line.set(false)
		if err := next(t, sent, "the outcome of SendAcked"); err != nil {
			t.Error(err)
		}
		ping(t, c, 1)
		if fmt.Sprint(got) != "[2]" {
			t.Errorf("the service got %v, want [2]", got)
		}
	})
}

// OnRetry tells a program why it is not connected, and for how long.
func TestOnRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type retry struct {
			why  error
			wait time.Duration
		}
		told := make(chan retry, 10)
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		attempts := 0
		c := srv.Client(msgclient.Config{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if attempts++; attempts == 1 {
					return nil, errors.New("no route")
				}
				return srv.DialContext(ctx, network, address)
			},
			OnRetry: func(_ *msgclient.Client, why error, wait time.Duration) { told <- retry{why, wait} },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		begin := time.Now()
		go func() { ended <- c.Run(ctx) }()
		first := next(t, told, "the first attempt's failure")
		wantCode(t, "the first attempt", first.why, bus.CodeUnavailable)
		for !c.Connected() {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(begin); took < first.wait || took > first.wait+10*time.Millisecond {
			t.Errorf("connected after %s, told to be after %s", took, first.wait)
		}
		srv.Cut()
		wantCode(t, "the cut", next(t, told, "the cut").why, bus.CodeUnavailable)
		cancel()
		next(t, ended, "the end of Run")
	})
}

// GiveUpAfter ends an attempt that is under way, too.
func TestGiveUpDuringAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		c := srv.Client(msgclient.Config{
			GiveUpAfter: 5 * time.Second,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
		})
		begin := time.Now()
		wantCode(t, "Run", c.Run(t.Context()), bus.CodeDeadlineExceeded)
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("gave up after %s, want 5s", took)
		}
	})
}
