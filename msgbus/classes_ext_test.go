package msgbus_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

type (
	// Order must arrive.
	Order struct {
		ID   int64  `bus:"id"`
		Text string `bus:"text"`
	}
	// State is of interest only while it is the latest of its key.
	State struct {
		Key  string `bus:"key"`
		ID   int64  `bus:"id"`
		Text string `bus:"text"`
	}
	// Blink may be missed.
	Blink struct {
		ID   int64  `bus:"id"`
		Text string `bus:"text"`
	}
)

func (Order) MessageName() string { return "Order" }
func (State) MessageName() string { return "State" }
func (Blink) MessageName() string { return "Blink" }

var feed = schema.MustNew(
	"Test/Feed",
	schema.Of[Order](schema.FromService),
	schema.Of[State](schema.FromService).Latest("key"),
	schema.Of[Blink](schema.FromService).Volatile(),
	schema.Of[Ask](schema.FromService), schema.Of[Told](schema.FromClient),
)

const stateKeys = 5

// A subscriber is a client of the feed, which can be stopped, and what it heard.
type subscriber struct {
	t      *testing.T
	srv    *bustest.Server
	svc    *msgbus.Service
	c      *msgclient.Client
	tap    *tap
	orders *ledger
	asked  chan error // why the context of an Ask's handler ended
	gone   chan error // why a session ended

	choking int // blinks that were sent beside what a test sends

	mu sync.Mutex
	// Guarded by mu.
	hangs  chan struct{} // handlers wait for this; nil: they do not
	states map[string]int64
	blinks int
}

func subscribe(t *testing.T) *subscriber {
	s := &subscriber{t: t, orders: newLedger(), states: map[string]int64{}, asked: make(chan error, 9), gone: make(chan error, 9)}
	s.svc = &msgbus.Service{
		Schema: feed,
		OnGone: func(_ context.Context, _ bus.Identity, why error) { s.gone <- why },
	}
	msgbus.Handle(s.svc, func(context.Context, *msgbus.Conn, Told) error { return nil })
	s.srv = bustest.NewServer(t, msgbus.Config{}, s.svc)
	dial, taps := tapped(s.srv.DialContext)
	s.c = s.srv.Client(msgclient.Config{DialContext: dial, Instance: "subscriber"})
	msgclient.On(s.c, func(_ context.Context, _ *msgclient.Client, m Order) error {
		s.wait()
		s.orders.note(m.ID)
		return nil
	})
	msgclient.On(s.c, func(_ context.Context, _ *msgclient.Client, m State) error {
		s.wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if m.ID <= s.states[m.Key] {
			t.Errorf("state %d of %s came after %d", m.ID, m.Key, s.states[m.Key])
		}
		s.states[m.Key] = m.ID
		return nil
	})
	msgclient.On(s.c, func(context.Context, *msgclient.Client, Blink) error {
		s.wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.blinks++
		return nil
	})
	msgclient.On(s.c, func(ctx context.Context, _ *msgclient.Client, _ Ask) error {
		<-ctx.Done()
		s.asked <- context.Cause(ctx)
		return nil
	})
	bustest.Run(t, s.c)
	s.tap = next(t, taps, "the line")
	return s
}

// wait is what a handler does that hangs.
func (s *subscriber) wait() {
	s.mu.Lock()
	hangs := s.hangs
	s.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
}

// stop keeps the client from taking anything, in one of the ways, until the
// function that it returns is called, or the test ends.
func (s *subscriber) stop(how string) (goOn func()) {
	s.t.Helper()
	switch how {
	case "it does not read":
		s.tap.turn(true)
		goOn = func() { s.tap.turn(false) }
	case "its handlers hang":
		release := make(chan struct{})
		s.mu.Lock()
		s.hangs = release
		s.mu.Unlock()
		goOn = sync.OnceFunc(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.hangs = nil
			close(release)
		})
	default:
		s.t.Fatalf("nobody knows how %s", how)
	}
	s.t.Cleanup(goOn)
	s.choke(how)
	return goOn
}

// choke sends what a stopped client still takes, and some more: nothing that is
// sent after it is written before the client goes on.
func (s *subscriber) choke(how string) {
	s.t.Helper()
	n := 110 // its credit is 1 MiB
	if how == "it does not read" {
		n = 30 // the line holds 64 KiB, and what is being written
	}
	for range n {
		if err := s.svc.Broadcast(s.t.Context(), Blink{Text: strings.Repeat("x", 10<<10)}); err != nil {
			s.t.Fatal(err)
		}
		synctest.Wait()
	}
	s.choking = n
}

// flood sends so many of each class; those of class must as long as there is room.
// It returns how many of those were taken.
func (s *subscriber) flood(n int) (taken int64) {
	s.t.Helper()
	conn := onlyConn(s.t, s.svc)
	text := strings.Repeat("x", 1000)
	full := false
	for i := range int64(n) {
		if !full {
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Millisecond)
			switch err := conn.Send(ctx, Order{ID: taken, Text: text}); bus.CodeOf(err) {
			case bus.CodeDeadlineExceeded:
				full = true
			case 0:
				taken++
			default:
				s.t.Fatalf("Send of an order: %v", err)
			}
			cancel()
		}
		if err := conn.Send(s.t.Context(), State{Key: fmt.Sprint("key-", i%stateKeys), ID: i + 1, Text: text}); err != nil {
			s.t.Fatalf("Send of a state: %v", err)
		}
		if err := conn.Send(s.t.Context(), Blink{ID: i, Text: text}); err != nil {
			s.t.Fatalf("Send of a blink: %v", err)
		}
	}
	if !full {
		s.t.Fatalf("%d orders found room", taken)
	}
	return taken
}

