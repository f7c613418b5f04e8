package msgbus_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// Beyond a bound a client gets 503 with Retry-After, and keeps to it.
func TestAdmission(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg      msgbus.Config
		service  int
		who      string // says that it is full
		stranger bool   // another peer finds a place
	}{
		"the server":  {cfg: msgbus.Config{MaxConns: 2}, who: "the server has 2 connections"},
		"the service": {service: 2, who: "service Test/Room has 2 connections"},
		"the peer":    {cfg: msgbus.Config{MaxConnsPerPeer: 2}, who: "the peer has 2 connections", stranger: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				svc.MaxConns = tt.service
				srv := bustest.NewServer(t, tt.cfg, svc)
				first := srv.Connect(msgclient.Config{})
				srv.Connect(msgclient.Config{})

				c := srv.Client(msgclient.Config{})
				e := wantCode(t, "Connect beyond the bound", c.Connect(t.Context()), bus.CodeResourceExhausted)
				if !e.Remote || e.Retry.After < 2*time.Second || e.Retry.After > 10*time.Second || !strings.Contains(e.Error(), tt.who) {
					t.Errorf("got %v, retry %+v; want that %q, and after 2 to 10 s", e, e.Retry, tt.who)
				}
				err := srv.ClientOf("stranger", msgclient.Config{}).Connect(t.Context())
				if (err == nil) != tt.stranger {
					t.Errorf("another peer: got %v", err)
				}
				if got := srv.Stats()[0].Refused[bus.CodeResourceExhausted]; got == 0 {
					t.Error("refusals are not counted")
				}

				// It comes back when it was told to, and finds the place that came free.
				begin := time.Now()
				done := make(chan error, 1)
				go func() { done <- c.Run(t.Context()) }()
				time.Sleep(time.Second)
				if err := first.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				ping(t, c, 1)
				if took := time.Since(begin); took < 2*time.Second || took > 13*time.Second {
					t.Errorf("connected after %s, want what Retry-After said", took)
				}
				none(t, done, "the end of Run")
			})
		})
	}
}

// A place that is taken is given back, however the connection ends.
func TestPlacesComeFree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		refuse := false
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			if refuse = !refuse; refuse {
				return bus.Errorf(bus.CodeAborted, "no")
			}
			return nil
		}
		srv := bustest.NewServer(t, msgbus.Config{MaxConns: 1}, svc)
		for i := range 20 {
			c := srv.Client(msgclient.Config{})
			err := c.Connect(t.Context())
			if want := map[bool]bus.Code{true: bus.CodeAborted, false: 0}[refuse]; bus.CodeOf(err) != want {
				t.Fatalf("connection %d: got %v, want %v", i, err, want)
			}
			if i%4 == 1 {
				srv.Cut()
			} else {
				_ = c.Close(t.Context()) // connected or not
			}
			synctest.Wait()
			time.Sleep(5 * time.Second)
		}
	})
}

// A client that has not said hello in its time is dropped, and told why.
func TestHelloTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		line := upgraded(t, srv)
		begin := time.Now()
		rest, err := io.ReadAll(line)
		took := time.Since(begin)
		if err != nil || !strings.Contains(string(rest), "no hello within 10s") {
			t.Errorf("got %q, %v; want a drop that says why", rest, err)
		}
		if took < msgbus.DefaultHelloTimeout || took > msgbus.DefaultHelloTimeout+5*time.Second {
			t.Errorf("dropped after %s, want %s and what its end takes", took, msgbus.DefaultHelloTimeout)
		}
		if got := srv.Stats()[0].Refused[bus.CodeDeadlineExceeded]; got != 1 {
			t.Errorf("got %d refusals counted, want 1", got)
		}
	})
}

// upgraded opens a WebSocket by hand and says nothing on it.
func upgraded(t *testing.T, srv *bustest.Server) *tls.Conn {
	t.Helper()
	raw, err := srv.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	line := tls.Client(raw, bustest.ClientTLS(t, "agent"))
	t.Cleanup(func() { _ = line.Close() }) // mostly closed by then
	_, err = fmt.Fprintf(line, "GET /Test/Room HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: msgbus.v1\r\n\r\n", bustest.Host)
	if err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	for one := make([]byte, 1); !strings.HasSuffix(head.String(), "\r\n\r\n"); head.Write(one) {
		if _, err := line.Read(one); err != nil {
			t.Fatalf("the upgrade: %v after %q", err, head.String())
		}
	}
	if !strings.HasPrefix(head.String(), "HTTP/1.1 101 ") {
		t.Fatalf("the upgrade: got %q", head.String())
	}
	return line
}

// Silent connections cost nobody else anything.
func TestSilentConnectionsHurtNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		for range 50 { // without TLS, and after the upgrade
			raw, err := srv.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = raw.Close() })
		}
		for range 10 {
			upgraded(t, srv)
		}
		begin := time.Now()
		c := srv.Connect(msgclient.Config{})
		ping(t, c, 1)
		if took := time.Since(begin); took != 0 {
			t.Errorf("another client waited %s", took)
		}
	})
}

