//go:build linux

package hostile_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/msgclient"
	"busd/rpc/rpcclient"
	"busd/schema"
)

// A hostileServer is what our clients may meet: TLS with a good certificate, and
// then bytes.
type hostileServer struct {
	listener net.Listener
	says     []byte // once the request has come
	again    []byte // and then again and again
	answers  bool   // it says 101 and its subprotocol first, and waits for a hello
	work     sync.WaitGroup
}

func (s *hostileServer) run() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.work.Go(func() { s.serve(c) })
	}
}

// serve ends with the client's end of the connection, or after a while.
func (s *hostileServer) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	if s.answers {
		sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Protocol: msgbus.v1\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		if _, err := r.Peek(1); err != nil {
			return
		}
	}
	if _, err := c.Write(s.says); err != nil {
		return
	}
	for err := error(nil); len(s.again) > 0 && err == nil; {
		_, err = c.Write(s.again)
	}
	if !s.answers {
		_ = c.(*tls.Conn).CloseWrite() // of what is no WebSocket this is the end
	}
	_, _ = io.Copy(io.Discard, r)
}

// serveHostile serves a script's bytes until the end of the test.
func serveHostile(t *testing.T, answers bool, says, again string) (addr string, client *tls.Config) {
	t.Helper()
	cert, err := thePKI.cert("server")
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &hostileServer{listener: l, answers: answers}
	for text, b := range map[string]*[]byte{says: &s.says, again: &s.again} {
		if text != "" {
			if *b, err = mustParse(text).bytes(scope{"contract": string(theirs.JSON()), "fingerprint": theirs.Fingerprint()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.work.Go(s.run)
	t.Cleanup(func() {
		l.Close()
		s.work.Wait()
	})
	roots := x509.NewCertPool()
	roots.AddCert(thePKI.ca.cert)
	return l.Addr().String(), &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{thePKI.alice}, NextProtos: []string{"http/1.1"},
	}
}

// theirs is the contract of a server that seems to be a good one.
var theirs = schema.MustNew("Framework/PingPong", schema.Of[pinging](schema.FromClient), schema.Of[ponging](schema.FromService))

// A good welcome has these; bare messages are what servers send.
const (
	given   = `"trid": "6f1c8a52-3d3b-4b8e-9a55-0d6a3c5b9f10", "identity": "dns:alice/x", "credit": 1048576, "keep_alive_ms": 1000, "idle_ms": 5000, "features": [], "limits": {"message": 262144, "batch": 1048576, "depth": 16, "values": 20000}`
	welcome = `bare(0x82, [1, {` + given + `, "fingerprint": fingerprint, "contract": contract}]) `
)

// TestHostileServers are servers that mean our client harm: it gives up in time,
// with a code, and takes little memory.
func TestHostileServers(t *testing.T) {
	for _, c := range []struct {
		name        string
		says, again string
		before      bool // instead of the 101
		want        bus.Code
	}{
		// Instead of the 101.
		{name: "garbage", before: true, says: `rep(100, x"ff00")`, want: bus.CodeUnavailable},
		{name: "a redirect", before: true, says: `"HTTP/1.1 307 x\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"`, want: bus.CodeUnavailable},
		{name: "a header without an end", before: true, says: `"HTTP/1.1 101 x\r\n"`, again: `rep(1000, "X: yyyyyyyyyyyyyyyyyyyyyyyy\r\n")`, want: bus.CodeUnavailable},
		{name: "a status without an end", before: true, says: `"HTTP/1.1 101 "`, again: `rep(10000, "y")`, want: bus.CodeUnavailable},
		{name: "a body of a refusal without an end", before: true, says: `"HTTP/1.1 503 x\r\n\r\n"`, again: `rep(10000, "y")`, want: bus.CodeResourceExhausted},
		{name: "a Retry-After of a million years", before: true, says: `"HTTP/1.1 503 x\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n"`, want: bus.CodeResourceExhausted},
		{name: "informational answers without an end", before: true, says: `""`, again: `rep(100, "HTTP/1.1 103 x\r\n\r\n")`, want: bus.CodeUnavailable},
		{name: "another key's 101", before: true, says: `"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n"`, want: bus.CodeUnavailable},

		// Instead of the welcome.
		{name: "a masked frame", says: `frame(0x82, [1, {}])`, want: bus.CodeProtocolError},
		{name: "compression", says: `bare(0xc2, [1, {}])`, want: bus.CodeProtocolError},
		{name: "a text", says: `bare(0x81, "{}")`, want: bus.CodeProtocolError},
		{name: "a frame of 2^63", says: `x"82 7f 8000000000000000"`, again: `zeros(10000)`, want: bus.CodeProtocolError},
		{name: "a frame of 2^40", says: `x"82 7f 0000010000000000"`, again: `zeros(65536)`, want: bus.CodeProtocolError},
		{name: "fragments of 60 kB without an end", says: `bare(0x02, "")`, again: `bare(0x00, zeros(60000))`, want: bus.CodeProtocolError},
		{name: "pings without an end", says: `""`, again: `rep(100, bare(0x89, zeros(100)))`, want: bus.CodeResourceExhausted},
		{name: "a close", says: `bare(0x88, x"03e8")`, want: bus.CodeGoingAway},
		{name: "a close with a code that is none", says: `bare(0x88, x"0001")`, want: bus.CodeProtocolError},
		{name: "another frame", says: `bare(0x82, [4, 1, "Pong", {"id": 1}])`, want: bus.CodeProtocolError},
		{name: "a bomb", says: `bare(0x82, [1, x"df ffffffff"])`, want: bus.CodeProtocolError},
		{name: "a million lists", says: `bare(0x82, rep(1000000, x"91"))`, want: bus.CodeProtocolError},
		{name: "a welcome of nothing", says: `bare(0x82, [1, {}])`, want: bus.CodeProtocolError},
		{name: "a welcome that grants next to nothing", says: strings.Replace(welcome, `"credit": 1048576`, `"credit": 1`, 1), want: bus.CodeProtocolError},
		{name: "a contract of 100,000 brackets", says: `bare(0x82, [1, {` + given + `, "contract": str("{\"service\":\"A/B\",\"messages\":" rep(100000, "["))}])`, want: bus.CodeProtocolError},
		{name: "a contract with types in types", says: `bare(0x82, [1, {` + given + `, "contract": str("{\"service\":\"A/B\",\"messages\":[{\"name\":\"M\",\"from\":\"both\",\"attrs\":[{\"name\":\"a\",\"type\":\"list\",\"elem\":" ` +
			`rep(50000, "{\"type\":\"list\",\"elem\":") "{\"type\":\"int\"}" rep(50000, "}") "}]}]}")}])`, want: bus.CodeProtocolError},
		{name: "a contract with a pattern of a million states", says: `bare(0x82, [1, {` + given + `, "contract": str("{\"service\":\"A/B\",\"messages\":[{\"name\":\"M\",\"from\":\"both\",\"attrs\":[{\"name\":\"a\",\"type\":\"string\",` +
			`\"pattern\":\"((((a{100}){100}){100}){100})\"}]}]}")}])`, want: bus.CodeProtocolError},
		{name: "a drop for ever", says: `bare(0x82, [2, {"code": 66, "reason": "\x1b[2J", "retry": "never"}])`, want: bus.CodeSuperseded},

		// Behind the welcome.
		{name: "a bomb behind the welcome", says: welcome + `bare(0x82, [4, 1, "Pong", x"df ffffffff"])`, want: bus.CodeProtocolError},
		{name: "an answer to nothing", says: welcome + `bare(0x82, [6, 1, 7, "Pong", {"id": 1}])`, want: bus.CodeProtocolError},
		{name: "an ack of nothing", says: welcome + `bare(0x82, [3, 7, 7])`, want: bus.CodeProtocolError},
		{name: "a second welcome", says: welcome + welcome, want: bus.CodeProtocolError},
		{name: "numbers that leave one out", says: welcome + `bare(0x82, [4, 2, "Pong", {"id": 1}])`, want: bus.CodeProtocolError},
		{name: "a call, and the end", says: welcome + `bare(0x82, [10, 1, "add", b"[]"]) bare(0x88, x"03e8")`, want: bus.CodeGoingAway},
		{name: "a move to nowhere, and the end", says: welcome + `rep(1000, bare(0x82, [9, {"deadline_ms": 1, "target": "wss://127.0.0.1:1/"}])) bare(0x88, x"03e8")`, want: bus.CodeGoingAway},
		{name: "a message of 1 MiB and more", says: welcome + `bare(0x82, zeros(1048577))`, want: bus.CodeProtocolError},
		{name: "pings behind the welcome", says: welcome, again: `rep(100, bare(0x89, zeros(100)))`, want: bus.CodeResourceExhausted},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, conf := serveHostile(t, !c.before, c.says, c.again)
			dropped := make(chan error, 1)
			client, err := msgclient.New(msgclient.Config{
				URL: "wss://" + addr + pingPath, TLS: conf,
				OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why },
			})
			if err != nil {
				t.Fatal(err)
			}
			before := allocated()
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err = client.Connect(ctx); err == nil {
				select {
				case err = <-dropped:
				case <-ctx.Done():
					err = errors.New("the client is connected")
				}
			}
			if got := bus.CodeOf(err); got != c.want {
				t.Errorf("got %v (%v) after %v, want %v", got, err, time.Since(begin).Round(time.Millisecond), c.want)
			}
			const most = 64 << 20 // of what the server writes, too
			if now := allocated(); now > before+most {
				t.Errorf("%d MiB more are in use", (now-before)>>20)
			}
			_ = client.Close(context.Background()) // it has ended
		})
	}
}

