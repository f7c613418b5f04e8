package link

import (
	"context"
	"errors"
	"fmt"
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

// A diary notes the one-way messages that a handler was given.
type diary struct {
	mu  sync.Mutex
	ids []int64
}

func (d *diary) note(id int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids = append(d.ids, id)
}

func (d *diary) read() []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.ids)
}

// handler notes one-way messages, and answers a request with what it says.
func (d *diary) handler() *handlers {
	return &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
		m, err := unpackNote(in.Body)
		if err != nil {
			return err
		}
		if in.Kind == wire.Request {
			return e.Reply(ctx, in.N, must(wire.AppendAnswer(nil, in.N, msg("Note"), m)))
		}
		d.note(m.ID)
		return nil
	}}
}

// upTo returns 0, 1, … n-1.
func upTo(n int64) (ids []int64) {
	for i := range n {
		ids = append(ids, i)
	}
	return ids
}

// TestCutAtEveryByte plays the same conversation again and again, and cuts the
// line after each byte that either end writes, with what is on the line lost or
// not. Nobody notices but the links.
func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	for _, lossy := range []bool{false, true} {
		for who, name := range []string{"client", "server"} {
			t.Run(fmt.Sprintf("%s/lossy=%t", name, lossy), func(t *testing.T) {
				for n, cuts := int64(1), true; cuts; n++ {
					synctest.Test(t, func(t *testing.T) {
						cuts = playWithACut(t, func(client, server *pipe) {
							client.split, server.split = true, true
							client.lossy, server.lossy = lossy, lossy
							[]*pipe{client, server}[who].budget.Store(n)
						})
					})
					if t.Failed() {
						t.Fatalf("when the %s's line is cut after byte %d", name, n)
					}
				}
			})
		}
	}
}

// playWithACut plays a conversation on a line that breaks at some time; false:
// it did not.
func playWithACut(t *testing.T, tune func(client, server *pipe)) bool {
	const n = 6
	var diaries [2]diary
	o := options{ends: lives, room: 64}.orDefaults()
	pa, pb := Pipe(t, o.room)
	tune(pa, pb)
	a, b := newEnd(pa, diaries[0].handler(), o), newEnd(pb, diaries[1].handler(), o)
	a.run()
	b.run()
	var work sync.WaitGroup
	for _, e := range []*end{a, b} {
		work.Go(func() {
			for i := range int64(n) {
				if err := e.Send(t.Context(), dataFrame(i, "")); err != nil {
					t.Errorf("Send: %v", err)
				}
			}
			work.Go(func() { wantAnswer(t, e, 99) })
			if err := e.SendAcked(t.Context(), ackedFrame(n)); err != nil {
				t.Errorf("SendAcked: %v", err)
			}
			if err := e.Flush(t.Context()); err != nil {
				t.Errorf("Flush: %v", err)
			}
		})
	}
	synctest.Wait()
	broke := a.Cause() != nil
	if broke {
		rejoin(t, a, b)
	}
	work.Wait()
	synctest.Wait()
	for i := range diaries {
		if got := diaries[i].read(); !slices.Equal(got, upTo(n+1)) {
			t.Errorf("end %d handled %v, want 0 to %d once and in order", i, got, n)
		}
	}
	for _, e := range []*end{a, b} {
		e.End(bus.Errorf(bus.CodeGoingAway, "over"))
		for _, r := range e.runs {
			_ = r.wait(t)
		}
	}
	return broke
}

// wantAnswer makes a request, and wants it answered with what it said.
func wantAnswer(t *testing.T, e *end, id int64) {
	answer, err := e.Request(t.Context(), requestFrame(id, ""))
	if err != nil {
		t.Errorf("request %d: %v", id, err)
		return
	}
	if m, err := unpackNote(answer.Body); err != nil || m.ID != id {
		t.Errorf("request %d: answered %v, %v", id, m, err)
	}
}

