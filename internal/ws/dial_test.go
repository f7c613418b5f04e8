package ws

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/link"
	"busd/internal/wire"
)

// serve runs handler behind TLS on the loopback.
func serve(t *testing.T, handler http.HandlerFunc) (url string, d *Dialer) {
	t.Helper()
	srv := httptest.NewTLSServer(handler)
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return "wss" + strings.TrimPrefix(srv.URL, "https"), &Dialer{TLS: &tls.Config{RootCAs: roots, ServerName: "example.com"}, UserAgent: "test"}
}

// serveRaw hands each connection, after TLS and the request's head, to answer.
func serveRaw(t *testing.T, answer func(c net.Conn)) (url string, d *Dialer) {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		defer c.Close()
		answer(c)
	})
}

func TestDial(t *testing.T) {
	t.Parallel()
	sockets := make(chan *Socket, 1)
	url, d := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("User-Agent"); got != "test" || !IsUpgrade(r) || Subprotocols(r)[0] != "test" {
			t.Errorf("got user agent %q, upgrade %t, subprotocols %q", got, IsUpgrade(r), Subprotocols(r))
		}
		s, err := Accept(w, r, "test")
		if err != nil {
			t.Errorf("Accept: %v", err)
		}
		sockets <- s
	})
	client, err := d.Dial(t.Context(), url, "test")
	if err != nil {
		t.Fatal(err)
	}
	server := <-sockets
	defer client.Abort()
	defer server.Abort()
	for _, s := range []*Socket{client, server} {
		s.Limit(1<<20, time.Minute, time.Time{})
	}
	for from, to := range map[*Socket]*Socket{client: server, server: client} {
		sizes := []int{0, 1, 125, 126, writeBuffer, 1 << 20}
		written := make(chan struct{})
		go func() {
			defer close(written)
			for _, n := range sizes {
				if err := from.Write(make([]byte, n)); err != nil {
					t.Errorf("Write: %v", err)
				}
			}
		}()
		for _, n := range sizes {
			if b, err := to.Read(); err != nil || len(b) != n {
				t.Fatalf("got %d bytes, %v; want %d", len(b), err, n)
			}
		}
		<-written
	}
}

func TestDialRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		header [2]string
		body   string
		want   bus.Code
		after  time.Duration
		reason string
	}{
		{400, [2]string{}, "", bus.CodeProtocolError, 0, "the server refused the connection"},
		{401, [2]string{}, `{"code":"unauthenticated","reason":"no certificate"}`, bus.CodeUnauthenticated, 0, "the server refused the connection: no certificate"},
		{403, [2]string{}, "{\"reason\":\"a\\u001b[31m\"}", bus.CodePermissionDenied, 0, "the server refused the connection: a?[31m"},
		{404, [2]string{}, "<html>", bus.CodeNotFound, 0, "the server refused the connection"},
		{405, [2]string{}, "", bus.CodeUnimplemented, 0, ""},
		{426, [2]string{}, "", bus.CodeUnsupportedVersion, 0, ""},
		{429, [2]string{"Retry-After", "7"}, "", bus.CodeResourceExhausted, 7 * time.Second, ""},
		{500, [2]string{}, "", bus.CodeInternal, 0, ""},
		{502, [2]string{}, strings.Repeat("x", 5000), bus.CodeUnavailable, 0, ""},
		{503, [2]string{"Retry-After", "999999999"}, "", bus.CodeResourceExhausted, time.Hour, ""},
		{503, [2]string{"Retry-After", "-5"}, "", bus.CodeResourceExhausted, 0, ""},
		{503, [2]string{"Retry-After", "soon"}, "", bus.CodeResourceExhausted, 0, ""},
		{200, [2]string{}, "hello", bus.CodeUnavailable, 0, ""},
		{301, [2]string{"Location", "https://elsewhere.invalid/"}, "", bus.CodeUnavailable, 0, ""},
		{307, [2]string{"Location", "/other"}, "", bus.CodeUnavailable, 0, ""},
	}
	for _, tt := range tests {
		asked := 0
		url, d := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			asked++
			if tt.header[0] != "" {
				w.Header().Set(tt.header[0], tt.header[1])
			}
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		})
		_, err := d.Dial(t.Context(), url, "test")
		var e *bus.Error
		var status *StatusError
		if !errors.As(err, &e) || !errors.As(err, &status) || e.Code != tt.want || e.Retry.After != tt.after || !e.Remote || status.Status != tt.status {
			t.Errorf("status %d: got %+v, want %s after %s", tt.status, err, tt.want, tt.after)
			continue
		}
		if tt.reason != "" && e.Reason != tt.reason {
			t.Errorf("status %d: reason: got %q, want %q", tt.status, e.Reason, tt.reason)
		}
		if len(status.Body) > maxRefusal || asked != 1 {
			t.Errorf("status %d: %d bytes of body, asked %d times", tt.status, len(status.Body), asked)
		}
	}
}

