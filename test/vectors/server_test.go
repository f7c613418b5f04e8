package vectors_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/access"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// TestServer plays the clients' lines against our server.
func TestServer(t *testing.T) {
	for _, file := range files(t) {
		t.Run(name(file), func(t *testing.T) {
			c := load(t, file)
			if c.set.has("only", "client") {
				t.Skip("a conversation with a client of ours only")
			}
			synctest.Test(t, func(t *testing.T) { playClient(t, c) })
			if *update {
				c.save(t)
			}
		})
	}
}

func name(file string) string {
	base := file[strings.LastIndexByte(file, '/')+1:]
	return strings.TrimSuffix(base, ".txtar")
}

// stage is a server under test, and who else speaks with it.
type stage struct {
	t       *testing.T
	c       *conversation
	nodes   []*bustest.Server // the first is that of connection 1, the last that of all others
	policy  *access.Policy    // of a guarded service
	journal journal
}

func playClient(t *testing.T, c *conversation) {
	st := &stage{t: t, c: c}
	cfg, nodes := msgbus.Config{}, 1
	if c.set.has("service", "guarded") {
		policy, err := access.New(guardedBy(nil))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Access, st.policy = policy, policy
	}
	for _, word := range c.set["server"] {
		switch word {
		case "one_connection":
			cfg.MaxConns = 1
		case "spiffe":
			cfg.PeerName = []string{"spiffe"}
		case "two_nodes":
			nodes = 2
		default:
			t.Fatalf("setup: server: %q is not known", word)
		}
	}
	for n := range nodes {
		if n > 0 {
			cfg.Node = fmt.Sprintf("bus-%d", n+1)
		}
		st.nodes = append(st.nodes, bustest.NewServer(t, cfg, newService(c.set, &st.journal)))
	}
	p := newPlayer(t, c, 'C')
	defer p.hangUp()
	p.connect = func() (net.Conn, *bufio.Reader) {
		conn, in := st.dial(st.nodes[nodes-1])
		st.upgrade(conn, in)
		return conn, in
	}
	i := 0
	for ; i < len(c.steps) && c.steps[i].happens(); i++ { // before anybody connects
		st.happen(c.steps[i])
	}
	conn, in := st.dial(st.nodes[0])
	defer conn.Close()
	if i < len(c.steps) && isRequest(c.steps[i]) {
		st.request(conn, in, i)
	} else {
		st.upgrade(conn, in)
		p.open(conn, in)
	}
	p.play(func(n int, s step) {
		if s.who == '~' && n >= i {
			st.happen(s)
		}
	})
	p.hangUp()
	synctest.Wait()
	time.Sleep(time.Minute)
	c.compare(t, "service", st.journal.text(), p.failed)
}

// compare compares, or with -update replaces, what a side's program saw.
func (c *conversation) compare(t *testing.T, section, got string, failed bool) {
	t.Helper()
	if *update {
		c.setSection(section, got)
		return
	}
	if want := c.section(section); want != got && !failed {
		t.Errorf("%s: %s saw\n%swant\n%s", c.file, section, got, want)
	}
}

func (st *stage) dial(node *bustest.Server) (net.Conn, *bufio.Reader) {
	raw, err := node.DialContext(st.t.Context(), "", "")
	if err != nil {
		st.t.Fatal(err)
	}
	conf := bustest.ClientTLS(st.t, bustest.DefaultPeer)
	if st.c.set.has("client", "no_certificate") {
		conf.Certificates = nil
	}
	conn := tls.Client(raw, conf)
	return conn, bufio.NewReader(conn)
}

const upgradeLine = "upgrade /" + serviceName + " protocol=msgbus.v1"

// upgrade makes a WebSocket where the conversation does not say how.
func (st *stage) upgrade(conn net.Conn, in *bufio.Reader) {
	resp := st.exchange(conn, in, upgradeLine)
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Protocol") != "msgbus.v1" ||
		resp.Header.Get("Sec-WebSocket-Accept") != acceptKey(sampleKey) || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
		st.t.Fatalf("upgrade: got %s, %v", resp.Status, resp.Header)
	}
}

