package link

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// A desk handles calls by what their arguments say, and notes which began.
type desk struct {
	gate chan struct{} // "wait" returns once it is open, or its context ends

	mu            sync.Mutex
	begun         []string
	running, most int
}

func newDesk() *desk { return &desk{gate: make(chan struct{})} }

func (d *desk) handler() *handlers {
	return &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
		d.mu.Lock()
		d.begun = append(d.begun, in.Name)
		d.running++
		d.most = max(d.most, d.running)
		d.mu.Unlock()
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.running--
		}()
		what := string(in.Body)
		if in.Kind != wire.Call {
			what = "wait"
		}
		switch what {
		case "wait":
			select {
			case <-d.gate:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case "fail":
			return bus.Errorf(bus.CodeNotFound, "no such thing")
		case "panic":
			panic("at the disco")
		case "exit":
			runtime.Goexit()
		case "nothing":
			return nil
		}
		if in.Kind != wire.Call {
			return nil
		}
		return e.Reply(ctx, in.N, wire.AppendResult(nil, in.N, []byte(in.Name+" done")))
	}}
}

func (d *desk) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.begun)
}

func (d *desk) runningNow() (now, most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running, d.most
}

func callFrame(method, args string) []byte { return wire.AppendCall(nil, method, []byte(args), 0) }

// call calls beside the test, which gets what came of it.
func call(ctx context.Context, e *end, method, args string) <-chan Answer {
	got := make(chan Answer, 1)
	go func() {
		a, err := e.Request(ctx, callFrame(method, args))
		a.Err = err
		got <- a
	}()
	return got
}

func TestCalls(t *testing.T) {
	t.Parallel()
	d := newDesk()
	a, b := pair(t, nil, d.handler(), options{})
	tests := []struct {
		args, result string
		code         bus.Code
	}{
		{"anything", "m done", 0},
		{"", "m done", 0},
		{"fail", "", bus.CodeNotFound},
		{"panic", "", bus.CodeInternal},
		{"exit", "", bus.CodeInternal},
		{"nothing", "", 0},
	}
	for _, tt := range tests {
		answer, err := a.Request(t.Context(), callFrame("m", tt.args))
		wantCode(t, tt.args, err, tt.code)
		if string(answer.Body) != tt.result || answer.Message != nil {
			t.Errorf("%q: got %q, %v; want %q", tt.args, answer.Body, answer.Message, tt.result)
		}
	}
	if err := b.Cause(); err != nil {
		t.Errorf("a call that fails must not end its connection: %v", err)
	}
}

// Neither do calls wait for messages, nor messages for calls, nor a call for
// another.
func TestCallsHoldUpNobody(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		d := newDesk()
		a, _ := pair(t, nil, d.handler(), options{})
		slow := call(t.Context(), a, "first", "wait")
		synctest.Wait()
		if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		quick, err := a.Request(t.Context(), callFrame("second", ""))
		if err != nil || string(quick.Body) != "second done" {
			t.Errorf("beside a message and another call: got %q, %v", quick.Body, err)
		}
		if got := d.read(); !slices.Equal(got, []string{"first", "Note", "second"}) {
			t.Errorf("begun: %v, want all three, though nothing has come to its end", got)
		}
		select {
		case got := <-slow:
			t.Errorf("the first call was answered before it was done: %+v", got)
		default:
		}
		close(d.gate)
		if got := receive(t, slow, "the first answer"); string(got.Body) != "first done" {
			t.Errorf("got %q, %v", got.Body, got.Err)
		}
	})
}

