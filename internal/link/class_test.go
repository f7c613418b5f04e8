package link

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// A ledger notes all that a handler was given, in words. Until its gate is open,
// handlers do not return.
type ledger struct {
	gate chan struct{}

	mu    sync.Mutex
	lines []string
}

func newLedger() *ledger { return &ledger{gate: make(chan struct{})} }

func (l *ledger) handler() *handlers {
	return &handlers{handle: func(ctx context.Context, _ *end, in *Incoming) error {
		var line string
		switch in.Name {
		case "State":
			var m state
			if err := unpackInto(in, &m); err != nil {
				return err
			}
			line = fmt.Sprintf("state %d %.3s", m.ID, m.Text)
		case "Blink":
			var m blink
			if err := unpackInto(in, &m); err != nil {
				return err
			}
			line = fmt.Sprintf("blink %d", m.ID)
		default:
			m, err := unpackNote(in.Body)
			if err != nil {
				return err
			}
			line = fmt.Sprintf("note %d", m.ID)
		}
		l.mu.Lock()
		l.lines = append(l.lines, line)
		l.mu.Unlock()
		select {
		case <-l.gate:
		case <-ctx.Done():
		}
		return nil
	}}
}

func unpackInto[M any](in *Incoming, m *M) error {
	u, err := in.Message.Unpacker(reflect.TypeFor[M]())
	if err != nil {
		return err
	}
	return u.Unpack(in.Body, m)
}

func (l *ledger) read() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// stuff sends notes until there is no credit left, and returns how many.
func stuff(t *testing.T, e *end) (n int) {
	t.Helper()
	for ; ; n++ {
		e.mu.Lock()
		stuffed := e.session.Unsent()
		e.mu.Unlock()
		if stuffed {
			return n
		}
		if err := e.Send(t.Context(), dataFrame(int64(n), "")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
}

// A message of class latest takes the place of the unsent one of its key: the
// newest is what is sent, where the first of them stood.
func TestLatest(t *testing.T) {
	t.Parallel()
	for _, overACut := range []bool{false, true} {
		synctestWithoutParallel(t, func(t *testing.T) {
			l := newLedger()
			a, b := pair(t, nil, l.handler(), options{ends: lives, credit: 1 << 10})
			n := stuff(t, a)
			if overACut {
				cut(t, a, b)
			}
			for i, put := range []struct {
				name  string
				frame []byte
			}{
				{"State", stateFrame(1, "old")},
				{"Note", dataFrame(100, "")},
				{"State", stateFrame(2, "one")},
				{"State", stateFrame(1, "mid")},
				{"Note", dataFrame(101, "")},
				{"State", stateFrame(1, "new"+strings.Repeat("x", 200))},
			} {
				var err error
				if i%2 == 0 {
					err = a.send(t.Context(), put.name, put.frame)
				} else {
					err = a.Stream.SendNow(put.frame, wire.DeliveryOf(msg(put.name), put.frame))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if got := a.Counts().Replaced; got != 2 {
				t.Errorf("counted %d replaced, want 2", got)
			}
			if overACut {
				rejoin(t, a, b)
			}
			close(l.gate)
			synctest.Wait()
			want := []string{"state 1 new", "note 100", "state 2 one", "note 101"}
			if got := l.read()[n:]; !slices.Equal(got, want) {
				t.Errorf("handled %q, want %q", got, want)
			}
			if err := a.send(t.Context(), "State", stateFrame(1, "ten")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := l.read(); got[len(got)-1] != "state 1 ten" {
				t.Errorf("after all was sent: %q, want one more state", got[n:])
			}
		})
	}
}

// One that was written and may not have arrived is not replaced: the peer gets
// both, in order, and never the older one last.
func TestLatestThatWasWritten(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		l := newLedger()
		close(l.gate)
		a, b := pair(t, nil, l.handler(), options{ends: lives})
		a.pipe.budget.Store(1)
		if err := a.send(t.Context(), "State", stateFrame(1, "old")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cut(t, a, b)
		if err := a.send(t.Context(), "State", stateFrame(1, "new")); err != nil {
			t.Fatal(err)
		}
		rejoin(t, a, b)
		synctest.Wait()
		if got, want := l.read(), []string{"state 1 old", "state 1 new"}; !slices.Equal(got, want) {
			t.Errorf("handled %q, want %q", got, want)
		}
	})
}

// One of class latest for which there is no room, and nothing to replace, waits
// like any other; the newest comes last.
func TestLatestWithoutRoom(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		l := newLedger()
		a, _ := pair(t, nil, l.handler(), options{ends: lives, credit: 1 << 10, buffer: 2 << 10})
		stuff(t, a)
		for a.Queued() < 1900 {
			if err := a.Send(t.Context(), dataFrame(0, strings.Repeat("x", 100))); err != nil {
				t.Fatal(err)
			}
		}
		results := make(chan error, 3)
		for i := range cap(results) {
			go func() {
				results <- a.send(t.Context(), "State", stateFrame(1, fmt.Sprint(i, strings.Repeat("x", 150))))
			}()
			synctest.Wait()
		}
		if len(results) != 0 {
			t.Fatalf("one found room: %v", <-results)
		}
		close(l.gate)
		for range cap(results) {
			if err := receive(t, results, "one who waited"); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if got := l.read(); !strings.HasPrefix(got[len(got)-1], "state 1 2") {
			t.Errorf("handled last: %q, want the newest state", got[len(got)-1])
		}
	})
}

// A volatile message never waits: without room it is dropped, and counted.
func TestVolatile(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		l := newLedger()
		a, _ := pair(t, nil, l.handler(), options{ends: lives, credit: 1 << 10, buffer: 2 << 10})
		n := stuff(t, a)
		const all = 1000
		for i := range int64(all) {
			var err error
			if frame := blinkFrame(i); i%2 == 0 {
				err = a.send(t.Context(), "Blink", frame)
			} else {
				err = a.Stream.SendNow(frame, wire.DeliveryOf(msg("Blink"), frame))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		dropped := int(a.Counts().Dropped)
		if q := a.Queued(); q > 2<<10 || dropped == 0 {
			t.Errorf("%d bytes are kept, %d were dropped; want at most %d bytes, and the rest dropped", q, dropped, 2<<10)
		}
		close(l.gate)
		synctest.Wait()
		got := l.read()
		if len(got)-n != all-dropped {
			t.Errorf("%d handled, %d dropped, want %d together", len(got)-n, dropped, all)
		}
		for i, line := range got[n:] {
			if line != fmt.Sprintf("blink %d", i) {
				t.Fatalf("handled %q, want the first ones in order", got[n:])
			}
		}
	})
}

// A message that must arrive is handled, or its sender is told that it will not
// be; never neither, whatever else fills the buffer.
func TestMustIsNeverLostInSilence(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		l := newLedger()
		a, b := pair(t, nil, l.handler(), options{ends: lives, credit: 1 << 10, buffer: 4 << 10})
		var want []string
		refused := 0
		for i := range int64(200) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			switch err := a.Send(ctx, dataFrame(i, strings.Repeat("x", 50))); bus.CodeOf(err) {
			case 0:
				want = append(want, fmt.Sprintf("note %d", i))
			case bus.CodeDeadlineExceeded:
				refused++
			default:
				t.Fatal(err)
			}
			cancel()
			if err := a.send(t.Context(), "Blink", blinkFrame(i)); err != nil {
				t.Fatal(err)
			}
			switch i {
			case 20, 120:
				cut(t, a, b)
			case 40, 160:
				rejoin(t, a, b)
			}
		}
		close(l.gate)
		synctest.Wait()
		got := slices.DeleteFunc(l.read(), func(line string) bool { return strings.HasPrefix(line, "blink") })
		if !slices.Equal(got, want) || refused == 0 {
			t.Errorf("handled %q, want the %d that were taken; %d were refused", got, len(want), refused)
		}
	})
}

