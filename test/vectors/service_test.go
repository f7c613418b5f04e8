package vectors_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"busd/bus"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// The service of the conversations, and its contract, which stands in
// contract.json too. README.md says what each message does.
type (
	Ping struct {
		ID int64 `bus:"id"`
	}
	Pong struct {
		ID int64 `bus:"id"`
	}
	Note struct {
		Text string `bus:"text,maxlen=32"`
	}
	Question struct {
		Text string `bus:"text"`
	}
	Item struct {
		N   int64  `bus:"n"`
		Pad []byte `bus:"pad"`
	}
	Quiet struct{}
	Panic struct{}
	Wait  struct{}
	Fail  struct {
		Code   string `bus:"code"`
		Reason string `bus:"reason"`
	}
	Keep struct {
		Code   string `bus:"code"`
		Reason string `bus:"reason"`
	}
	Leave struct {
		Code   string `bus:"code"`
		Reason string `bus:"reason"`
	}
	Ask struct {
		Text string `bus:"text"`
	}
	Tell struct {
		Text string `bus:"text"`
	}
	Confirm struct {
		Text string `bus:"text"`
	}
	Push struct {
		Count int64 `bus:"count,min=1,max=100"`
		Size  int64 `bus:"size,min=0,max=200000"`
	}
	Full struct {
		Flag   bool              `bus:"flag"`
		Count  int64             `bus:"count,min=0,max=100"`
		Ratio  float64           `bus:"ratio"`
		Text   string            `bus:"text,minlen=1,maxlen=8,pattern=^[a-z]*$"`
		Data   []byte            `bus:"data,maxlen=4"`
		At     time.Time         `bus:"at"`
		Level  string            `bus:"level,enum=low|high"`
		List   []int64           `bus:"list,maxlen=3"`
		Names  map[string]string `bus:"names"`
		Point  Point             `bus:"point"`
		Extra  any               `bus:"extra,optional"`
		Chance *float64          `bus:"chance,min=0,max=1"`
	}
	Point struct {
		X int64 `bus:"x"`
		Y int64 `bus:"y"`
	}
)

func (Ping) MessageName() string     { return "Ping" }
func (Pong) MessageName() string     { return "Pong" }
func (Note) MessageName() string     { return "Note" }
func (Question) MessageName() string { return "Question" }
func (Item) MessageName() string     { return "Item" }
func (Quiet) MessageName() string    { return "Quiet" }
func (Panic) MessageName() string    { return "Panic" }
func (Wait) MessageName() string     { return "Wait" }
func (Fail) MessageName() string     { return "Fail" }
func (Keep) MessageName() string     { return "Keep" }
func (Leave) MessageName() string    { return "Leave" }
func (Ask) MessageName() string      { return "Ask" }
func (Tell) MessageName() string     { return "Tell" }
func (Confirm) MessageName() string  { return "Confirm" }
func (Push) MessageName() string     { return "Push" }
func (Full) MessageName() string     { return "Full" }

const serviceName = "Test/Vectors"

// messages are the contract of a service without methods.
var messages = schema.MustNew(serviceName,
	schema.Of[Ping](schema.FromClient).WithDoc("Answered by a Pong with the same id."),
	schema.Of[Pong](schema.FromService),
	schema.Of[Note](schema.FromBoth),
	schema.Of[Question](schema.FromService),
	schema.Of[Item](schema.FromService),
	schema.Of[Quiet](schema.FromClient),
	schema.Of[Panic](schema.FromClient),
	schema.Of[Wait](schema.FromClient),
	schema.Of[Fail](schema.FromClient),
	schema.Of[Keep](schema.FromClient),
	schema.Of[Leave](schema.FromClient),
	schema.Of[Ask](schema.FromClient),
	schema.Of[Tell](schema.FromClient),
	schema.Of[Confirm](schema.FromClient),
	schema.Of[Push](schema.FromClient),
	schema.Of[Full](schema.FromBoth),
)

var contract = func() *schema.Schema {
	parts := []schema.Part{schema.Extends(messages)}
	for _, m := range methods {
		parts = append(parts, m)
	}
	return schema.MustNew(serviceName, parts...)
}()

// other is a contract that a client of this service cannot be built with.
var other = schema.MustNew(serviceName,
	schema.Definition{Name: "Ping", From: schema.FromClient, Attrs: []schema.Attribute{{Name: "id", Type: schema.Type{Kind: schema.String}}}},
	schema.Definition{Name: "Gone", From: schema.FromService},
)

// A journal is what the program on one side saw happen.
type journal struct {
	mu sync.Mutex
	// Guarded by mu.
	lines    []string
	outcomes map[string]string // of what it waited for, by kind and number of the frame
}

func (j *journal) add(format string, a ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, a...))
}

// note adds what came of a frame. When others happen in the same moment is
// chance, so that these stand at the end.
func (j *journal) note(frame []any, format string, a ...any) {
	kind, _ := frame[0].(int64)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.outcomes == nil {
		j.outcomes = map[string]string{}
	}
	what := kinds[kind] + " " + show(frame[1])
	for j.outcomes[what] != "" { // of an earlier session
		what += " again"
	}
	j.outcomes[what] = fmt.Sprintf(format, a...)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, line := range j.lines {
		b.WriteString(line + "\n")
	}
	for _, what := range slices.Sorted(maps.Keys(j.outcomes)) {
		b.WriteString(what + ": " + j.outcomes[what] + "\n")
	}
	return b.String()
}

func (j *journal) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines, j.outcomes = nil, nil
}

