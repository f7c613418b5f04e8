package msgclient_test

import (
	"context"
	"math"
	"runtime"
	"strings"
	"testing"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// Other ages of the contract.
type (
	// newJob has learned something that the service's Job has not.
	newJob struct {
		ID   int64    `bus:"id"`
		Do   string   `bus:"do"`
		Prio *int64   `bus:"prio"`
		Tags []string `bus:"tags,optional"`
	}
	// wrongNote is not the service's Note.
	wrongNote struct {
		ID   string `bus:"id"`
		Text string `bus:"text"`
	}
	// stranger is no message of the service's.
	stranger struct {
		ID int64 `bus:"id"`
	}
)

func (newJob) MessageName() string    { return "Job" }
func (wrongNote) MessageName() string { return "Note" }
func (stranger) MessageName() string  { return "Stranger" }

func TestSchemaMismatch(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
	base := func(parts ...schema.Part) *schema.Schema { return schema.MustNew("Test/Room", parts...) }
	for name, tt := range map[string]struct {
		schema  *schema.Schema
		prepare func(*msgclient.Client)
		names   []string // what the reason must name; nil: it fits
	}{
		"the same":              {schema: room},
		"none":                  {},
		"a part of it":          {schema: base(schema.Of[Ping](schema.FromClient), schema.Of[Pong](schema.FromService))},
		"newer, but optionally": {schema: base(schema.Of[newJob](schema.FromClient))},
		"an attribute's type":   {schema: base(schema.Of[wrongNote](schema.FromService)), names: []string{"Note", "id"}},
		"another direction":     {schema: base(schema.Of[Ping](schema.FromService)), names: []string{"Ping"}},
		"a handler's type": {
			prepare: func(c *msgclient.Client) {
				msgclient.On(c, func(context.Context, *msgclient.Client, wrongNote) error { return nil })
			}, names: []string{"Note", "id"},
		},
		"a handler for what never comes": {
			prepare: func(c *msgclient.Client) {
				msgclient.On(c, func(context.Context, *msgclient.Client, stranger) error { return nil })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := srv.Client(msgclient.Config{Schema: tt.schema})
			if tt.prepare != nil {
				tt.prepare(c)
			}
			err := c.Connect(t.Context())
			if tt.names == nil {
				if err != nil {
					t.Fatalf("got %v", err)
				}
				ping(t, c, 1)
				return
			}
			e := wantCode(t, "Connect", err, bus.CodeSchemaMismatch)
			if e.Retry.When != bus.RetryAfter || e.Remote {
				t.Errorf("got retry %s, remote %t; want after, false: a rollout may be under way", e.Retry.When, e.Remote)
			}
			for _, part := range tt.names {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want it to name %s", err, part)
				}
			}
			if c.Connected() {
				t.Error("connected all the same")
			}
		})
	}
}

// A newer client leaves out the optional attributes that the service's contract
// lacks.
func TestNewerClient(t *testing.T) {
	t.Parallel()
	jobs := make(chan Job, 2)
	srv := bustest.NewServer(t, msgbus.Config{}, newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { jobs <- m; return nil }))
	c := srv.Connect(msgclient.Config{Schema: schema.MustNew("Test/Room", schema.Of[newJob](schema.FromClient))})
	prio := int64(3)
	if err := c.SendHandled(t.Context(), newJob{ID: 7, Do: "it", Prio: &prio, Tags: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, jobs, "the job"); got != (Job{ID: 7, Do: "it"}) {
		t.Errorf("got %+v", got)
	}
}