// TestManyCuts sends thousands of messages each way, from several goroutines,
// while the line is cut again and again.
func TestManyCuts(t *testing.T) {
	t.Parallel()
	const n, askers, seed = 4000, 4, 1
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
			if err := e.Flush(t.Context()); err != nil {
				t.Errorf("Flush: %v", err)
			}
		})
		for w := range int64(askers) {
			work.Go(func() {
				for i := range int64(n / 20) {
					wantAnswer(t, e, w*n+i)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	rng := rand.New(rand.NewPCG(seed, 0))
	a.pipe.budget.Store(5000)
	cuts := 0
	for working := true; working; {
		select {
		case <-a.Context().Done():
			cuts++
			cut(t, a, b)
			rejoin(t, a, b, func(client, server *pipe) {
				client.lossy = rng.IntN(2) == 0
				server.lossy = rng.IntN(2) == 0
				[]*pipe{client, server}[rng.IntN(2)].budget.Store(1 + rng.Int64N(12000))
			})
		case <-done:
			working = false
		case <-time.After(time.Minute):
			t.Fatalf("it hangs after %d cuts", cuts)
		}
	}
	if cuts < 20 {
		t.Errorf("%d cuts, want more: this shows nothing", cuts)
	}
	for deadline := time.Now().Add(10 * time.Second); len(diaries[0].read())+len(diaries[1].read()) < 2*n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	for i := range diaries {
		if got := diaries[i].read(); !slices.Equal(got, upTo(n)) {
			t.Errorf("end %d handled %d messages, want %d once and in order", i, len(got), n)
		}
	}
	if a.Counts().Repeated+b.Counts().Repeated == 0 {
		t.Error("nothing was written again: this shows nothing")
	}
	t.Logf("%d cuts; written again: %d and %d frames", cuts, a.Counts().Repeated, b.Counts().Repeated)
}

// A resume from a number that cannot be changes nothing.
func TestImpossibleResume(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var d diary
		a, b := pair(t, nil, d.handler(), options{ends: lives})
		if err := a.Send(t.Context(), dataFrame(0, "")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		pa, _ := Pipe(t, 1)
		if a.Resumes(2) || !a.Resumes(1) || !a.Resumes(0) {
			t.Error("Resumes: want up to what was written, 1")
		}
		carrier, link := a.link, New(Config{Socket: pa, Handler: a.h}, a.Stream)
		err := link.Open(Start{Resume: true, Seen: 2, First: func(uint64) []byte { t.Error("a welcome is made"); return nil }})
		wantCode(t, "Open", err, bus.CodeProtocolError)
		link.Drop(err)
		if a.link.Cause() != nil || a.Stream.Cause() != nil || a.link != carrier {
			t.Fatalf("it ended the link %v or the session %v", a.link.Cause(), a.Stream.Cause())
		}
		if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
			t.Fatal(err)
		}
		if err := a.Flush(t.Context()); err != nil {
			t.Errorf("Flush: %v", err)
		}
		cut(t, a, b)
		rejoin(t, a, b)
		if err := a.SendAcked(t.Context(), ackedFrame(2)); err != nil {
			t.Errorf("after a resume: %v", err)
		}
		synctest.Wait()
		if got := d.read(); !slices.Equal(got, upTo(3)) {
			t.Errorf("handled %v, want 0 to 2 once and in order", got)
		}
	})
}

// The first frames of a resumed line may be any that this end had not offered to
// have; those it has by now are thrown away.
func TestFirstFramesOfAResumedLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		numbers []uint64 // of what the peer says on the new line; 4 had arrived, 2 were offered
		want    []int64  // handled then, by number
		err     bool
	}{
		{"all again", []uint64{3, 4, 5, 6}, []int64{5, 6}, false},
		{"some again", []uint64{4, 5, 6}, []int64{5, 6}, false},
		{"only new ones", []uint64{5, 6}, []int64{5, 6}, false},
		{"old ones alone", []uint64{3, 4}, nil, false},
		{"one that was offered", []uint64{2}, nil, true},
		{"the very first", []uint64{1}, nil, true},
		{"one left out", []uint64{6}, nil, true},
		{"old ones that it heard of meanwhile left out", []uint64{3, 5, 6}, []int64{5, 6}, false},
		{"an old one twice", []uint64{4, 4}, nil, true},
		{"old ones in disorder", []uint64{4, 3}, nil, true},
	}
	for _, tt := range tests {
		synctestWithoutParallel(t, func(t *testing.T) {
			var d diary
			a, peer := rawPeer(t, d.handler(), options{ends: lives})
			for i := range int64(4) {
				peer.say(dataFrame(i+1, ""))
			}
			synctest.Wait()
			pa, pb := Pipe(t, 64)
			pb.Handle(func(string) {}, func(string) {})
			a.pipe.Abort()
			synctest.Wait()
			if err := a.resume(pa, 2, 0); err != nil {
				t.Fatal(err)
			}
			var b []byte
			for _, n := range tt.numbers {
				b = wire.AppendNumber(b, dataFrame(int64(n), ""), n)
			}
			next := &raw{pipe: pb, t: t}
			next.write(b)
			synctest.Wait()
			if got := d.read()[4:]; !slices.Equal(got, tt.want) {
				t.Errorf("%s: handled %v, want %v", tt.name, got, tt.want)
			}
			if err := a.Cause(); (err != nil) != tt.err || (err != nil && bus.CodeOf(err) != bus.CodeProtocolError) {
				t.Errorf("%s: the link ended: %v", tt.name, err)
			}
			pa.Abort()
		})
	}
}

// The session's context outlives its links', and the causes are their own.
func TestCausesOfLinkAndSession(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil, nil, options{ends: lives})
	cut(t, a, b)
	if err := a.Stream.Cause(); err != nil || a.Stream.Context().Err() != nil {
		t.Fatalf("the session ended with its link: %v", err)
	}
	old := a.link
	rejoin(t, a, b)
	b.End(bus.Errorf(bus.CodeGoingAway, "enough"))
	wantDropped(t, "the client's Run", a.wait(t), bus.CodeGoingAway)
	for name, e := range map[string]*end{"client": a, "server": b} {
		wantDropped(t, "the "+name+"'s session", e.Stream.Cause(), bus.CodeGoingAway)
		if !errors.Is(context.Cause(e.Stream.Context()), bus.ErrDropped) {
			t.Errorf("the %s's context: %v", name, context.Cause(e.Stream.Context()))
		}
	}
	wantDropped(t, "the first link", old.Cause(), bus.CodeUnavailable)
}