func TestRetryAfterAsADate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct {
		at       time.Time
		min, max time.Duration
	}{
		{now.Add(90 * time.Second), 85 * time.Second, 90 * time.Second},
		{now.Add(-time.Hour), 0, 0},
		{now.Add(48 * time.Hour), time.Hour, time.Hour},
	} {
		if got := retryAfter(tt.at.UTC().Format(http.TimeFormat)); got < tt.min || got > tt.max {
			t.Errorf("%s: got %s, want %s to %s", tt.at, got, tt.min, tt.max)
		}
	}
}

func TestDialWrongSubprotocol(t *testing.T) {
	t.Parallel()
	for _, spoken := range []string{"", "other"} {
		url, d := serve(t, func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Sec-WebSocket-Protocol", spoken)
			s, err := Accept(w, r, spoken)
			if err != nil {
				t.Errorf("Accept: %v", err)
				return
			}
			s.Abort()
		})
		if _, err := d.Dial(t.Context(), url, "test"); bus.CodeOf(err) != bus.CodeUnsupportedVersion {
			t.Errorf("a server that speaks %q: got %v, want unsupported_version", spoken, err)
		}
	}
}

func TestDialEndlessHeader(t *testing.T) {
	t.Parallel()
	sent := make(chan int, 1)
	url, d := serveRaw(t, func(c net.Conn) {
		n, _ := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n")
		for range 100_000 {
			more, err := io.WriteString(c, "X-Filler: "+strings.Repeat("x", 1000)+"\r\n")
			n += more
			if err != nil {
				break
			}
		}
		sent <- n
	})
	_, err := d.Dial(t.Context(), url, "test")
	if err == nil || !strings.Contains(err.Error(), "larger than 64 KiB") {
		t.Errorf("got %v, want that the answer is too large", err)
	}
	if n := <-sent; n > 32<<20 { // what the kernel's buffers take is not ours
		t.Errorf("the server could send %d bytes", n)
	}
}

// An answer that trickles does not move the end of the attempt.
func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"no answer": "", "half an answer": "HTTP/1.1 101 Switching"} {
		release := make(chan struct{})
		url, d := serveRaw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, answer)
			<-release
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begin := time.Now()
		_, err := d.Dial(ctx, url, "test")
		if took := time.Since(begin); bus.CodeOf(err) != bus.CodeDeadlineExceeded && !isTimeout(err) || took > 5*time.Second {
			t.Errorf("%s, deadline: got %v after %s", name, err, took)
		}
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		begin = time.Now()
		_, err = d.Dial(ctx, url, "test")
		if took := time.Since(begin); !errors.Is(err, context.Canceled) || took > 5*time.Second {
			t.Errorf("%s, canceled: got %v after %s", name, err, took)
		}
		close(release)
	}
}