// described says an error as the journals have it.
func described(err error) string {
	var e *bus.Error
	if !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	text := e.Code.String() + ", " + e.Retry.When.String()
	if e.Path != "" {
		text += ", at " + e.Path
	}
	if e.Retry.After > 0 || e.Retry.Spread > 0 {
		text += fmt.Sprintf(", after %s to %s", e.Retry.After, e.Retry.After+e.Retry.Spread)
	}
	return text
}

func fault(code, reason string) error {
	c, ok := bus.ParseCode(code)
	if !ok {
		return errors.New("not a code")
	}
	return bus.Errorf(c, "%s", reason)
}

// newService makes the service of a conversation.
func newService(set settings, j *journal) *msgbus.Service {
	s := &msgbus.Service{Schema: messages, Methods: clerk{}, KeepOnError: set.has("service", "keep_on_error")}
	if set.has("service", "no_methods") {
		s.Methods = nil
	}
	if set.has("service", "guarded") {
		guard(s)
	}
	if set.has("service", "no_sessions") {
		s.Window = -1
	}
	if set.has("service", "per_certificate") {
		s.Identity = msgbus.PerCertificate
	}
	if set.has("service", "older_wins") {
		s.Duplicate = msgbus.OlderWins
	}
	s.OnConnect = func(ctx context.Context, c *msgbus.Conn) error {
		if err := onConnect(ctx, c); err != nil {
			return err
		}
		if c.Resumed() {
			j.add("connected: %s, resumed", c.Identity())
		} else {
			j.add("connected: %s", c.Identity())
		}
		return nil
	}
	s.OnGone = func(_ context.Context, identity bus.Identity, why error) {
		j.add("gone: %s: %s", identity, bus.CodeOf(why))
	}
	s.OnDrop = func(_ context.Context, c *msgbus.Conn, why error) {
		j.add("dropped: %s: %s", c.Identity(), described(why))
	}
	msgbus.Handle(s, func(ctx context.Context, c *msgbus.Conn, m Ping) error { return c.Reply(ctx, Pong(m)) })
	msgbus.Handle(s, func(ctx context.Context, c *msgbus.Conn, m Full) error { return c.Reply(ctx, m) })
	msgbus.Handle(s, func(context.Context, *msgbus.Conn, Quiet) error { return nil })
	msgbus.Handle(s, func(context.Context, *msgbus.Conn, Panic) error { panic("at the disco") })
	msgbus.Handle(s, func(ctx context.Context, _ *msgbus.Conn, _ Wait) error { <-ctx.Done(); return context.Cause(ctx) })
	msgbus.Handle(s, func(_ context.Context, _ *msgbus.Conn, m Fail) error { return fault(m.Code, m.Reason) })
	msgbus.Handle(s, func(_ context.Context, _ *msgbus.Conn, m Keep) error { return fault(m.Code, m.Reason) }).KeepOnError()
	msgbus.Handle(s, func(_ context.Context, c *msgbus.Conn, m Leave) error {
		code, _ := bus.ParseCode(m.Code)
		c.Drop(code, m.Reason)
		return nil
	})
	msgbus.Handle(s, func(ctx context.Context, c *msgbus.Conn, m Ask) error {
		note, err := msgbus.Request[Note](ctx, c, Question(m))
		if err != nil {
			return err
		}
		return c.Reply(ctx, note)
	})
	msgbus.Handle(s, func(ctx context.Context, c *msgbus.Conn, m Tell) error { return c.Send(ctx, Question(m)) })
	msgbus.Handle(s, func(ctx context.Context, c *msgbus.Conn, m Confirm) error {
		if err := c.SendAcked(ctx, Question(m)); err != nil {
			return err
		}
		return c.Reply(ctx, Note{Text: "confirmed"})
	})
	msgbus.Handle(s, func(ctx context.Context, _ *msgbus.Conn, m Push) error {
		for n := range m.Count {
			if err := s.Broadcast(ctx, Item{N: n + 1, Pad: make([]byte, m.Size)}); err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

// onConnect does what the connect arguments say.
func onConnect(ctx context.Context, c *msgbus.Conn) error {
	args := c.Args()
	if args["hang"] == true {
		<-ctx.Done()
	}
	if args["panic"] == true {
		panic("at the door")
	}
	if text, ok := args["greet"].(string); ok {
		if err := c.Send(ctx, Note{Text: text}); err != nil {
			return err
		}
	}
	refuse, ok := args["refuse"].(string)
	if !ok {
		return nil
	}
	err := bus.AsError(fault(refuse, "not today"))
	retry, hinted := args["retry"].(string)
	if !hinted {
		return err
	}
	ms := func(key string) time.Duration {
		n, _ := args[key].(int64)
		return time.Duration(n) * time.Millisecond
	}
	return err.WithRetry(bus.Retry{When: bus.ParseWhen(retry), After: ms("after_ms"), Spread: ms("spread_ms")})
}

// slowly is how long the client takes over a question that says so.
const slowly = 3 * time.Second

// handleAll registers the handlers of the client of the conversations.
func handleAll(c *msgclient.Client, j *journal) {
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Pong) error {
		j.add("handled: Pong %d", m.ID)
		return nil
	})
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Question) error {
		j.add("handled: Question %q", m.Text)
		switch m.Text {
		case "fail":
			return bus.Errorf(bus.CodeFailedPrecondition, "no answer")
		case "panic":
			panic("at the question")
		case "wait":
			<-ctx.Done()
			return context.Cause(ctx)
		case "slow":
			time.Sleep(slowly)
		case "quiet":
			return nil
		}
		return c.Reply(ctx, Note(m))
	})
}
