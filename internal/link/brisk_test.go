package link

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"busd/bus"
)

// Handlers that each take a little hold up neither pongs nor answers, however much
// waits for them.
func TestControlIsNotBehindHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &handlers{handle: func(context.Context, *end, *Incoming) error {
			time.Sleep(5 * time.Millisecond)
			return nil
		}}
		a, b := pair(t, slow, nil, options{room: 64, change: func(c *Config) { c.PingEvery, c.PongWithin = 30*time.Second, 15*time.Second }})
		flooded := make(chan struct{})
		go func() {
			defer close(flooded)
			for b.Send(t.Context(), dataFrame(1, "")) == nil {
			}
		}()
		for range 60 {
			time.Sleep(time.Second)
			begin := time.Now()
			if _, err := a.Request(t.Context(), requestFrame(1, "")); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > readsOn {
				t.Fatalf("an answer came after %s, want %s at most", took, readsOn)
			}
		}
		if why := a.Cause(); why != nil {
			t.Errorf("the link ended: %v", why)
		}
		over := bus.Errorf(bus.CodeGoingAway, "over")
		a.link.Drop(over)
		b.link.Drop(over)
		<-flooded
	})
}

// A reader that is stuck in a write is replaced also while a deliverer goes on.
func TestReaderThatWritesBesideADeliverer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled := 0
		hb := &handlers{handle: func(ctx context.Context, e *end, _ *Incoming) error {
			switch handled++; {
			case handled == 3:
				_, _ = e.Request(ctx, requestFrame(5, "")) // another reads on, and this goroutine delivers
			case handled > 3:
				time.Sleep(time.Millisecond)
			}
			return nil
		}}
		a, b := pair(t, nil, hb, options{room: 64})
		sent := uint64(0)
		send := func(n int) {
			t.Helper()
			for range n {
				if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
					t.Fatal(err)
				}
				sent++
			}
			time.Sleep(time.Millisecond)
		}
		send(1)
		send(1)
		send(2000)
		for range 60 {
			send(1)
		}
		wall := make(chan struct{})
		b.pipe.wall.Store(&wall)
		send(100) // an ack is due
		send(1)
		begin := time.Now()
		for b.Seen() < sent && time.Since(begin) < 10*time.Second {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(begin); took > readsOn {
			t.Errorf("what came was read after %s, want %s at most", took, readsOn)
		}
		close(wall)
	})
}

// The reader of a link that was left is replaced, however busy the next link is.
func TestReaderOfALinkThatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled := 0
		hb := &handlers{handle: func(context.Context, *end, *Incoming) error {
			if handled++; handled == 3 {
				time.Sleep(10 * time.Second)
			}
			return nil
		}}
		a, b := pair(t, nil, hb, options{room: 64, ends: lives})
		send := func() {
			t.Helper()
			if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for range 3 {
			send()
		}
		oldA, oldB := *a, *b
		rejoin(t, a, b)
		oldA.link.Pass()
		oldB.link.Pass()
		oldA.Drop(bus.Errorf(bus.CodeGoingAway, "moved"))
		begin := time.Now()
		for over := false; !over && time.Since(begin) < time.Minute; {
			send()
			select {
			case <-oldB.ran.over:
				over = true
			case <-time.After(time.Millisecond):
			}
		}
		if took := time.Since(begin); took > 2*readsOn {
			t.Errorf("the link that was left ended after %s, want %s at most", took, 2*readsOn)
		}
	})
}

// An idle link keeps nothing of what it read last.
func TestIdleLinkKeepsNoReadBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hb := &handlers{handle: func(context.Context, *end, *Incoming) error { return nil }}
		a, b := pair(t, nil, hb, options{credit: 4 << 20, buffer: 4 << 20})
		for range 4 {
			if err := a.Send(t.Context(), dataFrame(1, strings.Repeat("x", 500_000))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		b.mu.Lock()
		last := weak.Make(&b.pipe.last[0])
		b.pipe.last = nil // a real socket gives it back
		b.mu.Unlock()
		runtime.GC()
		if last.Value() != nil {
			t.Error("it keeps a read buffer")
		}
	})
}