// A client without Go types discovers the contract and builds records.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
		return c.Reply(ctx, Note{ID: m.ID, Text: m.Do})
	})
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Client(msgclient.Config{})
	if _, err := c.NewRecord("Job"); bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("NewRecord before the first welcome: got %v, want failed_precondition", err)
	}
	if c.Contract() != nil {
		t.Error("a contract before the first welcome")
	}
	notes := make(chan *schema.Record, 1)
	c.OnRecord("Note", func(_ context.Context, _ *msgclient.Client, m *schema.Record) error { notes <- m; return nil })
	bustest.Run(t, c)
	if got := c.Contract().Fingerprint(); got != room.Fingerprint() {
		t.Errorf("got contract %s, want %s", got, room.Fingerprint())
	}
	job, err := c.NewRecord("Job")
	if err != nil {
		t.Fatal(err)
	}
	if err := job.Set("id", "seven"); err == nil {
		t.Error("Set took a string for an int")
	}
	if err := job.Set("nothing", 1); err == nil {
		t.Error("Set took an attribute that there is not")
	}
	set := func(name string, v any) {
		t.Helper()
		if err := job.Set(name, v); err != nil {
			t.Fatal(err)
		}
	}
	set("id", int64(1)<<53+1)
	e := wantCode(t, "Send of half a record", c.Send(t.Context(), job), bus.CodeInvalidMessage)
	if e.Path != "Job.do" || e.Remote {
		t.Errorf("got path %q, remote %t; want Job.do, false", e.Path, e.Remote)
	}
	set("do", "grüezi")
	answer, err := c.RequestRecord(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	check := func(m *schema.Record) {
		t.Helper()
		id, _ := m.Get("id")
		text, _ := m.Get("text")
		if m.MessageName() != "Note" || id != int64(1)<<53+1 || text != "grüezi" {
			t.Errorf("got %s with %v and %v", m.MessageName(), id, text)
		}
	}
	check(answer)
	if err := c.Send(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	check(next(t, notes, "the note"))
	if _, err := c.NewRecord("Nothing"); bus.CodeOf(err) != bus.CodeUnimplemented {
		t.Errorf("NewRecord of nothing: got %v, want unimplemented", err)
	}
	told, err := c.NewRecord("Told")
	if err != nil {
		t.Fatal(err)
	}
	if err := told.Set("id", 1); err != nil {
		t.Fatal(err)
	}
	if answer, err := c.RequestRecord(t.Context(), told); err != nil || answer != nil {
		t.Errorf("a request without a reply: got %v, %v; want nothing", answer, err)
	}
}

// The contract travels once: a client that holds it says so, and reconnects
// with its records and handlers good.
func TestContractIsKeptAcrossReconnects(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
	c := srv.Client(msgclient.Config{})
	for i := range int64(3) {
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := c.Contract()
		ping(t, c, i)
		srv.Cut()
		for c.Connected() {
			runtime.Gosched()
		}
		if c.Contract() != before {
			t.Error("the contract went with the connection")
		}
	}
}

// What breaks the contract is found before anything is sent; the connection
// lives.
func TestInvalidMessagesStayHere(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	handled := 0
	msgbus.Handle(svc, func(context.Context, *msgbus.Conn, Sized) error { handled++; return nil })
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{})
	fit := Sized{N: 1, Name: "abc", Ratio: 0.5}
	for name, tt := range map[string]struct {
		m    schema.Message
		code bus.Code
		path string
	}{
		"unknown":         {stranger{}, bus.CodeUnimplemented, ""},
		"not the sender":  {Note{}, bus.CodeUnimplemented, ""},
		"another type":    {wrongPing{ID: "x"}, bus.CodeSchemaMismatch, ""},
		"too small":       {Sized{N: 0, Name: "abc", Ratio: 1}, bus.CodeInvalidMessage, "Sized.n"},
		"too long":        {Sized{N: 1, Name: "abcdefgh", Ratio: 1}, bus.CodeInvalidMessage, "Sized.name"},
		"wrong pattern":   {Sized{N: 1, Name: "ABC", Ratio: 1}, bus.CodeInvalidMessage, "Sized.name"},
		"no number":       {Sized{N: 1, Name: "abc", Ratio: math.NaN()}, bus.CodeInvalidMessage, "Sized.ratio"},
		"no text":         {Job{Do: "\xff"}, bus.CodeInvalidMessage, "Job.do"},
		"far too large":   {Blob{Data: make([]byte, 1<<20)}, bus.CodeInvalidMessage, ""},
		"no such element": {Sized{N: 1, Name: "abc", Parts: []part{{ID: 1}, {ID: -1}}}, bus.CodeInvalidMessage, "Sized.parts[1].id"},
	} {
		for how, send := range map[string]func(context.Context, schema.Message) error{
			"Send": c.Send, "SendAcked": c.SendAcked, "SendHandled": c.SendHandled,
		} {
			e := wantCode(t, name+": "+how, send(t.Context(), tt.m), tt.code)
			if e.Remote || (tt.path != "" && e.Path != tt.path) {
				t.Errorf("%s: %s: got %v, remote %t; want path %q, from this side", name, how, e, e.Remote, tt.path)
			}
		}
	}
	if err := c.SendHandled(t.Context(), fit); err != nil {
		t.Errorf("one that fits: %v", err)
	}
	if handled != 1 || c.Connects() != 1 {
		t.Errorf("got %d messages and %d connections, want 1 and 1", handled, c.Connects())
	}
}

