package vectors_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bustest"
	"busd/msgclient"
	"busd/schema"
)

// TestClient plays the service's lines against our client.
func TestClient(t *testing.T) {
	for _, file := range files(t) {
		t.Run(name(file), func(t *testing.T) {
			c := load(t, file)
			if c.set.has("only", "server") {
				t.Skip("a conversation with a server of ours only")
			}
			synctest.Test(t, func(t *testing.T) { playServer(t, c) })
			if *update {
				c.save(t)
			}
		})
	}
}

// An actor is the client under test and the program around it.
type actor struct {
	t        *testing.T
	c        *conversation
	listener *bustest.Listener
	client   *msgclient.Client
	journal  journal
	requests map[string]context.CancelFunc // by number
	ahead    int                           // messages that the program has sent, and that no line has
}

func playServer(t *testing.T, c *conversation) {
	a := &actor{t: t, c: c, listener: bustest.Listen(t), requests: map[string]context.CancelFunc{}}
	a.client = a.newClient()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = a.client.Close(ctx) // the line is gone
		for _, cancel := range a.requests {
			cancel()
		}
	}()
	if c.set.has("client", "known") {
		a.introduce()
	}
	p := newPlayer(t, c, 'S')
	defer p.hangUp()
	p.connect = func() (net.Conn, *bufio.Reader) {
		conn, in, req := a.accept()
		a.switchProtocols(conn, req)
		return conn, in
	}
	a.connect()
	conn, in, req := a.accept()
	defer conn.Close()
	if status := a.answer(conn, req); status != "" {
		synctest.Wait()
		c.compare(t, "client", a.journal.text(), p.failed)
		return
	}
	p.open(conn, in)
	p.play(a.act)
	p.hangUp()
	synctest.Wait()
	time.Sleep(time.Minute)
	c.compare(t, "client", a.journal.text(), p.failed)
}

