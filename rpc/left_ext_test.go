package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/rpc"
)

// TestAnswer: a method is executed in its caller's goroutine, and what comes of it is
// what Call returns; where that is not possible, left is told.
func TestAnswer(t *testing.T) {
	crashed := func(string) string { return "" } // its text has the request's ID
	for _, tt := range []struct {
		method string
		left   bool // left is told
		took   time.Duration
		code   bus.Code
		text   func(string) string
	}{
		{"quickly", false, 0, 0, nil},
		{"badly", false, 0, bus.CodeNotFound, func(string) string { return "no such thing" }},
		{"panicking", false, 0, bus.CodeInternal, crashed},
		{"leaving", true, 0, bus.CodeInternal, crashed},
		{"politely", false, 0, bus.CodeDeadlineExceeded, crashed},
		{"deafly", true, 2 * time.Second, bus.CodeDeadlineExceeded, func(m string) string { return m + " took longer than the 2s that it has" }},
		{"deaflyAndBadly", true, 2 * time.Second, bus.CodeDeadlineExceeded, func(m string) string { return m + " took longer than the 2s that it has" }},
		{"missing", false, 0, bus.CodeUnimplemented, func(m string) string { return `Test/Here has no method "` + m + `"` }},
	} {
		t.Run(tt.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := rpc.NewService("Test/Here")
				s.Timeout = 2 * time.Second
				g := make(chan struct{})
				rpc.Export(s, "quickly", func() string { return "done" })
				rpc.Export(s, "badly", func() error { return bus.Errorf(bus.CodeNotFound, "no such thing") })
				rpc.Export(s, "panicking", func() { panic("at the disco") })
				rpc.Export(s, "leaving", func() { runtime.Goexit() })
				rpc.Export(s, "politely", func(ctx context.Context) error {
					deadline, _ := ctx.Deadline()
					limited, cancel := context.WithDeadline(ctx, deadline.Add(-time.Second))
					defer cancel()
					<-limited.Done()
					return limited.Err()
				})
				rpc.Export(s, "deafly", func() { <-g })
				rpc.Export(s, "deaflyAndBadly", func() { <-g; runtime.Goexit() })

				var told []error
				var took time.Duration
				began, isBack := time.Now(), false
				var result []byte
				var err error
				var work sync.WaitGroup
				work.Go(func() {
					result, err = s.Answer(t.Context(), alice, access.Claim{}, tt.method, nil, func(err error) {
						told, took = append(told, err), time.Since(began)
						if running := s.Stats().Running; tt.took > 0 && running != 1 {
							t.Errorf("%d calls run when it is left, want 1", running)
						}
					})
					isBack = true
				})
				time.Sleep(time.Minute)
				synctest.Wait()
				close(g)
				work.Wait()
				if len(told) > 0 {
					err = told[0]
				}
				switch {
				case tt.code == 0:
					if err != nil || string(result) != `"done"` {
						t.Errorf("got %s, %v", result, err)
					}
				case tt.text("") == "":
					if bus.CodeOf(err) != tt.code {
						t.Errorf("got %v, want %s", err, tt.code)
					}
				default:
					fails(t, err, tt.code, tt.text(tt.method))
				}
				if want := map[bool]int{true: 1}[tt.left]; len(told) != want || took != tt.took {
					t.Errorf("left was told %v, after %s; want %d after %s", told, took, want, tt.took)
				}
				if want := tt.method != "leaving" && tt.method != "deaflyAndBadly"; isBack != want {
					t.Errorf("Answer has returned: %v", isBack)
				}
				stats := s.Stats()
				if stats.Running != 0 {
					t.Errorf("%d calls run, want none", stats.Running)
				}
				for _, m := range stats.Methods {
					total := uint64(0)
					for _, n := range m.Calls {
						total += n
					}
					if m.LeftBehind != 0 || total != map[bool]uint64{true: 1}[m.Method == tt.method || m.Method == ""] {
						t.Errorf("%q: %d are left behind, %v were counted", m.Method, m.LeftBehind, m.Calls)
					}
				}
			})
		})
	}
}