// allocated is the heap in use, with what is not collected yet.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestHostileAnswers are servers that answer calls by what harms the caller.
func TestHostileAnswers(t *testing.T) {
	const ok = `"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n`
	for _, c := range []struct{ name, says, again string }{
		{name: "garbage", says: `rep(100, x"ff00")`},
		{name: "an answer without an end", says: ok + `\r\n{\"OK\":true,\"Value\":\""`, again: `rep(65536, "y")`},
		{name: "chunks without an end", says: ok + `Transfer-Encoding: chunked\r\n\r\n"`, again: `rep(100, "1\r\n \r\n")`},
		{name: "headers without an end", says: ok + `"`, again: `rep(1000, "X: yyyyyyyyyyyyyyyyyyyyyyyy\r\n")`},
		{name: "a bomb", says: ok + `Content-Encoding: gzip\r\n\r\n" gzip(rep(67108864, " "))`},
		{name: "100,000 brackets", says: ok + `\r\n" rep(100000, "[")`},
		{name: "a redirect to itself", says: `"HTTP/1.1 308 x\r\nLocation: /Framework/PingPong/add\r\nContent-Length: 0\r\n\r\n"`},
		{name: "half of what it says", says: ok + `Content-Length: 1000\r\n\r\n{"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, conf := serveHostile(t, false, c.says, c.again)
			client, err := rpcclient.New(rpcclient.Config{URL: "https://" + addr + pingPath, TLS: conf})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			before := allocated()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			sum, err := rpcclient.Call[int](ctx, client, "add", 1, 2)
			if err == nil {
				t.Errorf("got %d, want an error", sum)
			} else if strings.Contains(err.Error(), "\x1b") {
				t.Errorf("the error has what a terminal obeys: %q", err)
			}
			const most = 256 << 20 // the longest answer, and what the server writes
			if now := allocated(); now > before+most {
				t.Errorf("%d MiB more are in use", (now-before)>>20)
			}
		})
	}
}