// newClient makes a client that will say the conversation's hello.
func (a *actor) newClient() *msgclient.Client {
	cfg := msgclient.Config{
		URL: "wss://" + bustest.Host + "/" + serviceName, TLS: bustest.ClientTLS(a.t, bustest.DefaultPeer),
		DialContext: a.listener.DialContext, Name: "vectors", Version: "1",
		Strict: a.c.set.has("client", "strict"), KeepOnError: a.c.set.has("client", "keep_on_error"),
		OnConnect: func(_ context.Context, c *msgclient.Client) { a.journal.add("connected%s", resumption(c.Resumption())) },
		OnDrop:    func(_ context.Context, _ *msgclient.Client, why error) { a.journal.add("dropped: %s", described(why)) },
		OnError: func(_ *msgclient.Client, err error) {
			a.journal.add("failed: %s", described(err))
		},
	}
	if a.c.set.has("client", "built_with_another_contract") {
		cfg.Schema = other
	}
	a.hello(&cfg)
	client, err := msgclient.New(cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	handleAll(client, &a.journal)
	return client
}

// hello takes from the conversation what the program chooses of a hello.
func (a *actor) hello(cfg *msgclient.Config) {
	for _, s := range a.c.steps {
		word, _, _ := strings.Cut(s.text, " ")
		if s.who != 'C' || word != "hello" {
			continue
		}
		list, err := parseFrame(spelled(s.text), variables())
		if err != nil {
			a.t.Fatalf("%s: %v", s.raw, err)
		}
		hello := list[1].(object)
		if v, ok := hello.get("instance"); ok {
			cfg.Instance, _ = v.(string)
		}
		if v, ok := hello.get("credit"); ok {
			credit, _ := v.(int64)
			cfg.Credit = int(credit)
		}
		if v, ok := hello.get("args"); ok {
			cfg.Args, _ = plain(v).(map[string]any)
		}
		return
	}
}

// plain turns objects into maps.
func plain(v any) any {
	switch v := v.(type) {
	case object:
		m := map[string]any{}
		for _, p := range v {
			m[p.key] = plain(p.value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	}
	return v
}

// introduce connects the client once, so that it knows the contract.
func (a *actor) introduce() {
	p := newPlayer(a.t, a.c, 'S')
	a.connect()
	conn, in, req := a.accept()
	a.switchProtocols(conn, req)
	p.open(conn, in)
	if _, err := p.talks[0].next(patience); err != nil {
		a.t.Fatal(err)
	}
	_, welcome, err := encode("welcome plain", variables())
	if err == nil {
		err = p.talks[0].sock.write(opBinary, welcome)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	synctest.Wait()
	_ = conn.Close() // the line breaks
	time.Sleep(time.Minute)
	a.journal.reset()
}

// connect makes the program connect the client.
func (a *actor) connect() {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.client.Connect(ctx); err != nil {
			a.journal.add("refused: %s", described(err))
		}
	}()
}

// move makes the program move the client to another connection.
func (a *actor) move() {
	go func() {
		if err := a.client.Reconnect(context.Background()); err != nil {
			a.journal.add("not moved: %s", described(err))
		}
	}()
}

func resumption(r msgclient.Resumption) string {
	switch {
	case r.Resumed:
		return ", resumed"
	case r.Reason != "":
		return fmt.Sprintf(", not resumed: %s, %d lost", r.Reason, r.Lost)
	}
	return ""
}

// accept takes a connection of the client's, and reads its request.
func (a *actor) accept() (net.Conn, *bufio.Reader, *http.Request) {
	late := time.AfterFunc(patience, func() { _ = a.listener.Close() }) // else it would wait for ever
	defer late.Stop()
	conn, err := a.listener.Accept()
	if err != nil {
		a.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	req, err := http.ReadRequest(in)
	if err != nil {
		a.t.Fatal(err)
	}
	got := "upgrade " + req.URL.Path + " protocol=" + req.Header.Get("Sec-WebSocket-Protocol")
	if req.Method != http.MethodGet || req.Header.Get("Sec-WebSocket-Extensions") != "" || got != upgradeLine {
		a.t.Errorf("%s: the client asks for %s with %v", a.c.file, got, req.Header)
	}
	return conn, in, req
}

// answer answers the upgrade: with a status, which it returns, if the
// conversation has one.
func (a *actor) answer(conn net.Conn, req *http.Request) (status string) {
	for _, s := range a.c.steps {
		if s.who != 'S' || !strings.HasPrefix(s.text, "status ") {
			continue
		}
		_, status, headers, body, err := parseHTTP(s.text)
		if err != nil {
			a.t.Fatalf("%s: %v", s.raw, err)
		}
		content := ""
		if body != nil {
			content = show(body)
		}
		head := fmt.Sprintf("HTTP/1.1 %s Status\r\nContent-Length: %d\r\n", status, len(content))
		for name, value := range headers {
			head += name + ": " + value + "\r\n"
		}
		if _, err := io.WriteString(conn, head+"\r\n"+content); err != nil {
			a.t.Fatal(err)
		}
		return status
	}
	a.switchProtocols(conn, req)
	return ""
}

func (a *actor) switchProtocols(conn net.Conn, req *http.Request) {
	if _, err := io.WriteString(conn, switching(req)); err != nil {
		a.t.Fatal(err)
	}
}

// switching is the answer to an upgrade.
func switching(req *http.Request) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: msgbus.v1\r\n" +
		"Sec-WebSocket-Accept: " + acceptKey(req.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n"
}

// clientSends begins the line of a message that the client cannot say yet.
const clientSends = "the client sends "

// act does what the program around the client does for the line to be said.
func (a *actor) act(i int, s step) {
	if s.who == '~' {
		a.happen(s)
		return
	}
	word, _, _ := strings.Cut(s.text, " ")
	switch word {
	case "data", "request", "call", "cancel", "drop":
	default:
		return // the library says it by itself
	}
	list, err := parseFrame(s.text, variables())
	if err != nil {
		if *update {
			return // a new line, which is filled in when it is heard
		}
		a.t.Fatalf("%s: %v", s.raw, err)
	}
	switch word {
	case "cancel":
		if cancel, ok := a.requests[show(list[1])]; ok {
			cancel()
		}
	case "drop":
		if reason, _ := list[1].(object).get("reason"); reason == "the client was closed" {
			go func() { _ = a.client.Close(context.Background()) }() // what it says stands in the conversation
		}
	case "data":
		switch {
		case len(list) == 6 || a.repeats(i): // a handler says it, or the library
		case a.ahead > 0:
			a.ahead--
		default:
			a.send(list)
		}
	case "request":
		if !a.repeats(i) {
			a.request(list)
		}
	case "call":
		if !a.repeats(i) {
			a.call(list)
		}
	}
	synctest.Wait()
}

// repeats tells whether a line has the number of an earlier one of its session.
func (a *actor) repeats(i int) bool {
	last, session, current := map[int]int64{}, map[int]int{}, 0 // by connection
	for j, s := range a.c.steps[:i+1] {
		word, _, _ := strings.Cut(s.text, " ")
		switch {
		case word == "welcome":
			if !strings.Contains(s.text, `"resumed": true`) {
				current = s.conn
			}
			session[s.conn] = current
		case s.who == 'C' && slices.Contains([]string{"data", "request", "call", "answer", "error"}, word):
			list, err := parseFrame(s.text, variables())
			if err != nil {
				continue
			}
			n, _ := list[1].(int64)
			if j == i && n <= last[session[s.conn]] {
				return true
			}
			last[session[s.conn]] = n
		}
	}
	return false
}

// happen does what the program around the client does beside the conversation.
func (a *actor) happen(s step) {
	switch s.text {
	case "the client connects again":
		a.connect()
	case "the client moves":
		a.move()
	default:
		text, sends := strings.CutPrefix(s.text, clientSends)
		if !sends {
			return // it happens on the service's side
		}
		list, err := parseFrame("data 0 "+text, variables())
		if err != nil {
			a.t.Fatalf("%s: %v", s.raw, err)
		}
		a.ahead++
		a.send(list)
	}
	synctest.Wait()
}

func (a *actor) record(list []any) *schema.Record {
	r, err := a.client.NewRecord(list[2].(string))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, p := range list[3].(object) {
		if err := r.Set(p.key, plain(p.value)); err != nil {
			a.t.Fatal(err)
		}
	}
	return r
}

func (a *actor) send(list []any) {
	r := a.record(list)
	go func() {
		var err error
		if len(list) == 5 {
			err = a.client.SendAcked(context.Background(), r)
			a.journal.note(list, "acked, %s", outcome(err))
		} else {
			err = a.client.Send(context.Background(), r)
		}
		if err != nil {
			a.journal.note(list, "%s", described(err))
		}
	}()
}

func outcome(err error) string {
	if err == nil {
		return "yes"
	}
	return "no"
}

func (a *actor) request(list []any) {
	r := a.record(list)
	ctx := a.limited(list)
	go func() {
		answer, err := a.client.RequestRecord(ctx, r)
		switch {
		case err != nil:
			a.journal.note(list, "%s", described(err))
		case answer == nil:
			a.journal.note(list, "handled")
		default:
			text, err := answer.MarshalJSON()
			if err != nil {
				a.t.Error(err)
			}
			a.journal.note(list, "%s %s", answer.MessageName(), text)
		}
	}()
}

// limited is the context of what waits for an answer, with the time that the line
// gives it.
func (a *actor) limited(list []any) context.Context {
	timeout := 30 * time.Second
	if len(list) == 5 {
		ms, _ := list[4].(int64)
		timeout = time.Duration(ms) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	a.requests[show(list[1])] = cancel
	return ctx
}

func (a *actor) call(list []any) {
	method, _ := list[2].(string)
	args, _ := list[3].([]byte)
	ctx := a.limited(list)
	go func() {
		result, err := a.client.Call(ctx, method, args)
		if err != nil {
			a.journal.note(list, "%s", described(err))
		} else {
			a.journal.note(list, "%s", showText(result))
		}
	}()
}

// compareFile compares, or with -update replaces, a file that is derived.
func compareFile(t *testing.T, file, want string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err == nil && string(got) == want {
		return
	}
	if !*update {
		t.Errorf("%s is not what it is derived from: run go test ./test/vectors -update (%v)", file, err)
		return
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