// isRequest tells whether a line is one of HTTP.
func isRequest(s step) bool {
	word, _, _ := strings.Cut(s.text, " ")
	return s.who == 'C' && (word == "upgrade" || word == "get" || word == "post")
}

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// parseHTTP reads "WORD ARGUMENT name=value … [body]".
func parseHTTP(text string) (word, argument string, options map[string]string, body any, err error) {
	s := &scanner{text: text, vars: variables()}
	word, argument = s.word(), s.word()
	options = map[string]string{}
	for {
		start := s.pos
		name := s.word()
		if name == "" || !s.take("=") {
			s.pos = start
			break
		}
		v, err := s.value()
		if err != nil {
			s.pos = start + len(name) + 2
			v = s.word()
		}
		if text, ok := v.(string); ok {
			options[name] = text
		} else {
			options[name] = show(v)
		}
	}
	if s.peek() != 0 {
		body, err = s.value()
	}
	return word, argument, options, body, err
}

// exchange sends a line's request and reads the answer.
func (st *stage) exchange(conn net.Conn, in *bufio.Reader, line string) *http.Response {
	st.t.Helper()
	word, path, options, _, err := parseHTTP(line)
	if err != nil {
		st.t.Fatalf("%s: %v", line, err)
	}
	method := "GET"
	if word == "post" {
		method = "POST"
	}
	req := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, bustest.Host)
	if word == "upgrade" {
		req += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sampleKey + "\r\n"
	}
	for name, value := range options {
		if name == "protocol" {
			name = "Sec-WebSocket-Protocol"
		}
		req += name + ": " + value + "\r\n"
	}
	if _, err := io.WriteString(conn, req+"\r\n"); err != nil {
		st.t.Fatalf("%s: %v", line, err)
	}
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		st.t.Fatalf("%s: %v", line, err)
	}
	return resp
}

// request plays a request that gets a status for an answer.
func (st *stage) request(conn net.Conn, in *bufio.Reader, i int) {
	resp := st.exchange(conn, in, st.c.steps[i].text)
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		st.t.Fatal(err)
	}
	for i++; i < len(st.c.steps) && st.c.steps[i].who == 0; i++ {
	}
	want := st.c.steps[i]
	_, status, headers, body, err := parseHTTP(want.text)
	if err != nil {
		st.t.Fatalf("%s: %v", want.raw, err)
	}
	got, err := parseValue(string(content), nil)
	if err != nil {
		got = strings.TrimSpace(string(content))
	}
	if string(content) == "" {
		got = nil
	}
	good := status == fmt.Sprint(resp.StatusCode) && fits(body, got, nil)
	text := "status " + fmt.Sprint(resp.StatusCode)
	for header, value := range headers {
		heard := resp.Header.Get(header)
		if (value == "*" || strings.HasPrefix(value, "$")) && heard != "" {
			heard = value
		}
		good = good && heard == value
		text += " " + header + "=" + show(heard)
	}
	if got != nil {
		text += " " + show(got)
	}
	switch {
	case good:
	case *update:
		st.c.heard(i, named(text, variables()))
	default:
		st.t.Errorf("%s: %q: heard %s", st.c.file, want.raw, text)
	}
}

// happen does what a "~" line says.
func (st *stage) happen(s step) {
	switch s.text {
	case "the client connects again", "the client moves":
		return // the next line of another connection says so
	case "the same client connects elsewhere":
		st.connect("i1")
	case "another client connects":
		st.connect("i2")
	case "the server stops":
		go st.nodes[0].Stop()
	case "only operators may connect any more":
		if err := st.policy.Swap(guardedBy([]string{"Operator"})); err != nil {
			st.t.Fatal(err)
		}
		st.nodes[0].AccessChanged()
	default:
		if strings.HasPrefix(s.text, clientSends) {
			return
		}
		st.t.Fatalf("%s: nobody knows how to do %q", st.c.file, s.text)
	}
	synctest.Wait()
}

// connect connects another client of the same peer.
func (st *stage) connect(instance string) {
	client := st.nodes[0].Client(msgclient.Config{Instance: instance})
	go func() {
		if err := client.Connect(context.Background()); err != nil {
			st.t.Errorf("%s: another client: %v", st.c.file, err)
		}
	}()
}

// TestContract holds contract.json, which is for players in other languages.
func TestContract(t *testing.T) {
	t.Parallel()
	compareFile(t, folder+"/contract.json", string(contract.JSON())+"\n")
}
