package link

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"busd/internal/wire"
)

// reflects sends each message back, as it is handled.
func reflects() *handlers {
	return &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
		m, err := unpackNote(in.Body)
		if err != nil {
			return err
		}
		return e.Send(ctx, dataFrame(m.ID, ""))
	}}
}

// What the reader finds one after the other it answers together, but for so much that
// the peer has something to do meanwhile.
func TestAnswersGoTogether(t *testing.T) {
	tests := map[string]struct{ messages, each, want int }{
		"few":         {5, 8, 1},
		"many":        {10, 16, 3}, // after 64 each, and the rest
		"many in one": {1, 160, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, peer := rawPeerBefore(t, reflects(), func(peer *raw) {
					for range tt.messages {
						peer.say(notes(1, int64(tt.each))...)
					}
				})
				synctest.Wait()
				if got := int(b.pipe.messages.Load()); got != tt.want {
					t.Errorf("%d WebSocket messages with %d frames each were answered with %d, want %d", tt.messages, tt.each, got, tt.want)
				}
				for range tt.messages * tt.each {
					peer.hear(wire.Data)
				}
			})
		})
	}
}

// rawPeerBefore is rawPeer with what the peer has said before the link reads.
func rawPeerBefore(t *testing.T, h *handlers, says func(peer *raw)) (*end, *raw) {
	t.Helper()
	pa, pb := Pipe(t, 1024)
	a := newEnd(pa, h, options{}.orDefaults())
	pb.Handle(func(string) {}, func(string) {})
	peer := &raw{pipe: pb, t: t}
	says(peer)
	a.run()
	t.Cleanup(func() {
		pa.Abort()
		_ = a.wait(t)
	})
	return a, peer
}

// What the reader left for what it would read next is written within a moment if
// that does not come; and the next is handled as ever.
func TestLeftIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, peer := rawPeer(t, reflects(), options{})
		always := func() bool { return true }
		b.pipe.more.Store(&always)
		for range 3 {
			begin := time.Now()
			peer.say(notes(1, 2)...)
			peer.hear(wire.Data)
			peer.hear(wire.Data)
			if took := time.Since(begin); took > patience {
				t.Errorf("what was left took %s, want at most %s", took, patience)
			}
			synctest.Wait()
			if left := time.Since(begin) > 0; !left {
				t.Error("nothing was left")
			}
			time.Sleep(time.Second)
			b.mu.Lock()
			if b.inline.active || b.inline.reader != nil {
				t.Error("the reader is still watched while nothing comes")
			}
			b.mu.Unlock()
		}
	})
}

// A reader that has answered gives way before it waits for more, less often where that
// is in vain, and not at all where others want the processor.
func TestReaderGivesWay(t *testing.T) {
	const handled = 39 // by the reader, of 40
	tests := map[string]struct {
		comes  bool // what it waits for
		others int32
		asks   bool  // who waits for an answer gets it with each message
		want   int32 // how often it looks for more, beside once before it writes
	}{
		"in vain":        {want: 6 * gives}, // for messages 2, 4, 8, 16, 25 and 34
		"not in vain":    {comes: true, want: handled},
		"with others":    {others: 1},
		"with who waits": {asks: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forget(t, tt.others)
				asking.Store(true) // who asks does not look here
				b, peer := rawPeer(t, reflects(), options{})
				looks := int32(0)
				more := func() bool {
					looks++
					return tt.comes && looks%2 == 0 // it gives way after it has written
				}
				b.pipe.more.Store(&more)
				for range handled + 1 {
					var with [][]byte
					if tt.asks {
						go func() { _, _ = b.Request(t.Context(), requestFrame(1, "")) }()
						with = append(with, must(wire.AppendAnswer(nil, peer.hear(wire.Request).N, nil, nil)))
						synctest.Wait() // until it is not writing any more
					}
					peer.say(append(with, dataFrame(1, ""))...)
					peer.hear(wire.Data)
					synctest.Wait()
				}
				if looks -= handled; looks != tt.want {
					t.Errorf("it looked for more %d times, want %d", looks, tt.want)
				}
			})
		})
	}
}

// Where to give way once takes long, nobody does for a while, and for longer each time
// that it is still so.
func TestNobodyGivesWayToTheBusy(t *testing.T) {
	if !canYield {
		t.Skip("nobody gives way here")
	}
	synctest.Test(t, func(t *testing.T) {
		forget(t, 0)
		p, _ := Pipe(t, 1)
		takes, looks, comes := time.Duration(0), 0, 0
		more := func() bool { looks++; return looks == comes }
		p.more.Store(&more)
		await := func(takesNow time.Duration, comesAt int) (looked int, found bool) {
			takes, looks, comes = takesNow, 0, comesAt
			found = awaitMore(p, func() bool { time.Sleep(takes); return false })
			return looks, found
		}
		steps := []struct {
			after, takes time.Duration // that a turn takes
			comes        int           // when there is more
			looks        int
		}{
			{0, 0, 0, gives},
			{0, time.Millisecond, 0, 1},
			{minBusy - time.Millisecond, 0, 0, 0},
			{time.Millisecond, time.Millisecond, 0, 1},
			{2*minBusy - time.Millisecond, 0, 0, 0},
			{time.Millisecond, 0, 3, 3}, // it is quiet again
			{0, time.Millisecond, 0, 1},
			{minBusy, 0, 0, gives},
		}
		for i, step := range steps {
			time.Sleep(step.after)
			looked, found := await(step.takes, step.comes)
			if looked != step.looks || found != (step.comes > 0) {
				t.Errorf("step %d: it looked %d times and found %v, want %d times, %v", i, looked, found, step.looks, step.comes > 0)
			}
		}
	})
}
