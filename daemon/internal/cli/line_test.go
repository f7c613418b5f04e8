package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/test/fault/proxy"
)

// A wire is a bench behind a line that a test can cut.
type wire struct {
	*bench
	*proxy.Proxy
}

func newWire(t *testing.T) *wire {
	t.Helper()
	b := newBench(t)
	return &wire{b, proxy.Start(t, proxy.Config{Target: b.addr})}
}

func (w *wire) url() string { return w.Addr() + "/Test/Bench" }

// cut cuts every line, and refuses others until mend.
func (w *wire) cut() {
	w.t.Helper()
	w.Refuse()
	if w.Cut(proxy.RST) == 0 {
		w.t.Fatal("there was no line to cut")
	}
}

func (w *wire) mend() { w.must(w.Admit()) }

// another starts a second server, to which lines go from now on.
func (w *wire) another() {
	w.t.Helper()
	w.t.Cleanup(w.stop)
	w.addr = "127.0.0.1:0"
	w.start()
	w.SetTarget(w.addr)
}

// listens runs listen until the end of the test.
func (w *wire) listens(more ...string) (data, screen *lines) {
	w.t.Helper()
	data, screen = newLines(w.t), newLines(w.t)
	ctx, interrupt := context.WithCancelCause(w.t.Context())
	ended := make(chan struct{})
	go func() { // ends with interrupt
		defer close(ended)
		Run(ctx, w.args(append([]string{"listen", w.url()}, more...)...), strings.NewReader(""), data, screen, Actions{})
	}()
	w.t.Cleanup(func() { interrupt(errInterrupted); <-ended })
	return data, screen
}

func TestListenGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	data, screen := w.listens("--instance", "ear")
	screen.want("connected, listening as dns:agent/ear")
	w.must(w.svc.Broadcast(t.Context(), w.news(1)))
	data.want(`News  {"n":1}`)
	for n := int64(2); n < 6; n += 2 {
		w.cut()
		screen.until("connection lost: ")
		w.must(w.svc.Broadcast(t.Context(), w.news(n)))
		w.must(w.svc.Broadcast(t.Context(), w.news(n+1)))
		w.mend()
		screen.until("connected again, session resumed: nothing lost")
	}
	for _, want := range []string{`{"n":2}`, `{"n":3}`, `{"n":4}`, `{"n":5}`} {
		data.want(want)
	}
}

func TestListenSaysWhatDoesNotGoOn(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	_, screen := w.listens()
	screen.want("connected, listening as dns:agent/")
	w.cut()
	screen.until("connection lost: the line broke (unavailable), trying again in ")
	screen.until("not connected: ")
	w.another()
	w.mend()
	screen.until("connected again, session not resumed (restarted): nothing of ours lost, what the service sent in between did not wait for us")
}

func TestListenMoves(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		w := newWire(t)
		more, first, moved := []string{}, "connected, listening as", "moved to another server, with a new session: nothing of ours lost"
		if asJSON {
			more, first, moved = []string{"--json"}, `"event":"connected"`, `"event":"moved","lost":0}`
		}
		_, screen := w.listens(more...)
		screen.want(first)
		stopFirst := w.stop
		w.another()
		stopFirst()
		screen.want(moved)
	}
}

// What a command does goes on over a cut.
func TestCommandsRideOverACut(t *testing.T) {
	t.Parallel()
	for _, command := range [][]string{{"request"}, {"send", "--expect", "News"}} {
		t.Run(command[0], func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			data, screen := newLines(t), newLines(t)
			ended := make(chan int, 1)
			go func() { // ends with the command
				args := append(command, w.url(), "Do", `{"what": "wait"}`, "--timeout", "20s")
				ended <- Run(t.Context(), w.args(args...), strings.NewReader(""), data, screen, Actions{})
			}()
			<-w.entered
			w.cut()
			screen.until("connection lost: the line broke (unavailable), trying again in ")
			close(w.release)
			w.mend()
			screen.until("connected again, session resumed: nothing lost")
			data.want(`{"n":1}`)
			if exit := <-ended; exit != exitOK {
				t.Errorf("got exit %d, want 0", exit)
			}
		})
	}
}

func TestCommandsSayThatTheLineIsNotBack(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	defer close(w.release)
	screen := newLines(t)
	ended := make(chan int, 1)
	go func() { // ends with its time-out
		ended <- Run(t.Context(), w.args("request", w.url(), "Do", `{"what": "wait"}`, "--timeout", "1s"), strings.NewReader(""), io.Discard, screen, Actions{})
	}()
	<-w.entered
	w.cut()
	began := time.Now()
	screen.until("busd: the service did not answer Do: it took longer than 1s (deadline_exceeded)")
	screen.want("connection   lost, and not back yet: the line broke")
	if exit := <-ended; exit != exitTimeout || time.Since(began) > 10*time.Second { // a busy machine is slow
		t.Errorf("got exit %d after %s, want %d after a second", exit, time.Since(began), exitTimeout)
	}
}

// A command whose session did not go on does not know what became of its
// message, and says so.
func TestCommandsDoNotGuess(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	defer close(w.release)
	screen := newLines(t)
	ended := make(chan int, 1)
	go func() { // ends with the second server's welcome
		ended <- Run(t.Context(), w.args("request", w.url(), "Do", `{"what": "wait"}`), strings.NewReader(""), io.Discard, screen, Actions{})
	}()
	<-w.entered
	w.cut()
	w.another()
	w.mend()
	screen.until("busd: the service did not answer Do: ")
	if exit := <-ended; exit != exitNetwork {
		t.Errorf("got exit %d, want %d", exit, exitNetwork)
	}
}

func TestRidesOver(t *testing.T) {
	t.Parallel()
	remote := func(c bus.Code) error {
		e := bus.Errorf(c, "x")
		e.Remote = true
		return e.Dropped()
	}
	for _, tc := range []struct {
		why  error
		want bool
	}{
		{bus.Errorf(bus.CodeUnavailable, "the line broke").Dropped(), true},
		{errors.New("anything here"), true},
		{remote(bus.CodeGoingAway), true},
		{remote(bus.CodeKeepaliveTimeout), true},
		{remote(bus.CodePermissionDenied), false},
		{remote(bus.CodeUnimplemented), false},
		{remote(bus.CodeSuperseded), false},
	} {
		if got := ridesOver(tc.why); got != tc.want {
			t.Errorf("%v: got %v, want %v", tc.why, got, tc.want)
		}
	}
}