// wrongPing is not the service's Ping.
type wrongPing struct {
	ID string `bus:"id"`
}

func (wrongPing) MessageName() string { return "Ping" }

// Numbers keep their kind and their value: 2^53+1 survives, a whole float is no
// int.
func TestNumbersSurvive(t *testing.T) {
	t.Parallel()
	got := make(chan Sized, 1)
	svc := newRoom(nil)
	msgbus.Handle(svc, func(_ context.Context, _ *msgbus.Conn, m Sized) error { got <- m; return nil })
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{})
	for _, id := range []int64{0, 1, -1, 1<<53 + 1, -(1<<53 + 1), math.MaxInt64, math.MinInt64, 1 << 31, 1 << 32} {
		ping(t, c, id)
	}
	want := Sized{N: 1, Name: "abc", Ratio: 3, Extra: map[string]any{"i": int64(1)<<53 + 1, "f": 3.0, "b": true}}
	if err := c.Send(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	m := next(t, got, "the message")
	extra, _ := m.Extra.(map[string]any)
	if m.Ratio != 3 || extra["i"] != int64(1)<<53+1 || extra["f"] != 3.0 || extra["b"] != true {
		t.Errorf("got %+v", m)
	}
	record, err := c.NewRecord("Sized")
	if err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]any{"n": 1.0, "ratio": 1, "name": []byte("abc")} {
		if record.Set(name, wrong) == nil {
			t.Errorf("%s took %T", name, wrong)
		}
	}
	if record.Set("n", true) == nil {
		t.Error("n took a bool: it is no int")
	}
}

// Clients that are given the same document share what was read of it; one that
// differs in documentation alone is another, though its fingerprint is the same.
func TestContractsAreShared(t *testing.T) {
	t.Parallel()
	documented := func(port, doc string) *msgclient.Client {
		svc := &msgbus.Service{Schema: schema.MustNew("Test/Shared", schema.Of[Ping](schema.FromService).WithDoc(doc))}
		return bustest.NewServer(t, msgbus.Config{}, svc).Connect(msgclient.Config{URL: "wss://" + bustest.Host + ":" + port + "/Test/Shared"})
	}
	a, b, other := documented("1", "measures"), documented("2", "measures"), documented("3", "something else")
	if a.Contract() != b.Contract() {
		t.Error("each of two clients has read the same document")
	}
	if other.Contract().Fingerprint() != a.Contract().Fingerprint() {
		t.Fatal("documentation is part of the fingerprint")
	}
	if m, _ := other.Contract().Message("Ping"); m.Doc != "something else" {
		t.Errorf("got the documentation %q, want that of the welcome", m.Doc)
	}
}
