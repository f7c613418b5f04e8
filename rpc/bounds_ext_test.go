package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"busd/access"
	"busd/bus"
	"busd/rpc"
)

// A gate holds calls until it is opened, whatever their contexts say.
type gate struct {
	entered chan struct{}
	opened  chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) pass() {
	g.entered <- struct{}{}
	<-g.opened
}

// begin calls a method beside the test.
func begin(ctx context.Context, s *rpc.Service, method string) <-chan error {
	answer := make(chan error, 1)
	go func() {
		_, err := askAs(ctx, s, alice, method, "")
		answer <- err
	}()
	return answer
}

func wantRetry(t *testing.T, err error) {
	t.Helper()
	var b *bus.Error
	if !errors.As(err, &b) || b.Retry != (bus.Retry{When: bus.RetryAfter, After: rpc.RetryPause}) {
		t.Errorf("%v: got no hint when to try again", err)
	}
}

// TestFullMethod: a method that has as many calls as it takes leaves room for the
// others.
func TestFullMethod(t *testing.T) {
	t.Parallel()
	g := newGate()
	s := rpc.NewService("Test/Full")
	rpc.Export(s, "slow", g.pass).MaxConcurrent = 2
	first, second := begin(t.Context(), s, "slow"), begin(t.Context(), s, "slow")
	<-g.entered
	<-g.entered
	_, err := ask(t, s, "slow", "")
	fails(t, err, bus.CodeResourceExhausted, "slow has as many calls as it takes: try again later")
	wantRetry(t, err)
	if _, err := ask(t, s, "ping", ""); err != nil {
		t.Error(err)
	}
	stats := s.Stats()
	if slow := stats.Methods[3]; stats.Running != 2 || slow.Running != 2 || slow.LeftBehind != 0 || slow.Calls["resource_exhausted"] != 1 {
		t.Errorf("got %+v", stats)
	}
	close(g.opened)
	for _, answer := range []<-chan error{first, second} {
		if err := <-answer; err != nil {
			t.Error(err)
		}
	}
	if _, err := ask(t, s, "slow", ""); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

// TestFullService: a service that has as many calls as it takes refuses all others,
// but for those that tell that it lives.
func TestFullService(t *testing.T) {
	t.Parallel()
	g := newGate()
	s := rpc.NewService("Test/Full")
	s.MaxConcurrent = 1
	rpc.Export(s, "slow", g.pass)
	first := begin(t.Context(), s, "slow")
	<-g.entered
	_, err := ask(t, s, "slow", "")
	fails(t, err, bus.CodeUnavailable, "Test/Full has as many calls as it takes: try again later")
	wantRetry(t, err)
	if _, err := ask(t, s, "ping", ""); err != nil {
		t.Errorf("ping: %v", err)
	}
	close(g.opened)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := ask(t, s, "slow", ""); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

// TestDefaultBound: a service takes DefaultMaxConcurrent calls at a time.
func TestDefaultBound(t *testing.T) {
	t.Parallel()
	g := &gate{make(chan struct{}), make(chan struct{})}
	s := rpc.NewService("Test/Full")
	rpc.Export(s, "slow", g.pass)
	answers := make([]<-chan error, rpc.DefaultMaxConcurrent)
	for i := range answers {
		answers[i] = begin(t.Context(), s, "slow")
		<-g.entered
	}
	if _, err := ask(t, s, "slow", ""); bus.CodeOf(err) != bus.CodeUnavailable {
		t.Errorf("got %v, want %s", err, bus.CodeUnavailable)
	}
	close(g.opened)
	for _, answer := range answers {
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
	}
}

// TestTooSlow: a method's context ends with its time. One that heeds it and one that
// does not are answered alike; the latter keeps its place until it returns.
func TestTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := rpc.NewService("Test/Slow")
		s.Timeout = 2 * time.Second
		var cause error
		rpc.Export(s, "polite", func(ctx context.Context) error {
			<-ctx.Done()
			cause = ctx.Err()
			return fmt.Errorf("waiting: %w", ctx.Err())
		})
		rpc.Export(s, "deaf", g.pass).Timeout = 3 * time.Second

		start := time.Now()
		_, err := ask(t, s, "polite", "")
		fails(t, err, bus.CodeDeadlineExceeded, "polite took longer than the 2s that it has")
		synctest.Wait()
		if took := time.Since(start); took != 2*time.Second || !errors.Is(cause, context.DeadlineExceeded) {
			t.Errorf("it took %s and ended with %v", took, cause)
		}

		_, err = ask(t, s, "deaf", "")
		fails(t, err, bus.CodeDeadlineExceeded, "deaf took longer than the 3s that it has")
		if stats := s.Stats(); stats.Running != 1 || stats.Methods[4].Running != 1 || stats.Methods[4].LeftBehind != 1 {
			t.Errorf("it does not count as running: %+v", stats)
		}
		close(g.opened)
		synctest.Wait()
		if stats := s.Stats(); stats.Running != 0 || stats.Methods[4].Running != 0 || stats.Methods[4].LeftBehind != 0 || stats.Methods[4].Calls["deadline_exceeded"] != 1 {
			t.Errorf("it still counts as running: %+v", stats)
		}
	})
}

