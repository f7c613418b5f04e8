package link

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/session"
	"busd/internal/wire"
)

// rawTalk makes an end whose reader handles, and its peer, which has sent two messages
// that followed each other closely.
func rawTalk(t *testing.T, handle func(ctx context.Context, e *end, in *Incoming) error) (*end, *raw) {
	t.Helper()
	e, peer := rawPeer(t, &handlers{handle: handle}, options{})
	for range 2 {
		peer.say(dataFrame(0, ""))
		synctest.Wait()
	}
	return e, peer
}

func notes(first, last int64) (frames [][]byte) {
	for id := first; id <= last; id++ {
		frames = append(frames, dataFrame(id, ""))
	}
	return frames
}

// Credit of messages that were handled comes back while one that came with them
// is still being handled.
func TestRunGivesCreditBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stuck = 10
		released := make(chan struct{})
		_, peer := rawTalk(t, func(_ context.Context, _ *end, in *Incoming) error {
			m, err := unpackNote(in.Body)
			if m.ID == stuck {
				<-released
			}
			return err
		})
		begin := time.Now()
		peer.say(notes(1, 20)...)
		f := peer.hear(wire.Ack)
		if want := (2 + stuck - 1) * uint64(session.MinCost); f.Released != want || f.Seen != 22 {
			t.Errorf("an ack gives %d bytes back and has seen %d, want %d and 22", f.Released, f.Seen, want)
		}
		if took := time.Since(begin); took > ackDelay {
			t.Errorf("it came after %s, want at most %s", took, ackDelay)
		}
		close(released)
	})
}

// What came together with a message whose handler ends the connection is not handled
// on it.
func TestRunIsHalted(t *testing.T) {
	tests := map[string]func(e *end) error{
		"a drop":            func(e *end) error { e.link.Drop(bus.Errorf(bus.CodeUnavailable, "later")); return nil },
		"the session's end": func(e *end) error { e.End(bus.Errorf(bus.CodeAborted, "over")); return nil },
		"an error":          func(*end) error { return bus.Errorf(bus.CodeAborted, "no") },
	}
	for name, ends := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var last int64
				_, peer := rawTalk(t, func(_ context.Context, e *end, in *Incoming) error {
					m, err := unpackNote(in.Body)
					if last = m.ID; last == 3 {
						return ends(e)
					}
					return err
				})
				peer.say(notes(1, 20)...)
				peer.hear(wire.Drop)
				synctest.Wait()
				if last != 3 {
					t.Errorf("the last that was handled is %d, want 3", last)
				}
			})
		})
	}
}

// An ack that is due for the number of messages alone waits for company, and not for
// long.
func TestAckWaitsForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := false
		_, peer := rawTalk(t, func(ctx context.Context, e *end, in *Incoming) error {
			if m, err := unpackNote(in.Body); err != nil || !sends || m.ID != 100 {
				return err
			}
			return e.Send(ctx, dataFrame(7, ""))
		})
		heard := func(kind wire.Kind, least, most time.Duration) {
			t.Helper()
			begin := time.Now()
			peer.hear(kind)
			if took := time.Since(begin); took < least || took > most {
				t.Errorf("frame %s came after %s, want %s to %s", kind, took, least, most)
			}
		}
		peer.say(notes(1, 100)...)
		heard(wire.Ack, 1, patience)
		time.Sleep(time.Second) // until all is quiet
		sends = true
		peer.say(dataFrame(0, ""))
		synctest.Wait()
		peer.say(notes(1, 100)...)
		heard(wire.Ack, 0, 0) // with what the handler has sent
		heard(wire.Data, 0, 0)
		peer.say(notes(101, 500)...)
		heard(wire.Ack, 0, 0) // there are too many to wait
	})
}

// Credit of messages that all take their time comes back as each has been handled.
func TestSlowOnesGiveCreditBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = time.Minute
		_, peer := rawTalk(t, func(_ context.Context, _ *end, in *Incoming) error {
			m, err := unpackNote(in.Body)
			if m.ID > 0 {
				time.Sleep(takes)
			}
			return err
		})
		begin := time.Now()
		peer.say(notes(1, 5)...)
		for n := range uint64(6) {
			for f := peer.hear(wire.Ack); f.Released < (2+n)*session.MinCost; f = peer.hear(wire.Ack) {
			}
			if late := time.Since(begin) - time.Duration(n)*takes; late > ackDelay+patience {
				t.Errorf("the credit of %d came back %s late", n, late)
			}
		}
	})
}