// Messages over the limit are stopped at the sender; each end says its own.
func TestMessageLimit(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	svc.MaxMessage = 8 << 10
	sizes := make(chan int, 1)
	msgbus.Handle(svc, func(_ context.Context, _ *msgbus.Conn, m Blob) error { sizes <- len(m.Data); return nil })
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	got := make(chan int, 1)
	c := srv.Client(msgclient.Config{Credit: 64 << 10})
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Blob) error { got <- len(m.Data); return nil })
	bustest.Run(t, c)
	conn := onlyConn(t, svc)

	if err := c.Send(t.Context(), Blob{Data: make([]byte, 8<<10-64)}); err != nil {
		t.Fatal(err)
	}
	if n := next(t, sizes, "the blob"); n != 8<<10-64 {
		t.Errorf("got %d bytes", n)
	}
	if err := conn.Send(t.Context(), Blob{Data: make([]byte, 16<<10-64)}); err != nil {
		t.Fatal(err)
	}
	next(t, got, "the blob")
	wantCode(t, "Send of the client", c.Send(t.Context(), Blob{Data: make([]byte, 8<<10)}), bus.CodeInvalidMessage)
	wantCode(t, "request of the client", c.SendHandled(t.Context(), Blob{Data: make([]byte, 8<<10)}), bus.CodeInvalidMessage)
	wantCode(t, "Send of the service", conn.Send(t.Context(), Blob{Data: make([]byte, 16<<10)}), bus.CodeInvalidMessage)
	wantCode(t, "request of the service", conn.SendHandled(t.Context(), Blob{Data: make([]byte, 16<<10)}), bus.CodeInvalidMessage)
	ping(t, c, 1)
}

// A broadcast cannot ask each connection's limit before it encodes; a
// connection that takes less than the others is left out, not broken.
func TestBroadcastOverOneConnectionsLimit(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	dropped := make(chan error, 1)
	big := make(chan int, 2)
	small := srv.Client(msgclient.Config{Credit: 8 << 10, OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why }})
	large := srv.Client(msgclient.Config{})
	msgclient.On(large, func(_ context.Context, _ *msgclient.Client, m Blob) error { big <- len(m.Data); return nil })
	bustest.Run(t, small)
	bustest.Run(t, large)
	if err := svc.Broadcast(t.Context(), Blob{Data: make([]byte, 4<<10)}); err != nil {
		t.Fatal(err)
	}
	if n := next(t, big, "the blob"); n != 4<<10 {
		t.Errorf("got %d bytes", n)
	}
	e := wantCode(t, "OnDrop of the one that takes less", next(t, dropped, "OnDrop"), bus.CodeSlowConsumer)
	if !e.Remote {
		t.Errorf("got %v from the client's own side", e)
	}
}

// What is not a stable connection is answered in plain HTTP.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	with := func(conf *tls.Config) *http.Client {
		tr := &http.Transport{DialContext: srv.DialContext, TLSClientConfig: conf, DisableKeepAlives: true}
		return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	agent := with(bustest.ClientTLS(t, "agent"))
	bare := bustest.ClientTLS(t, "agent")
	bare.Certificates = nil
	upgrade := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
	plus := func(h http.Header, key, value string) http.Header {
		h = h.Clone()
		h.Set(key, value)
		return h
	}
	for name, tt := range map[string]struct {
		client *http.Client
		method string
		path   string
		header http.Header
		status int
		code   string
	}{
		"the contract":          {agent, "GET", "/Test/Room", nil, 200, ""},
		"held already":          {agent, "GET", "/Test/Room", http.Header{"If-None-Match": {strconv.Quote(room.Fingerprint())}}, 304, ""},
		"no such service":       {agent, "GET", "/Test/Nothing", nil, 404, "not_found"},
		"a longer path":         {agent, "GET", "/Test/Room/", nil, 404, "not_found"},
		"an escaped path":       {agent, "GET", "/Test%2FRoom", nil, 404, "not_found"},
		"another method":        {agent, "DELETE", "/Test/Room", nil, 405, "unimplemented"},
		"nobody":                {with(bare), "GET", "/Test/Room", nil, 401, "unauthenticated"},
		"nobody, to connect":    {with(bare), "GET", "/Test/Room", plus(upgrade, "Sec-Websocket-Protocol", "msgbus.v1"), 401, "unauthenticated"},
		"another subprotocol":   {agent, "GET", "/Test/Room", plus(upgrade, "Sec-Websocket-Protocol", "msgbus.v9"), 426, "unsupported_version"},
		"no subprotocol":        {agent, "GET", "/Test/Room", upgrade, 426, "unsupported_version"},
		"from a browser's page": {agent, "GET", "/Test/Room", plus(upgrade, "Origin", "https://evil.example"), 403, "permission_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "https://"+bustest.Host+tt.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if tt.header != nil {
				req.Header = tt.header
			}
			resp, err := tt.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status {
				t.Fatalf("got %d, %v, %s; want %d", resp.StatusCode, err, body, tt.status)
			}
			switch {
			case tt.status == 200:
				if string(body) != string(room.JSON()) {
					t.Errorf("got another contract: %s", body)
				}
			case tt.code != "":
				var problem struct{ Code, Reason string }
				if err := json.Unmarshal(body, &problem); err != nil || problem.Code != tt.code || problem.Reason == "" {
					t.Errorf("got %s, %v; want code %s and a reason", body, err, tt.code)
				}
			}
			if tt.status == 405 && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

// The largest message that a service can be made to take gets through, also
// behind others.
func TestLargestMessage(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	svc.Credit, svc.MaxMessage = 8<<20, 512<<10
	sizes := make(chan int, 1)
	msgbus.Handle(svc, func(_ context.Context, _ *msgbus.Conn, m Blob) error { sizes <- len(m.Data); return nil })
	c := bustest.NewServer(t, msgbus.Config{}, svc).Connect(msgclient.Config{})
	for range 3 {
		if err := c.Send(t.Context(), Job{Do: strings.Repeat("x", 10<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	const size = 512<<10 - 64
	if err := c.SendAcked(t.Context(), Blob{Data: make([]byte, size)}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, sizes, "the blob"); got != size || c.Connects() != 1 {
		t.Errorf("got %d bytes over %d connections, want %d over 1", got, c.Connects(), size)
	}
}
