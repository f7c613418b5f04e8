package link

import (
	"context"
	"flag"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/session"
	"busd/internal/wire"
)

var stressFor = flag.Duration("stress", 2*time.Second, "how long TestStress runs")

// TestStress: both ends send, ask and cancel as fast as they can, with little
// credit and little room; their handlers answer, and send on what they were
// sent. Nothing hangs, and every message that was sent is handled once.
//
// What the handlers send on always finds room, as what is under way is less
// than the buffers hold; see TestHandlersThatFillBothBuffers for why.
func TestStress(t *testing.T) {
	t.Parallel()
	const workers, window, credit, buffer = 4, 64, 2 << 10, 64 << 10
	var sent, handled, echoed, answered atomic.Int64
	windows := make(chan struct{}, window)
	handle := func(ctx context.Context, e *end, in *Incoming) error {
		m, err := unpackNote(in.Body)
		switch {
		case err != nil || in.Kind == wire.Request && m.ID%2 == 0:
			return err
		case in.Kind == wire.Request:
			return e.Reply(ctx, in.N, must(wire.AppendAnswer(nil, in.N, msg("Note"), m)))
		case m.ID == 0:
			handled.Add(1)
			<-windows
			return nil
		}
		echoed.Add(1)
		return e.Send(ctx, dataFrame(m.ID-1, m.Text))
	}
	a, b := pair(t, &handlers{handle: handle}, &handlers{handle: handle}, options{credit: credit, buffer: buffer})
	ctx, cancel := context.WithTimeout(t.Context(), *stressFor)
	defer cancel()
	var work sync.WaitGroup
	for _, e := range []*end{a, b} {
		for w := range uint64(workers) {
			work.Go(func() {
				rng := rand.New(rand.NewPCG(w, 0))
				for ctx.Err() == nil {
					text := strings.Repeat("x", rng.IntN(400))
					if w%2 == 0 {
						windows <- struct{}{}
						if err := e.Send(context.Background(), dataFrame(int64(rng.IntN(4)), text)); err != nil {
							t.Errorf("Send: %v", err)
							return
						}
						sent.Add(1)
						continue
					}
					limit, stop := context.WithTimeout(context.Background(), time.Duration(rng.IntN(2000))*time.Microsecond)
					_, err := e.Request(limit, requestFrame(rng.Int64N(100), text))
					stop()
					switch bus.CodeOf(err) {
					case 0:
						answered.Add(1)
					case bus.CodeDeadlineExceeded:
					default:
						t.Errorf("Request: %v", err)
						return
					}
				}
			})
		}
	}
	work.Wait()
	for name, e := range map[string]*end{"a": a, "b": b} {
		limit, stop := context.WithTimeout(t.Context(), 30*time.Second)
		if err := e.Flush(limit); err != nil {
			t.Errorf("%s: Flush: %v", name, err)
		}
		stop()
	}
	for deadline := time.Now().Add(10 * time.Second); handled.Load() != sent.Load(); {
		if time.Now().After(deadline) || a.Cause() != nil || b.Cause() != nil {
			t.Fatalf("%d messages were sent, %d were handled; the ends: %v, %v", sent.Load(), handled.Load(), a.Cause(), b.Cause())
		}
		time.Sleep(time.Millisecond)
	}
	t.Logf("%d sent, %d sent on, %d requests answered", sent.Load(), echoed.Load(), answered.Load())
}

// Handlers at both ends that send one-way messages while both buffers are full
// wait for each other: neither returns, so neither gives back credit. Such a
// connection ends, and says why. Answers are not concerned; they have room of
// their own.
func TestHandlersThatFillBothBuffers(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		frame := func(id int64) []byte { return dataFrame(id, strings.Repeat("x", 200)) }
		handle := func(ctx context.Context, e *end, in *Incoming) error {
			if m, err := unpackNote(in.Body); err != nil || m.ID == 0 {
				return err
			}
			return e.Send(ctx, frame(0))
		}
		a, b := pair(t, &handlers{handle: handle}, &handlers{handle: handle}, options{credit: 2 << 10, buffer: 4 << 10})
		begin := time.Now()
		for _, e := range []*end{a, b} {
			for range 10 {
				go func() {
					for e.Send(t.Context(), frame(1)) == nil {
					}
				}()
			}
		}
		<-a.Context().Done() // minutes, in virtual time
		wantDropped(t, "one end", a.wait(t), bus.CodeSlowConsumer)
		wantDropped(t, "the other", b.wait(t), bus.CodeSlowConsumer)
		if took := time.Since(begin); took < roomLimit || took > roomLimit+closeLimit {
			t.Errorf("it took %s, want %s", took, roomLimit)
		}
	})
}

// BenchmarkEcho is one connection in memory, without TLS and WebSocket: a
// message there, a message back. ping-pong waits for each, the other keeps 256
// under way.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{16, 256} {
		for name, window := range map[string]int{"pingpong": 1, "window=256": 256} {
			b.Run(name+"/bytes="+strconv.Itoa(size), func(b *testing.B) { benchmarkEcho(b, window, size) })
		}
	}
}

func benchmarkEcho(b *testing.B, window, size int) {
	back := make(chan struct{}, window)
	hb := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
		m, err := unpackNote(in.Body)
		if err != nil {
			return err
		}
		return e.Send(ctx, must(wire.AppendData(nil, msg("Note"), m, wire.DataOptions{Re: in.N})))
	}}
	ha := &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
		_, err := unpackNote(in.Body)
		back <- struct{}{}
		return err
	}}
	a, _ := pair(b, ha, hb, options{credit: session.DefaultCredit})
	m := note{ID: 1, Text: strings.Repeat("x", size)}
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	under := 0
	for range b.N {
		if under == window {
			<-back
			under--
		}
		if err := a.Send(ctx, must(wire.AppendData(nil, msg("Note"), m, wire.DataOptions{}))); err != nil {
			b.Fatal(err)
		}
		under++
	}
	for ; under > 0; under-- {
		<-back
	}
}
