package link

import (
	"context"
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