// Whatever is sent to a client that takes nothing, what is kept for it is bounded.
// When it takes something again, it gets every order that was accepted, the newest
// of each state, and what is missing of the rest is counted.
func TestClassesToAClientThatTakesNothing(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"it does not read", "its handlers hang"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 5000
				s := subscribe(t)
				goOn := s.stop(how)
				taken := s.flood(n)
				st := s.srv.Stats()[0]
				if st.QueuedMax > 2<<20 {
					t.Errorf("%d bytes are kept for it, want at most 2 MiB", st.QueuedMax)
				}
				if st.Replaced == 0 || st.Volatile == 0 || st.Volatile >= n {
					t.Errorf("counted: %d states replaced, %d blinks dropped; want some, and not all", st.Replaced, st.Volatile)
				}
				goOn()
				s.orders.wantAll(t, "at the client", int(taken))
				time.Sleep(time.Minute)
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				for i := range int64(stateKeys) {
					if key, want := fmt.Sprint("key-", i), n-stateKeys+i+1; s.states[key] != want {
						t.Errorf("%s: got state %d, want the newest, %d", key, s.states[key], want)
					}
				}
				if got := s.srv.Stats()[0]; s.blinks+int(got.Volatile) != n+s.choking {
					t.Errorf("%d blinks came and %d were counted as dropped, want %d together", s.blinks, got.Volatile, n+s.choking)
				}
				if s.c.Connects() != 1 {
					t.Errorf("the client connected %d times, want once", s.c.Connects())
				}
			})
		})
	}
}

// A client whose handlers hang can still be told to cancel, within a second: that
// is not behind what waits for credit.
func TestCancelToAClientWhoseHandlersHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := subscribe(t)
		conn := onlyConn(t, s.svc)
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan error, 1)
		go func() { answered <- conn.SendHandled(ctx, Ask{}) }() // its handler hangs
		synctest.Wait()
		s.choke("its handlers hang")
		s.flood(5000)
		cancel()
		wantCode(t, "the request", next(t, answered, "its end"), bus.CodeCanceled)
		begin := time.Now()
		wantCode(t, "the handler's context", next(t, s.asked, "its end"), bus.CodeCanceled)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the cancel took %s, want a second at most", took)
		}
	})
}

// Neither is a drop.
func TestDropOfAClientWhoseHandlersHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := subscribe(t)
		conn := onlyConn(t, s.svc)
		s.stop("its handlers hang")
		s.flood(5000)
		conn.Drop(bus.CodeAborted, "enough")
		time.Sleep(time.Second)
		synctest.Wait()
		if trid, ok := s.c.TRID(); ok && trid == conn.TRID() {
			t.Error("the client was not dropped within a second")
		}
	})
}

// What may be missed, or takes the place of an older one, never ends a session,
// however much of it is sent to all; what must arrive does where there is no room.
func TestBroadcastOfClasses(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"it does not read", "its handlers hang", "it is away"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := subscribe(t)
				text := strings.Repeat("x", 10<<10)
				if how == "it is away" {
					if err := s.c.Close(t.Context()); err != nil {
						t.Fatal(err)
					}
					wantCode(t, "the end of its session", next(t, s.gone, "OnGone"), bus.CodeGoingAway)
					greet(t, s.srv, s.svc, nil, aHello("away")).cut()
				} else {
					s.stop(how)
				}
				synctest.Wait()
				broadcast := func(m schema.Message) {
					t.Helper()
					if err := s.svc.Broadcast(t.Context(), m); err != nil {
						t.Fatal(err)
					}
				}
				for i := range int64(1000) {
					broadcast(State{Key: fmt.Sprint("key-", i%stateKeys), ID: i + 1, Text: text})
					broadcast(Blink{ID: i, Text: text})
				}
				synctest.Wait()
				none(t, s.gone, "the end of the session")
				st := s.srv.Stats()[0]
				if st.Sessions != 1 || st.Volatile == 0 || st.Replaced == 0 || st.QueuedMax > 2<<20 {
					t.Fatalf("got %d sessions, %d blinks dropped, %d states replaced, %d bytes kept; want 1, some, some, at most 2 MiB", st.Sessions, st.Volatile, st.Replaced, st.QueuedMax)
				}
				for range 2 { // a little room may have been left
					broadcast(Order{Text: text})
				}
				wantCode(t, "the end of the session", next(t, s.gone, "OnGone"), bus.CodeSlowConsumer)
			})
		})
	}
}

// Who wants to know that a message has arrived does not want it dropped or
// replaced, whatever its class.
func TestSendAckedOfAnyClass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := subscribe(t)
		goOn := s.stop("its handlers hang")
		s.flood(5000)
		conn := onlyConn(t, s.svc)
		acked := make(chan error, 9)
		for _, m := range []schema.Message{Blink{ID: -1}, State{Key: "key-0", ID: 10_001}, State{Key: "key-0", ID: 10_002}} {
			go func() { acked <- conn.SendAcked(t.Context(), m) }()
			synctest.Wait() // they wait for room in this order
		}
		time.Sleep(time.Second)
		none(t, acked, "an ack of what found no room")
		goOn()
		for range 3 {
			if err := next(t, acked, "an ack"); err != nil {
				t.Errorf("SendAcked: %v", err)
			}
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.states["key-0"] != 10_002 {
			t.Errorf("got state %d, want 10002", s.states["key-0"])
		}
	})
}
