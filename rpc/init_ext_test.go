package rpc_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"busd/bus"
	"busd/rpc"
)

// TestInit: as the server is made, once.
func TestInit(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Init")
	var times int
	s.Init = func(ctx context.Context, facts rpc.Facts) error {
		if _, ok := ctx.Deadline(); !ok || facts.Service != "Test/Init" {
			t.Errorf("got %+v, deadline %v", facts, ok)
		}
		times++
		return nil
	}
	if _, err := rpc.NewServer(rpc.Config{}, s); err != nil || times != 1 {
		t.Fatalf("got %v, and Init was called %d times", err, times)
	}
	if _, err := ask(t, s, "ping", ""); err != nil || times != 1 {
		t.Errorf("got %v, and Init was called %d times", err, times)
	}
}

// TestInitFails: then there is no server.
func TestInitFails(t *testing.T) {
	t.Parallel()
	for want, init := range map[string]func(context.Context, rpc.Facts) error{
		"service Test/Init: Init: no database": func(context.Context, rpc.Facts) error { return errors.New("no database") },
		"service Test/Init: Init: it panicked": func(context.Context, rpc.Facts) error { panic("oh") },
		"service Test/Init: Init: it panicked ": func(context.Context, rpc.Facts) error {
			runtime.Goexit()
			return nil
		},
	} {
		s := rpc.NewService("Test/Init")
		s.Init = init
		if _, err := rpc.NewServer(rpc.Config{}, s); err == nil || err.Error() != strings.TrimSpace(want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestLazyInit: before the first request, whose caller waits; while it fails each
// request tries it again.
func TestLazyInit(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Lazy")
	var next error
	times := 0
	s.Lazy, s.Init = true, func(context.Context, rpc.Facts) error {
		times++
		return next
	}
	core, logs := observer.New(zap.ErrorLevel)
	if _, err := rpc.NewServer(rpc.Config{Logger: zap.New(core)}, s); err != nil || times != 0 {
		t.Fatalf("got %v, and Init was called %d times", err, times)
	}
	next = errors.New("no database")
	for range 2 {
		_, err := ask(t, s, "ping", "")
		fails(t, err, bus.CodeUnavailable, "Test/Lazy is not ready: try again later")
		wantRetry(t, err)
	}
	if got := logs.FilterMessage("service is not ready").All(); len(got) != 2 || got[0].ContextMap()["reason"] != "no database" {
		t.Errorf("got %v in the log", got)
	}
	next = nil
	for range 2 {
		if _, err := ask(t, s, "ping", ""); err != nil {
			t.Error(err)
		}
	}
	if times != 3 {
		t.Errorf("Init was called %d times, want 3", times)
	}
}

// TestLazyInitOnce: all who come while it runs wait for the same one.
func TestLazyInitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rpc.NewService("Test/Lazy")
		times := 0
		s.Init = func(context.Context, rpc.Facts) error { // without a server it is lazy
			times++
			time.Sleep(10 * time.Second)
			return nil
		}
		var answers []<-chan error
		for range 20 {
			answers = append(answers, begin(t.Context(), s, "ping"))
		}
		for _, answer := range answers {
			if err := <-answer; err != nil {
				t.Error(err)
			}
		}
		if times != 1 {
			t.Errorf("Init was called %d times, want once", times)
		}
	})
}

// TestSlowInit: a request waits as long as its method may take; what was begun goes
// on.
func TestSlowInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rpc.NewService("Test/Lazy")
		s.Timeout = 2 * time.Second
		times := 0
		s.Init = func(ctx context.Context, _ rpc.Facts) error {
			times++
			time.Sleep(5 * time.Second)
			return ctx.Err()
		}
		start := time.Now()
		for range 2 {
			_, err := ask(t, s, "ping", "")
			fails(t, err, bus.CodeUnavailable, "Test/Lazy is not ready yet: try again later")
			wantRetry(t, err)
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("two requests waited %s, want 4 s", took)
		}
		if _, err := ask(t, s, "ping", ""); err != nil || times != 1 {
			t.Errorf("got %v, and Init was called %d times", err, times)
		}
	})
}