// So many calls run at a time, and no more; those behind them begin in the order
// in which they came.
func TestCallsAtOnce(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		const n = CallsAtOnce + 20
		d := newDesk()
		a, _ := pair(t, nil, d.handler(), options{})
		answers := make([]<-chan Answer, n)
		want := make([]string, n)
		for i := range n {
			want[i] = fmt.Sprint("m", i)
			answers[i] = call(t.Context(), a, want[i], "wait")
			synctest.Wait()
		}
		if now, _ := d.runningNow(); now != CallsAtOnce {
			t.Errorf("%d calls run, want %d", now, CallsAtOnce)
		}
		for range n - CallsAtOnce {
			d.gate <- struct{}{} // one returns, and the next begins
			synctest.Wait()
		}
		if got := d.read(); !slices.Equal(got, want) {
			t.Errorf("begun: %v, want them in order", got)
		}
		close(d.gate)
		for i, each := range answers {
			if got := receive(t, each, "an answer"); string(got.Body) != want[i]+" done" {
				t.Errorf("call %d: got %q, %v", i, got.Body, got.Err)
			}
		}
		if _, most := d.runningNow(); most != CallsAtOnce {
			t.Errorf("at most %d ran at a time, want %d", most, CallsAtOnce)
		}
	})
}

// A call that waits for its turn, and one that runs, can be taken back, and their
// time runs from when they came.
func TestCallsAreTakenBack(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		d := newDesk()
		a, _ := pair(t, nil, d.handler(), options{})
		for range CallsAtOnce - 1 {
			call(t.Context(), a, "crowd", "wait")
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		running := call(ctx, a, "running", "wait")
		synctest.Wait()
		waiting := call(ctx, a, "waiting", "wait")
		synctest.Wait()
		late := call(t.Context(), a, "late", "wait")
		synctest.Wait()
		cancel()
		for name, each := range map[string]<-chan Answer{"running": running, "waiting": waiting} {
			wantCode(t, name, receive(t, each, name).Err, bus.CodeCanceled)
		}
		synctest.Wait()
		if got := d.read()[CallsAtOnce-1:]; !slices.Equal(got, []string{"running", "waiting", "late"}) {
			t.Errorf("begun: %v, want all, the one that was taken back too, with a context that has ended", got)
		}
		if now, _ := d.runningNow(); now != CallsAtOnce {
			t.Errorf("%d run, want %d: the two that were taken back have ended", now, CallsAtOnce)
		}
		timed := make(chan Answer, 1)
		go func() {
			answer, err := a.Request(t.Context(), wire.AppendCall(nil, "timed", []byte("wait"), time.Second))
			answer.Err = err
			timed <- answer
		}()
		time.Sleep(2 * time.Second)
		d.gate <- struct{}{}
		wantCode(t, "one whose time was over while it waited", receive(t, timed, "the answer").Err, bus.CodeDeadlineExceeded)
		close(d.gate)
		receive(t, late, "the last answer")
	})
}

// A call that runs at a cut runs on, one that waits is handled on the next line,
// and one that was answered into the cut has its answer there; each is handled
// once.
func TestCallsOverACut(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		d := newDesk()
		a, b := pair(t, nil, d.handler(), options{ends: lives})
		var answers []<-chan Answer
		for i := range CallsAtOnce + 3 {
			answers = append(answers, call(t.Context(), a, fmt.Sprint("m", i), "wait"))
			synctest.Wait()
		}
		cut(t, a, b)
		d.gate <- struct{}{}
		synctest.Wait()
		if now, _ := d.runningNow(); now != CallsAtOnce-1 {
			t.Errorf("%d run while nothing carries the session, want %d: none begins", now, CallsAtOnce-1)
		}
		rejoin(t, a, b)
		synctest.Wait()
		if now, _ := d.runningNow(); now != CallsAtOnce {
			t.Errorf("%d run on the next line, want %d", now, CallsAtOnce)
		}
		close(d.gate)
		for i, each := range answers {
			if got := receive(t, each, "an answer"); string(got.Body) != fmt.Sprintf("m%d done", i) {
				t.Errorf("call %d: got %q, %v", i, got.Body, got.Err)
			}
		}
		if got := d.read(); len(got) != CallsAtOnce+3 {
			t.Errorf("%d calls were handled, want %d: each once", len(got), CallsAtOnce+3)
		}
	})
}

