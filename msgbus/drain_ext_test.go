package msgbus_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
	"busd/msgclient"
)

// A server is drained under busy clients that know another one: nobody is told of
// an error, nothing is lost or doubled, order is kept, both ways.
func TestDrainOfBusyClients(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]func() time.Duration{
		"quick handlers": func() time.Duration { return 0 },
		"slow handlers":  func() time.Duration { return rand.N(30 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const clients = 10
				w := newTown(t, takes)
				stop, cancel := context.WithCancel(t.Context())
				defer cancel()
				all := make([]*citizen, clients)
				for i := range all {
					all[i] = w.settle(stop, fmt.Sprint("citizen-", i), w.twins[0].url, w.twins[1].url)
				}
				time.Sleep(2 * time.Second)
				begin := time.Now()
				if err := w.twins[0].Drain(t.Context(), ""); err != nil {
					t.Errorf("Drain: %v", err)
				}
				if took := time.Since(begin); took > 12*time.Second {
					t.Errorf("Drain took %s, want what clients may take to move", took)
				}
				if a, b := len(w.twins[0].svc.Conns()), len(w.twins[1].svc.Conns()); a != 0 || b != clients {
					t.Errorf("got %d clients at the first and %d at the second, want 0 and %d", a, b, clients)
				}
				time.Sleep(2 * time.Second)
				cancel()
				for _, each := range all {
					each.isWell()
				}
			})
		})
	}
}

// Clients that know no other server go where the one that stops sends them.
func TestDrainToATarget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, func() time.Duration { return rand.N(5 * time.Millisecond) })
		stop, cancel := context.WithCancel(t.Context())
		defer cancel()
		all := [3]*citizen{}
		for i := range all {
			all[i] = w.settle(stop, fmt.Sprint("citizen-", i), w.twins[0].url)
		}
		time.Sleep(time.Second)
		if err := w.twins[0].Drain(t.Context(), w.twins[1].url); err != nil {
			t.Errorf("Drain: %v", err)
		}
		if n := len(w.twins[1].svc.Conns()); n != len(all) {
			t.Errorf("got %d clients at the target, want %d", n, len(all))
		}
		time.Sleep(time.Second)
		cancel()
		for _, each := range all {
			each.isWell()
		}
	})
}

// What a client is asked when a server is drained.
func TestDrainAsksClientsToMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		mover, stayer := aHello("mover"), aHello("stayer")
		mover.Features = append(mover.Features, wire.FeatureMove)
		moves, stays := greet(t, srv, svc, nil, mover), greet(t, srv, svc, nil, stayer)
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		begin := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- srv.Drain(ctx, "wss://elsewhere.test/Test/Room") }()

		g, err := wire.DecodeGoaway(moves.until(wire.Goaway).Body)
		if err != nil || g.DeadlineMS != 6000 || g.SpreadMS != 1000 || g.Target != "wss://elsewhere.test/Test/Room" {
			t.Errorf("got %+v, %v; want two thirds of the time, spread over a second, and the target", g, err)
		}
		e := wantCode(t, "the drop of one that cannot move", stays.drop(stays.until(wire.Drop)), bus.CodeGoingAway)
		if e.Retry.When != bus.RetryAfter || e.Retry.Spread != time.Second || time.Since(begin) != 0 {
			t.Errorf("got retry %+v after %s, want after, with a spread, at once", e.Retry, time.Since(begin))
		}
		stays.cut()
		// One that could move and does not is dropped when its time is over.
		e = wantCode(t, "the drop of one that does not move", moves.drop(moves.until(wire.Drop)), bus.CodeGoingAway)
		if e.Retry.When != bus.RetryAfter || time.Since(begin) != 6*time.Second {
			t.Errorf("got retry %+v after %s, want after, and 6s", e.Retry, time.Since(begin))
		}
		moves.cut()
		if err := next(t, drained, "the end of Drain"); err != nil {
			t.Errorf("Drain: %v", err)
		}
	})
}

