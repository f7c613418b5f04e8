package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// move joins two ends by another line while the one that they have carries on:
// the client says what it has seen, and the server may answer late; then the
// client leaves the old line.
func move(t testing.TB, client, server *end, pause func()) {
	t.Helper()
	pc, ps := Pipe(t, client.o.room)
	was, wasServer := *client, *server
	seen := client.Seen()
	pause()
	told, err := server.accept(ps, seen)
	if err == nil {
		pause()
		err = client.resume(pc, seen, told)
	}
	if err != nil {
		t.Fatalf("the session cannot be moved: %v", err)
	}
	was.link.Pass()
	wasServer.link.Pass()
	pause()
	was.Drop(bus.Errorf(bus.CodeGoingAway, "moved"))
	wantDropped(t, "the client's old link", was.wait(t), bus.CodeGoingAway)
	wantDropped(t, "the server's old link", wasServer.wait(t), bus.CodeGoingAway)
}

// TestMoves moves a busy session again and again: nothing is lost or doubled.
func TestMoves(t *testing.T) {
	t.Parallel()
	const n, moves, seed = 4000, 30, 1
	var diaries [2]diary
	a, b := pair(t, diaries[0].handler(), diaries[1].handler(), options{ends: lives, credit: 8 << 10, buffer: 16 << 10})
	var work sync.WaitGroup
	for _, e := range []*end{a, b} {
		work.Go(func() {
			for i := range int64(n) {
				if err := e.Send(t.Context(), dataFrame(i, strings.Repeat("x", int(i%50)))); err != nil {
					t.Errorf("Send: %v", err)
				}
			}
			if err := e.SendAcked(t.Context(), ackedFrame(n)); err != nil {
				t.Errorf("SendAcked: %v", err)
			}
		})
		work.Go(func() {
			for i := range int64(n / 4) {
				wantAnswer(t, e, i)
			}
		})
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	for range moves {
		move(t, a, b, func() { time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond) })
	}
	work.Wait()
	for deadline := time.Now().Add(10 * time.Second); len(diaries[0].read())+len(diaries[1].read()) < 2*(n+1) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	for i := range diaries {
		if got := diaries[i].read(); !slices.Equal(got, upTo(n+1)) {
			t.Errorf("end %d handled %d messages, want %d once and in order", i, len(got), n+1)
		}
	}
}

// From the moment in which another link carries the session, the one that did
// ignores what is numbered; its end is not the session's, and its handlers go on.
func TestTheLinkThatWasLeft(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var d diary
		gate := make(chan struct{})
		h := &handlers{handle: func(ctx context.Context, _ *end, in *Incoming) error {
			m, err := unpackNote(in.Body)
			d.note(m.ID)
			if m.ID == 0 {
				<-gate
				return ctx.Err()
			}
			return err
		}}
		a, peer := rawPeer(t, h, options{ends: lives})
		peer.say(dataFrame(0, ""))
		synctest.Wait()
		old, run := a.link, a.ran
		pa, pb := Pipe(t, 64)
		pb.Handle(func(string) {}, func(string) {})
		if _, err := a.accept(pa, 0); err != nil {
			t.Fatal(err)
		}
		peer.say(dataFrame(1, ""), dataFrame(2, ""))
		peer.write(wire.AppendAck(nil, 0, 1<<40)) // nonsense, of what it carries no more
		peer.write(wire.AppendGoaway(nil, &wire.GoawayFrame{}))
		synctest.Wait()
		if got := d.read(); len(got) != 1 || old.Cause() != nil || len(h.goaways()) != 0 {
			t.Errorf("the link that was left took %v and %d goaways, and ended: %v", got, len(h.goaways()), old.Cause())
		}
		next := &raw{pipe: pb, t: t, n: 1}
		next.say(dataFrame(1, ""), dataFrame(2, ""))
		old.Hold() // not its to say any more
		peer.write(wire.AppendDrop(nil, bus.Errorf(bus.CodeGoingAway, "moved")))
		synctest.Wait()
		wantDropped(t, "the link that was left", old.Cause(), bus.CodeGoingAway)
		if err := a.Stream.Cause(); err != nil {
			t.Fatalf("the session ended with the link that it had left: %v", err)
		}
		select {
		case <-run.over:
			t.Error("its Run returned before its handler has")
		default:
		}
		close(gate)
		synctest.Wait()
		if got := d.read(); !slices.Equal(got, upTo(3)) {
			t.Errorf("handled %v, want 0 to 2 once and in order", got)
		}
		if err := peer.Close(bus.CloseNormal, ""); err != nil {
			t.Fatal(err)
		}
		wantDropped(t, "Run", run.wait(t), bus.CodeGoingAway)
		if err := a.Send(t.Context(), dataFrame(9, "")); err != nil {
			t.Fatal(err)
		}
		if f := next.hear(wire.Data); f.N != 1 {
			t.Errorf("the new line: got data %d, want 1", f.N)
		}
		pa.Abort()
	})
}

// A goaway tells the peer's handler what it says, and ends nothing.
func TestGoaway(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		ha := &handlers{}
		a, b := pair(t, ha, nil, options{ends: lives})
		want := wire.GoawayFrame{DeadlineMS: 10_000, SpreadMS: 500, Target: "wss://other/Test/Link"}
		b.link.Goaway(&want)
		synctest.Wait()
		if got := ha.goaways(); len(got) != 1 || *got[0] != want {
			t.Errorf("told %v, want %v once", got, want)
		}
		if err := a.SendAcked(t.Context(), ackedFrame(1)); err != nil {
			t.Errorf("after it: %v", err)
		}
		b.End(bus.Errorf(bus.CodeGoingAway, "over"))
		b.link.Goaway(&want)
		b.link.Hold()
		_, _ = a.wait(t), b.wait(t)
		if got := ha.goaways(); len(got) != 1 {
			t.Errorf("told %d times, want once: the link had ended", len(got))
		}
	})
}

// A goaway that cannot be read is a fault of the peer's.
func TestGoawayWithoutSense(t *testing.T) {
	t.Parallel()
	a, peer := rawPeer(t, nil, options{})
	peer.write([]byte{0x92, byte(wire.Goaway), 0x81, 0xa6, 't', 'a', 'r', 'g', 'e', 't', 0x01})
	wantCode(t, "the drop", peer.hearDrop(), bus.CodeProtocolError)
	if err := peer.Close(bus.CloseNormal, ""); err != nil {
		t.Fatal(err)
	}
	if err := a.wait(t); !errors.Is(err, bus.ErrDropped) {
		t.Errorf("Run: %v", err)
	}
}