// TestCallersTime: a caller may have less time, and may go away.
func TestCallersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rpc.NewService("Test/Slow")
		rpc.Export(s, "wait", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := askAs(short, s, alice, "wait", "")
		fails(t, err, bus.CodeDeadlineExceeded, "wait took longer than its caller gave it")
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %s, want 1 s", took)
		}

		going, leave := context.WithCancel(t.Context())
		answer := begin(going, s, "wait")
		synctest.Wait()
		leave()
		fails(t, <-answer, bus.CodeCanceled, "the caller no longer waits for wait")

		_, err = askAs(going, s, alice, "wait", "") // who has gone already
		fails(t, err, bus.CodeCanceled, "the caller no longer waits for wait")

		start = time.Now()
		_, err = ask(t, s, "wait", "")
		fails(t, err, bus.CodeDeadlineExceeded, "wait took longer than the 1m0s that it has")
		if took := time.Since(start); took != rpc.DefaultTimeout {
			t.Errorf("it took %s, want %s", took, rpc.DefaultTimeout)
		}
	})
}

// TestSlowBefore: the hook's time is the method's.
func TestSlowBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rpc.NewService("Test/Slow")
		s.Timeout = time.Second
		s.Before = func(ctx context.Context, _ *rpc.Request) error {
			<-ctx.Done()
			return ctx.Err()
		}
		_, err := ask(t, s, "ping", "")
		fails(t, err, bus.CodeDeadlineExceeded, "ping took longer than the 1s that it has")
	})
}

// TestStats: what was counted.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rpc.NewService("Test/Counted")
		rpc.Export(s, "take", func(fail bool) (string, error) {
			time.Sleep(time.Second)
			if fail {
				return "", rpc.Errno(2, "no")
			}
			return "ok", nil
		})
		srv, err := rpc.NewServer(rpc.Config{}, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range []string{"[false]", "[true]", "[false]", "[]"} {
			_, _ = ask(t, s, "take", args)
		}
		_, _ = ask(t, s, "nosuch", "")
		_, _ = s.Call(t.Context(), nil, access.Claim{}, "take", nil)
		all := srv.Stats()
		if len(all) != 1 || all[0].Service != "Test/Counted" || len(all[0].Methods) != 5 {
			t.Fatalf("got %+v", all)
		}
		take, unknown := all[0].Methods[3], all[0].Methods[4]
		for outcome, n := range map[string]uint64{"ok": 2, "not_found": 1, "invalid_argument": 1, "unauthenticated": 1} {
			if take.Calls[outcome] != n {
				t.Errorf("%s: got %d, want %d", outcome, take.Calls[outcome], n)
			}
		}
		if take.Seconds != 3 || take.BytesIn != 7+6+7+2 || take.BytesOut != 8 {
			t.Errorf("got %+v", take)
		}
		if unknown.Method != "" || unknown.Calls["unimplemented"] != 1 {
			t.Errorf("got %+v", unknown)
		}
	})
}