// Clients that cannot move have what they had begun finished, by slow handlers
// too, and get every answer; what they send later is not taken.
func TestDrainOfClientsThatCannotMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handled := newLedger()
		svc := newRoom(func(ctx context.Context, _ *msgbus.Conn, m Job) error {
			select {
			case <-time.After(4 * time.Second):
			case <-ctx.Done():
				t.Errorf("job %d: the handler's context ended: %v", m.ID, context.Cause(ctx))
			}
			handled.note(m.ID)
			return nil
		})
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		r := greet(t, srv, svc, nil, aHello("stayer"))
		for id := range int64(3) {
			r.send(Job{ID: id})
			r.until(wire.Ack)
		}
		begin := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- srv.Drain(t.Context(), "") }()
		synctest.Wait()
		r.send(Job{ID: 3})
		for {
			f := r.next()
			if f.Kind == wire.Ack && f.Seen > 3 {
				t.Errorf("frame %d is acknowledged, want none that came too late", f.Seen)
			}
			if f.Kind == wire.Drop {
				wantCode(t, "the drop", r.drop(f), bus.CodeGoingAway)
				break
			}
		}
		r.cut()
		if err := next(t, drained, "the end of Drain"); err != nil || time.Since(begin) != 12*time.Second {
			t.Errorf("Drain: got %v after %s, want the 12 s that three handlers take", err, time.Since(begin))
		}
		handled.wantAll(t, "at the service", 3)
	})
}

// A client that is away when its server stops cannot come back to it. A handler
// that runs for it has the time that others have to move; then its session ends.
func TestDrainWhileAClientIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		svc := newRoom(func(ctx context.Context, _ *msgbus.Conn, _ Job) error {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil
		})
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		r := greet(t, srv, svc, nil, aHello("pilot"))
		r.send(Job{})
		r.until(wire.Ack)
		synctest.Wait()
		r.cut()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		begin := time.Now()
		if err := srv.Drain(ctx, ""); err != nil || time.Since(begin) != 6*time.Second {
			t.Errorf("Drain: got %v after %s, want nil after 6s", err, time.Since(begin))
		}
		wantCode(t, "the end of the handler's context", next(t, ended, "the end of the handler"), bus.CodeGoingAway)
	})
}

// An OnGone that hangs does not hold a server up for ever.
func TestDrainWithAHungOnGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		svc := newRoom(nil)
		svc.OnGone = func(context.Context, bus.Identity, error) { <-release }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		greet(t, srv, svc, nil, aHello("pilot")).cut()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		e := wantCode(t, "Drain", srv.Drain(ctx, ""), bus.CodeDeadlineExceeded)
		if e.Reason != "OnGone had not returned everywhere" || time.Since(begin) != 3*time.Second {
			t.Errorf("got %v after %s, want that OnGone had not returned after 3s", e, time.Since(begin))
		}
		close(release)
	})
}

// Clients come and come back while a server stops: each is refused, or welcomed
// and shown out. When Shutdown returns, every callback has been called.
func TestDrainWhileClientsCome(t *testing.T) {
	t.Parallel()
	conf := bustest.ClientTLS(t, bustest.DefaultPeer)
	for round := range 20 {
		drainWhileClientsCome(t, conf, round)
	}
}

func drainWhileClientsCome(t *testing.T, conf *tls.Config, round int) {
	t.Helper()
	svc := newRoom(nil)
	var connects, drops, begun, gone atomic.Int64
	svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
		connects.Add(1)
		if !c.Resumed() {
			begun.Add(1)
		}
		return nil
	}
	svc.OnDrop = func(context.Context, *msgbus.Conn, error) { drops.Add(1) }
	svc.OnGone = func(context.Context, bus.Identity, error) { gone.Add(1) }
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	running, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 4 {
		c := srv.Client(msgclient.Config{
			TLS: conf, Instance: fmt.Sprint("client-", i), MinWait: time.Millisecond, MaxWait: 2 * time.Millisecond,
		})
		all.Go(func() { _ = c.Run(running) })
	}
	for range round % 5 {
		if err := svc.Broadcast(t.Context(), Note{}); err != nil {
			t.Error(err)
		}
		srv.Cut()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if connects.Load() != drops.Load() || begun.Load() != gone.Load() {
		t.Errorf("round %d: %d connects and %d drops, %d sessions and %d OnGone; want as many of each",
			round, connects.Load(), drops.Load(), begun.Load(), gone.Load())
	}
	stop()
	all.Wait()
}