// What is handled several at a time interrupts a run, and holds up nobody.
func TestRunAmongOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		var handled []int64
		e, peer := rawPeer(t, &handlers{atOnce: 4, handle: func(_ context.Context, _ *end, in *Incoming) error {
			if in.Message.Name() == "Wide" {
				<-released
				return nil
			}
			m, err := unpackNote(in.Body)
			handled = append(handled, m.ID)
			return err
		}}, options{})
		for range 2 {
			peer.say(dataFrame(0, ""))
			synctest.Wait()
		}
		both := func(id int64) []byte {
			return must(wire.AppendData(nil, msg("Wide"), wide{ID: id}, wire.DataOptions{}))
		}
		peer.say(dataFrame(1, ""), dataFrame(2, ""), both(1), dataFrame(3, ""), both(2), dataFrame(4, ""))
		synctest.Wait()
		if want := []int64{0, 0, 1, 2, 3, 4}; !slices.Equal(handled, want) {
			t.Errorf("beside two that take long %v were handled, want %v", handled, want)
		}
		close(released)
		synctest.Wait()
		if !e.idle() {
			t.Error("something is left")
		}
	})
}

// A reader whose handlers are brisk handles, however many messages there are.
func TestBriskReaderGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, peer := rawTalk(t, func(_ context.Context, _ *end, in *Incoming) error {
			m, err := unpackNote(in.Body)
			if m.ID > 0 {
				time.Sleep(patience / (brisk + 2))
			}
			return err
		})
		peer.say(notes(1, 300)...)
		time.Sleep(time.Second)
		synctest.Wait()
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.inline.shy.IsZero() || e.link.turn != 0 {
			t.Errorf("it was taken for one that is held up, %d times", e.link.turn)
		}
	})
}

// After a move what came together with a message in hand is the new link's.
func TestRunEndsWithAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before, after []int64
		inHand, moved := make(chan struct{}), make(chan struct{})
		e, peer := rawPeer(t, &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
			m, err := unpackNote(in.Body)
			if before = append(before, m.ID); m.ID == 2 {
				close(inHand)
				<-moved
			}
			return err
		}}, options{ends: lives})
		first := e.link
		for range 2 {
			peer.say(dataFrame(0, ""))
			synctest.Wait()
		}
		peer.say(notes(1, 5)...)
		<-inHand
		line, other := Pipe(t, 64)
		other.Handle(func(string) {}, func(string) {})
		e.h = &handlers{end: e, handle: func(_ context.Context, _ *end, in *Incoming) error {
			m, err := unpackNote(in.Body)
			after = append(after, m.ID)
			return err
		}}
		if _, err := e.accept(line, 0); err != nil {
			t.Fatal(err)
		}
		close(moved)
		synctest.Wait()
		if want := []int64{3, 4, 5}; !slices.Equal(after, want) {
			t.Errorf("the first link's handler had %v, the next one's %v, want %v", before, after, want)
		}
		first.Drop(bus.Errorf(bus.CodeUnavailable, "left"))
		line.Abort()
		first.Abort()
		_ = e.wait(t)
	})
}

// Who handles is told that a message follows another.
func TestFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var follows []bool
		_, peer := rawTalk(t, func(_ context.Context, _ *end, in *Incoming) error {
			follows = append(follows, in.Follows)
			return nil
		})
		peer.say(notes(1, 8)...)
		synctest.Wait()
		time.Sleep(time.Second)
		peer.say(dataFrame(9, ""))
		synctest.Wait()
		want := []bool{false, false, false, true, true, true, true, true, true, true, false}
		if !slices.Equal(follows, want) {
			t.Errorf("got %v, want %v", follows, want)
		}
	})
}

// exits are handlers whose report of a failure ends the goroutine.
type exits struct {
	*handlers
	reports atomic.Int32
}

func (h *exits) Failed(*Incoming, *bus.Error) {
	h.reports.Add(1)
	runtime.Goexit()
}

// A message whose failure is reported by what ends the goroutine was handled once, and
// those behind it are handled; a request is answered.
func TestReportThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handled []int64
		e, peer := rawPeer(t, nil, options{})
		h := &exits{handlers: &handlers{end: e, keep: true, handle: func(_ context.Context, _ *end, in *Incoming) error {
			m, err := unpackNote(in.Body)
			if handled = append(handled, m.ID); m.ID == 3 || m.ID == 7 {
				return bus.Errorf(bus.CodeAborted, "no")
			}
			return err
		}}}
		e.link.cfg.Handler = h
		for range 2 {
			peer.say(dataFrame(0, ""))
			synctest.Wait()
		}
		peer.say(notes(1, 5)...)
		synctest.Wait()
		peer.say(requestFrame(7, ""))
		if f := peer.hear(wire.Error); f.Re != 5 {
			t.Errorf("an error for frame %d, want one for the message, which is 5", f.Re)
		}
		if f := peer.hear(wire.Error); f.Re != 8 {
			t.Errorf("an error for frame %d, want one for the request, which is 8", f.Re)
		}
		synctest.Wait()
		if want := []int64{0, 0, 1, 2, 3, 4, 5, 7}; !slices.Equal(handled, want) || h.reports.Load() != 2 {
			t.Errorf("handled %v, with %d reports; want %v, and 2", handled, h.reports.Load(), want)
		}
	})
}
