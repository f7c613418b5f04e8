package link

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

func pinging(cfg *Config) { cfg.PingEvery, cfg.PongWithin = 30*time.Second, 10*time.Second }

func TestKeepalive(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, pb := Pipe(t, 64)
		a := newEnd(pa, nil, options{change: pinging}.orDefaults())
		b := newEnd(pb, nil, options{change: func(c *Config) { c.Silence = 75 * time.Second }}.orDefaults())
		a.run()
		b.run()
		time.Sleep(time.Hour)
		if a.Cause() != nil || b.Cause() != nil {
			t.Fatalf("an idle connection ended: %v, %v", a.Cause(), b.Cause())
		}
		a.Drop(bus.Errorf(bus.CodeGoingAway, "over"))
		_, _ = a.wait(t), b.wait(t)
	})
}

func TestKeepaliveFindsADeadPeer(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, _ := Pipe(t, 64)
		a := newEnd(pa, nil, options{change: pinging}.orDefaults())
		begin := time.Now()
		a.run()
		err := a.wait(t)
		wantDropped(t, "Run", err, bus.CodeKeepaliveTimeout)
		// 27 to 33 s until the ping, 10 s for its pong, then the goodbye.
		if took := time.Since(begin); took < 37*time.Second || took > 43*time.Second+closeLimit {
			t.Errorf("it took %s", took)
		}
	})
}

func TestSilence(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, _ := Pipe(t, 64)
		a := newEnd(pa, nil, options{change: func(c *Config) { c.Silence = 75 * time.Second }}.orDefaults())
		begin := time.Now()
		a.run()
		wantDropped(t, "Run", a.wait(t), bus.CodeKeepaliveTimeout)
		if took := time.Since(begin); took < 75*time.Second || took > 75*time.Second+closeLimit {
			t.Errorf("it took %s", took)
		}
	})
}

func TestProbe(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		synctestWithoutParallel(t, func(t *testing.T) {
			pa, pb := Pipe(t, 64)
			a, b := newEnd(pa, nil, options{}.orDefaults()), newEnd(pb, nil, options{}.orDefaults())
			a.run()
			if answers {
				b.run()
			}
			begin := time.Now()
			a.link.Probe(5 * time.Second)
			a.link.Probe(time.Second) // one is under way
			if answers {
				time.Sleep(time.Hour)
				if err := a.Cause(); err != nil {
					t.Errorf("a probe that is answered ended the link: %v", err)
				}
				a.Drop(bus.Errorf(bus.CodeGoingAway, "over"))
				_, _ = a.wait(t), b.wait(t)
				return
			}
			wantDropped(t, "Run", a.wait(t), bus.CodeKeepaliveTimeout)
			if took := time.Since(begin); took < 5*time.Second || took > 5*time.Second+closeLimit {
				t.Errorf("it took %s, want 5s and the goodbye", took)
			}
		})
	}
}

// A timer that fires in the moment of the pong does no harm, and a pong that
// answers nothing is no answer.
func TestPongs(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, pb := Pipe(t, 64)
		a, b := newEnd(pa, nil, options{}.orDefaults()), newEnd(pb, nil, options{}.orDefaults())
		a.run()
		b.run()
		a.link.Probe(5 * time.Second)
		synctest.Wait()    // it is answered
		a.link.keepAlive() // and its timer comes too late
		a.mu.Lock()
		if a.link.alive.pending || len(a.link.pings) != 0 {
			t.Error("a probe's late timer began another, which has no time")
		}
		a.mu.Unlock()
		time.Sleep(time.Minute)
		if err := a.Cause(); err != nil {
			t.Errorf("a probe's late timer ended the link: %v", err)
		}
		a.mu.Lock()
		a.link.alive.pending = true
		a.mu.Unlock()
		a.link.onPong("something else")
		if !a.link.alive.pending {
			t.Error("a pong that answers no ping of ours was taken for one")
		}
		a.link.onPong(pingPayload)
		if a.link.alive.pending {
			t.Error("our ping's pong was not taken for one")
		}
		a.Drop(bus.Errorf(bus.CodeGoingAway, "over"))
		_, _ = a.wait(t), b.wait(t)
	})
}

// While the writer is blocked, pings do not pile up, and of their pongs the
// newest are kept.
func TestPingFloodWhileTheWriterIsBlocked(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, pb := Pipe(t, 1)
		a := newEnd(pa, nil, options{}.orDefaults())
		a.run()
		for i := range int64(2) { // one in the pipe, one in the writer's hand
			if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for i := range 100 {
			if err := pb.Ping(string(rune('0' + i%10))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		a.mu.Lock()
		if got := len(a.link.pongs); got != maxPongs || a.link.pongs[got-1] != "9" {
			t.Errorf("%d pongs wait, want the newest %d", got, maxPongs)
		}
		a.mu.Unlock()
		pa.Abort()
		wantDropped(t, "Run", a.wait(t), bus.CodeUnavailable)
	})
}

// Pings, pongs, cancels, acks and the drop pass data that waits for credit.
func TestControlPassesBlockedData(t *testing.T) {
	t.Parallel()
	a, peer := rawPeer(t, nil, options{credit: 1 << 10})
	pongs := make(chan string, 1)
	peer.Handle(func(string) {}, func(p string) { pongs <- p })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := a.Request(ctx, requestFrame(1, ""))
		done <- err
	}()
	re := peer.hear(wire.Request).N
	for i := range int64(100) { // far more than there is credit for
		if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wantCode(t, "the request", receive(t, done, "the request"), bus.CodeCanceled)
	if got := peer.hear(wire.Cancel).Re; got != re {
		t.Errorf("cancel: got %d, want %d", got, re)
	}
	peer.say(ackedFrame(1))
	if f := peer.hear(wire.Ack); f.Seen != 1 {
		t.Errorf("ack: got %d, want 1", f.Seen)
	}
	peer.say(requestFrame(2, ""))
	if f := peer.hear(wire.Answer); f.Re != 2 {
		t.Errorf("answer: got one to %d, want to 2", f.Re)
	}
	if err := peer.Ping("x"); err != nil {
		t.Fatal(err)
	}
	go a.Drop(bus.Errorf(bus.CodeAborted, "enough"))
	wantCode(t, "the drop", peer.hearDrop(), bus.CodeAborted)
	select {
	case p := <-pongs:
		if p != "x" {
			t.Errorf("pong: got %q, want x", p)
		}
	default: // the drop came before the ping was read
	}
}

// An ack comes within a second, and again for what comes later.
func TestLateAcks(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, pb := Pipe(t, 64)
		a := newEnd(pa, nil, options{}.orDefaults())
		a.run()
		peer := &raw{pipe: pb, t: t}
		pb.Handle(func(string) {}, func(string) {})
		for i := range int64(5) {
			begin := time.Now()
			peer.say(dataFrame(i, ""))
			if f := peer.hear(wire.Ack); f.Seen != uint64(i+1) {
				t.Errorf("ack: got %d, want %d", f.Seen, i+1)
			}
			if took := time.Since(begin); took > ackDelay {
				t.Errorf("ack %d came after %s, want %s at most", i, took, ackDelay)
			}
		}
		pa.Abort()
		_ = a.wait(t)
	})
}