// TestAnswersCallerGoes: who no longer waits is told at once, whatever the method does.
func TestAnswersCallerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rpc.NewService("Test/Here")
		g := make(chan struct{})
		var given context.Context
		rpc.Export(s, "deafly", func(ctx context.Context) { given = ctx; <-g })
		for name, tt := range map[string]struct {
			begin func() (context.Context, context.CancelFunc)
			code  bus.Code
			text  string
		}{
			"he goes":          {func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, bus.CodeCanceled, "the caller no longer waits for deafly"},
			"his time is over": {func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), time.Second) }, bus.CodeDeadlineExceeded, "deafly took longer than its caller gave it"},
		} {
			ctx, leave := tt.begin()
			told := make(chan error, 1)
			var work sync.WaitGroup
			work.Go(func() {
				_, _ = s.Answer(ctx, alice, access.Claim{}, "deafly", nil, func(err error) { told <- err })
			})
			synctest.Wait()
			if _, has := ctx.Deadline(); has {
				time.Sleep(time.Second)
			} else {
				leave()
			}
			synctest.Wait()
			select {
			case err := <-told:
				fails(t, err, tt.code, tt.text)
			default:
				t.Errorf("%s: he was not told", name)
			}
			if given.Err() == nil {
				t.Errorf("%s: the method's context goes on", name)
			}
			g <- struct{}{}
			work.Wait()
			leave()
		}
		if stats := s.Stats(); stats.Running != 0 {
			t.Errorf("%d calls run, want none", stats.Running)
		}
	})
}

// TestStuckMethodsHoldUpNobody: over one stable connection, methods that do not return
// are answered when their time is over, keep their places in the service, and are in
// nobody's way.
func TestStuckMethodsHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stuck = msgbus.CallsAtOnce + 1
		s := rpc.NewService("Test/Stuck")
		s.Allow, s.Timeout = access.Authenticated, 3*time.Second
		g := make(chan struct{})
		rpc.Export(s, "deafly", func() { <-g }).MaxConcurrent = stuck
		rpc.Export(s, "add", func(a, b int) int { return a + b })
		srv := bustest.NewServer(t, msgbus.Config{}, &msgbus.Service{Methods: s})
		c, err := msgclient.New(msgclient.Config{URL: srv.URL(), TLS: bustest.ClientTLS(t, "agent"), DialContext: srv.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		bustest.Run(t, c)
		began, answers := time.Now(), make(chan error, stuck)
		for range stuck {
			go func() {
				_, err := c.Call(t.Context(), "deafly", nil)
				answers <- err
			}()
		}
		late := 0
		for range stuck {
			err := <-answers
			fails(t, err, bus.CodeDeadlineExceeded, "deafly took longer than the 3s that it has")
			if time.Since(began) > 3*time.Second {
				late++
			}
		}
		if late != 1 {
			t.Errorf("%d were answered later than their time, want 1, that had to wait for its turn", late)
		}
		if sum, err := c.Call(t.Context(), "add", []byte("[1, 2]")); err != nil || string(sum) != "3" {
			t.Errorf("another method: got %s, %v", sum, err)
		}
		if _, err := c.Call(t.Context(), "deafly", nil); bus.CodeOf(err) != bus.CodeResourceExhausted {
			t.Errorf("one more than may run: got %v", err)
		}
		if running := s.Stats().Running; running != stuck {
			t.Errorf("%d calls run, want %d", running, stuck)
		}
		close(g)
		synctest.Wait()
		if running := s.Stats().Running; running != 0 {
			t.Errorf("%d calls run, want none", running)
		}
		if _, err := c.Call(t.Context(), "deafly", nil); err != nil {
			t.Errorf("once they have returned: %v", err)
		}
		if err := c.Close(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(fmt.Errorf("close: %w", err))
		}
	})
}

// TestStuckMethodsEndNothingLate: a caller that takes its call back, and the end of the
// session, leave a method behind at once.
func TestStuckMethodsEndNothingLate(t *testing.T) {
	for name, leave := range map[string]func(cancel context.CancelFunc, svc *msgbus.Service){
		"it is taken back": func(cancel context.CancelFunc, _ *msgbus.Service) { cancel() },
		"the session ends": func(_ context.CancelFunc, svc *msgbus.Service) {
			svc.Conns()[0].Drop(bus.CodeSlowConsumer, "it does not keep up")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := rpc.NewService("Test/Stuck")
				s.Allow = access.Authenticated
				g := make(chan struct{})
				rpc.Export(s, "deafly", func() { <-g })
				svc := &msgbus.Service{Methods: s}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				c, err := msgclient.New(msgclient.Config{URL: srv.URL(), TLS: bustest.ClientTLS(t, "agent"), DialContext: srv.DialContext})
				if err != nil {
					t.Fatal(err)
				}
				bustest.Run(t, c)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { _, _ = c.Call(ctx, "deafly", nil) }()
				synctest.Wait()
				leave(cancel, svc)
				synctest.Wait()
				if m := s.Stats().Methods[3]; m.LeftBehind != 1 || m.Running != 1 {
					t.Errorf("%d are left behind, %d run, want 1 and 1", m.LeftBehind, m.Running)
				}
				close(g)
				synctest.Wait()
				if running := s.Stats().Running; running != 0 {
					t.Errorf("%d calls run, want none", running)
				}
			})
		})
	}
}