// The end of a session ends the contexts of its calls, throws away those that
// wait, and Run waits for those that run.
func TestCallsEndWithTheSession(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		d := newDesk()
		a, b := pair(t, nil, d.handler(), options{})
		answers := []<-chan Answer{}
		for range CallsAtOnce + 5 {
			answers = append(answers, call(t.Context(), a, "m", "wait"))
		}
		synctest.Wait()
		b.End(bus.Errorf(bus.CodeGoingAway, "enough"))
		_ = b.wait(t)
		if now, _ := d.runningNow(); now != 0 || len(d.read()) != CallsAtOnce {
			t.Errorf("Run has returned while %d calls run, of %d that began; want 0 of %d", now, len(d.read()), CallsAtOnce)
		}
		for _, each := range answers {
			wantCode(t, "a call", receive(t, each, "an answer").Err, bus.CodeSessionLost)
		}
	})
}

// A link that finishes handles the calls that had arrived.
func TestFinishWaitsForCalls(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		d := newDesk()
		a, b := pair(t, nil, d.handler(), options{})
		answers := []<-chan Answer{}
		for range CallsAtOnce + 5 {
			answers = append(answers, call(t.Context(), a, "m", "wait"))
		}
		synctest.Wait()
		b.link.Finish(bus.Errorf(bus.CodeGoingAway, "enough"))
		synctest.Wait()
		if err := b.Cause(); err != nil {
			t.Fatalf("the link has ended while calls run: %v", err)
		}
		close(d.gate)
		for _, each := range answers {
			if got := receive(t, each, "an answer"); got.Err != nil {
				t.Error(got.Err)
			}
		}
		wantDropped(t, "the caller", a.wait(t), bus.CodeGoingAway)
	})
}

// Where answers find no room, because the caller acknowledges none, no further
// call begins: what the others bring is all that waits.
func TestCallsWaitForRoomForAnswers(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		const buffer, size, batch = 4 << 10, 1 << 10, 10
		d := newDesk()
		h := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
			d.mu.Lock()
			d.begun = append(d.begun, in.Name)
			d.mu.Unlock()
			return e.Reply(ctx, in.N, wire.AppendResult(nil, in.N, []byte(strings.Repeat("x", size))))
		}}
		a, peer := rawPeer(t, h, options{buffer: buffer})
		say := func() {
			for range batch {
				peer.say(callFrame("m", ""))
			}
			synctest.Wait()
		}
		say()
		say()
		began := len(d.read())
		if began > buffer/size+1 {
			t.Errorf("%d calls have begun, want %d at most: answers fill the buffer", began, buffer/size+1)
		}
		if n := a.Queued(); n > buffer {
			t.Errorf("%d bytes of answers are kept, want at most %d", n, buffer)
		}
		seen, answered := uint64(0), map[uint64]bool{}
		for range 2 * batch {
			f := peer.hear(wire.Answer)
			if f.N != seen+1 || answered[f.Re] || f.Re < 1 || f.Re > 2*batch {
				t.Fatalf("got answer %d to %d, want %d, each once", f.N, f.Re, seen+1)
			}
			seen, answered[f.Re] = f.N, true
			peer.write(wire.AppendAck(nil, seen, 0))
			synctest.Wait()
		}
		if got := len(d.read()); got != 2*batch {
			t.Errorf("%d calls have begun once there was room, want %d", got, 2*batch)
		}
	})
}

// What waits is accounted for, as it counts against what a client that is away
// may keep.
func TestCallsThatWaitAreCounted(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		const n, size = 50, 4000
		d := newDesk()
		a, b := pair(t, nil, d.handler(), options{ends: lives})
		for range CallsAtOnce {
			call(t.Context(), a, "crowd", "wait")
		}
		synctest.Wait()
		before := b.Memory()
		args := strings.Repeat("x", size)
		for range n {
			call(t.Context(), a, "m", args)
		}
		synctest.Wait()
		if got := b.Memory() - before; got < n*size || got > n*(size+500) {
			t.Errorf("%d calls of %d bytes that wait take %d bytes, it says", n, size, got)
		}
		close(d.gate)
		synctest.Wait()
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.Memory(); got > before {
			t.Errorf("at rest it says %d bytes, before %d", got, before)
		}
	})
}