// The first Read keeps its limits, though the handshake has just set others.
func TestLimitRightAfterDial(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	url, d := serve(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := Accept(w, r, "test")
		if err != nil {
			t.Errorf("Accept: %v", err)
			return
		}
		<-release
		s.Abort()
	})
	ctx, cancel := context.WithTimeout(t.Context(), paceTime)
	defer cancel()
	s, err := d.Dial(ctx, url, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	if !s.line.deadline.IsZero() || s.line.begun {
		t.Errorf("the line believes in a deadline of %s, begun %t; the library has taken it away", s.line.deadline, s.line.begun)
	}
	s.Limit(1<<10, 100*time.Millisecond, time.Now().Add(100*time.Millisecond))
	if _, err := s.Read(); bus.CodeOf(err) != bus.CodeDeadlineExceeded {
		t.Errorf("got %v, want deadline_exceeded", err)
	}
}

func TestDialWithoutTLS(t *testing.T) {
	t.Parallel()
	if _, err := new(Dialer).Dial(t.Context(), "ws://127.0.0.1:1/", "test"); bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("got %v, want invalid_argument", err)
	}
}

// The drop frame arrives although the peer had sent more than was read: a
// socket that is closed with bytes unread resets the line.
func TestGoodbyeArrivesOverTCP(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	url, d := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		s, err := Accept(w, r, "test")
		if err != nil {
			t.Errorf("Accept: %v", err)
			return
		}
		s.Limit(1<<10, time.Minute, time.Time{})
		_, err = s.Read()
		link.Refuse(s, err)
	})
	client, err := d.Dial(t.Context(), url, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Abort()
	client.Limit(1<<20, time.Minute, time.Time{})
	for range 8 { // more than is taken, and more behind it
		if err := client.Write(make([]byte, 1<<20)); err != nil {
			break
		}
	}
	b, err := client.Read()
	if err != nil {
		t.Fatalf("the drop did not arrive: %v", err)
	}
	f, err := wire.Decoder{}.Next(b)
	if err != nil || f.Kind != wire.Drop {
		t.Errorf("got %s, %v; want a drop", f.Kind, err)
	}
	if _, err := client.Read(); bus.CodeOf(err) != bus.CodeProtocolError {
		t.Errorf("then got %v, want the close frame 1009", err)
	}
	// The server waits for it a while, and may have gone.
	if err := client.Close(bus.CloseNormal, ""); err != nil && bus.CodeOf(err) != bus.CodeUnavailable {
		t.Errorf("Close: %v", err)
	}
	client.Abort()
	<-done
}

// Two links over TLS and TCP part at once: neither waits for the other.
func TestLinksPartAtOnce(t *testing.T) {
	t.Parallel()
	sockets := make(chan *Socket, 1)
	url, d := serve(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := Accept(w, r, "test")
		if err != nil {
			t.Errorf("Accept: %v", err)
		}
		sockets <- s
	})
	client, err := d.Dial(t.Context(), url, "test")
	if err != nil {
		t.Fatal(err)
	}
	a, b := newLink(client), newLink(<-sockets)
	results := make(chan error, 2)
	for _, l := range []*link.Link{a, b} {
		if err := l.Open(link.Start{}); err != nil {
			t.Fatal(err)
		}
		go l.Serve(nil, func(why error) { results <- why })
	}
	begin := time.Now()
	a.Drop(bus.Errorf(bus.CodeGoingAway, "bye"))
	for range 2 {
		if err := <-results; bus.CodeOf(err) != bus.CodeGoingAway || !errors.Is(err, bus.ErrDropped) {
			t.Errorf("Serve: got %v, want going_away", err)
		}
	}
	if took := time.Since(begin); took > closeWait/2 {
		t.Errorf("parting took %s", took)
	}
}

type nobody struct{}

func (nobody) Handle(context.Context, *link.Incoming) error { return nil }
func (nobody) AtOnce(*wire.Message) int                     { return 1 }
func (nobody) Keeps(*link.Incoming, *bus.Error) bool        { return false }
func (nobody) Failed(*link.Incoming, *bus.Error)            {}
func (nobody) Goaway(*wire.GoawayFrame)                     {}

func newLink(s *Socket) *link.Link {
	return link.New(link.Config{
		Socket: s, Handler: nobody{}, MessageLimit: 1 << 20, Silence: time.Minute,
	}, link.NewStream(link.StreamConfig{Grant: 1 << 20, Credit: 1 << 20, Buffer: 1 << 20}))
}