// A peer whose handlers do not return, and that has no credit left, is told of a
// cancel and of the end within a second.
func TestCancelAndDropPassWhatIsStuck(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		running, ends := make(chan struct{}, 1), make(chan struct{}, 1)
		gate := make(chan struct{})
		defer close(gate)
		hb := &handlers{atOnce: 2, handle: func(ctx context.Context, _ *end, in *Incoming) error {
			if in.Kind == wire.Request {
				running <- struct{}{}
				<-ctx.Done()
				ends <- struct{}{}
			}
			<-gate // whatever its context says
			return nil
		}}
		a, b := pair(t, nil, hb, options{ends: lives, credit: 1 << 10})
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan error, 1)
		go func() {
			frame := must(wire.AppendRequest(nil, msg("Wide"), wide{ID: 1}, 0))
			_, err := a.Request(ctx, frame)
			asked <- err
		}()
		receive(t, running, "the handler")
		stuff(t, a)
		begin := time.Now()
		cancel()
		wantCode(t, "the request", receive(t, asked, "it"), bus.CodeCanceled)
		receive(t, ends, "the handler's context")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the cancel took %s", took)
		}
		begin = time.Now()
		a.Drop(bus.Errorf(bus.CodeAborted, "enough"))
		<-b.Context().Done()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the drop took %s", took)
		}
		wantDropped(t, "the stuck end", b.Cause(), bus.CodeAborted)
	})
}

// A peer that reads nothing at all: what is kept for it is bounded, and of each
// key it gets the newest once it reads again.
func TestPeerThatStopsReading(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		const buffer, keys, rounds = 16 << 10, 10, 2000
		a, peer := rawPeer(t, nil, options{ends: lives, buffer: buffer, room: 1})
		for range 2 { // one in the line, and one in the writer's hand
			if err := a.Send(t.Context(), dataFrame(0, "")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for i := range int64(rounds) {
			if err := a.send(t.Context(), "State", stateFrame(i%keys, fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			if err := a.send(t.Context(), "Blink", blinkFrame(i)); err != nil {
				t.Fatal(err)
			}
		}
		const pooled = 1 << 20 // what queues may have taken over from others
		if q, m := a.Queued(), a.Memory(); q > buffer || m > 8*buffer+pooled {
			t.Errorf("kept: %d bytes in %d, want at most %d and a few times that", q, m, buffer)
		}
		if c := a.Counts(); c.Replaced < rounds-2*keys || c.Dropped == 0 {
			t.Errorf("counted %+v, want nearly all of the %d states replaced, and blinks dropped", c, rounds)
		}
		newest := map[int64]string{}
		for a.Pending() {
			f := peer.hear(wire.Data)
			var m state
			if f.Message.Name() == "State" {
				if err := unpackInto(&Incoming{Message: f.Message, Body: f.Body}, &m); err != nil {
					t.Fatal(err)
				}
				newest[m.ID] = m.Text
			}
			peer.write(wire.AppendAck(nil, f.N, 0))
			synctest.Wait()
		}
		if len(newest) != keys {
			t.Errorf("got %d keys, want %d", len(newest), keys)
		}
		for id, text := range newest {
			if want := fmt.Sprint(rounds - keys + int(id)); text != want {
				t.Errorf("state %d: got %s last, want the newest, %s", id, text, want)
			}
		}
	})
}
