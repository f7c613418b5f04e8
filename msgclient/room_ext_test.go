package msgclient_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// The contract that these tests speak.
type (
	// Ping asks for a Pong.
	Ping struct {
		ID int64 `bus:"id"`
	}
	// Pong answers a Ping.
	Pong struct {
		ID int64 `bus:"id"`
	}
	// Job is what each test gives a meaning of its own.
	Job struct {
		ID int64  `bus:"id"`
		Do string `bus:"do"`
	}
	// Note is what the service tells.
	Note struct {
		ID   int64  `bus:"id"`
		Text string `bus:"text"`
	}
	// Ask is a question of the service's.
	Ask struct {
		ID int64 `bus:"id"`
	}
	// Told answers an Ask.
	Told struct {
		ID int64 `bus:"id"`
	}
	// Blob is what both may send, and nobody handles unless a test does.
	Blob struct {
		Data []byte `bus:"data"`
	}
	// Sized has constraints, and is like Blob.
	Sized struct {
		N     int64   `bus:"n,min=1"`
		Name  string  `bus:"name,maxlen=5,pattern=^[a-z]*$"`
		Ratio float64 `bus:"ratio"`
		Parts []part  `bus:"parts,optional"`
		Extra any     `bus:"extra,optional"`
	}
	part struct {
		ID int64 `bus:"id,min=0"`
	}
)

func (Ping) MessageName() string { return "Ping" }
func (Pong) MessageName() string { return "Pong" }
func (Job) MessageName() string  { return "Job" }
func (Note) MessageName() string { return "Note" }
func (Ask) MessageName() string  { return "Ask" }
func (Told) MessageName() string { return "Told" }
func (Blob) MessageName() string { return "Blob" }

func (Sized) MessageName() string { return "Sized" }

var room = schema.MustNew(
	"Test/Room",
	schema.Of[Ping](schema.FromClient), schema.Of[Pong](schema.FromService),
	schema.Of[Job](schema.FromClient), schema.Of[Note](schema.FromService),
	schema.Of[Ask](schema.FromService), schema.Of[Told](schema.FromClient),
	schema.Of[Blob](schema.FromBoth), schema.Of[Sized](schema.FromBoth),
)

// A jobHandler is what a test does with a Job.
type jobHandler = func(ctx context.Context, c *msgbus.Conn, m Job) error

// newRoom makes the service, with the test's own way to handle a Job; nil does
// nothing.
func newRoom(job jobHandler) *msgbus.Service {
	svc := &msgbus.Service{Schema: room}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error {
		return c.Reply(ctx, Pong(m))
	})
	msgbus.Handle(svc, func(context.Context, *msgbus.Conn, Told) error { return nil })
	if job == nil {
		job = func(context.Context, *msgbus.Conn, Job) error { return nil }
	}
	msgbus.Handle(svc, job)
	return svc
}

// patience is how long a test waits for what must come; in a synctest bubble
// it costs nothing.
const patience = 20 * time.Second

// next receives what must come.
func next[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		t.Fatalf("waited for %s: nothing came", what)
		panic("unreachable")
	}
}

// none checks that nothing has come.
func none[T any](t *testing.T, ch <-chan T, what string) {
	t.Helper()
	select {
	case v := <-ch:
		t.Fatalf("%s: got %v, want none", what, v)
	default:
	}
}

// wantCode checks an error's code and says the rest of it.
func wantCode(t *testing.T, what string, err error, want bus.Code) *bus.Error {
	t.Helper()
	var e *bus.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Fatalf("%s: got %v, want code %s", what, err, want)
	}
	return e
}

// ping makes a round trip, which shows that a connection works.
func ping(t *testing.T, c *msgclient.Client, id int64) {
	t.Helper()
	pong, err := msgclient.Request[Pong](t.Context(), c, Ping{ID: id})
	if err != nil || pong.ID != id {
		t.Fatalf("Ping %d: got %v, %v", id, pong, err)
	}
}

// A story is what happened, in order.
type story struct {
	mu sync.Mutex
	// Guarded by mu.
	events []string
}

func (s *story) tell(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

func (s *story) soFar() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.events...)
}
