package rpc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"busd/access"
	"busd/bus"
	"busd/rpc"
)

// A credential is good until somebody says otherwise.
type credential struct{ revoked atomic.Bool }

func (c *credential) Revoked() *bus.Error {
	if c.revoked.Load() {
		return bus.Errorf(bus.CodeCertificateRevoked, "the client certificate is denied here")
	}
	return nil
}

// A lasting service has methods that last, and tells when the context of one ends.
type lasting struct {
	*rpc.Server

	alice, bob credential
	until      time.Time     // alice's NotAfter
	asked      chan struct{} // for each caller who was found
	began      chan struct{} // for each method that runs
	ended      chan error
}

func newLasting(t *testing.T) *lasting {
	t.Helper()
	l := &lasting{asked: make(chan struct{}, 10), began: make(chan struct{}, 10), ended: make(chan error, 10)}
	svc := rpc.NewService("Test/Long")
	watched := func(ctx context.Context) {
		context.AfterFunc(ctx, func() { l.ended <- context.Cause(ctx) })
		l.began <- struct{}{}
	}
	rpc.Export(svc, "drip", func(ctx context.Context) io.Reader {
		watched(ctx)
		return dripping{} // it does not look at ctx
	})
	rpc.Export(svc, "flood", func(ctx context.Context) io.Reader {
		watched(ctx)
		return endless{}
	})
	rpc.Export(svc, "silent", func(ctx context.Context) io.Reader {
		watched(ctx)
		return waiting{ctx}
	})
	rpc.Export(svc, "put", func(ctx context.Context, content io.Reader) (int64, error) {
		watched(ctx)
		return io.Copy(io.Discard, content)
	})
	rpc.Export(svc, "wait", func(ctx context.Context) error {
		watched(ctx)
		<-ctx.Done()
		return ctx.Err()
	})
	rpc.Export(svc, "stubborn", func(ctx context.Context) {
		if rpc.RequestOf(ctx).Caller.Peer.Name == "alice" {
			watched(ctx)
		} else {
			l.began <- struct{}{}
		}
		time.Sleep(2 * time.Second)
	})
	l.Server = serverOf(t, rpc.Config{Authenticate: func(r *http.Request) (access.Caller, *bus.Error) {
		name := r.TLS.PeerCertificates[0].Subject.CommonName
		caller := access.Caller{Peer: bus.Peer{Name: name}, Via: access.ViaCertificate, Credential: &l.bob}
		if name == "alice" {
			caller.Credential, caller.NotAfter = &l.alice, l.until
		}
		l.asked <- struct{}{}
		return caller, nil
	}}, svc)
	return l
}

// dripping gives a byte now and then.
type dripping struct{}

func (dripping) Read(p []byte) (int, error) {
	time.Sleep(50 * time.Millisecond)
	return copy(p, "x"), nil
}

// waiting has nothing to say until its context ends.
type waiting struct{ ctx context.Context }

func (w waiting) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

// ask sends a request, whose body comes slowly if it is an upload, and reads all of
// the answer; status is 0 where there was none, or not all of it.
func (l *lasting) ask(t *testing.T, w *world, name, method string, http2 bool, result chan<- string) {
	t.Helper()
	var body io.Reader = strings.NewReader("[]")
	contentType := plainJSON
	switch method {
	case "put":
		body, contentType = &steady{}, octets
	case "body": // the method has not begun
		body, method = &steady{}, "wait"
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/Test/Long/"+method, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	client := w.client(name, http2)
	go func() { // ends with the answer
		defer client.CloseIdleConnections()
		resp, err := client.Do(r)
		if err != nil {
			result <- "no answer"
			return
		}
		defer resp.Body.Close()
		if method == "flood" {
			<-l.ended // until then it is not taken
			l.ended <- context.Canceled
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			result <- "cut"
			return
		}
		result <- fmt.Sprintf("%d %s", resp.StatusCode, text)
	}()
}

// steady sends spaces, fast enough.
type steady struct{}

func (*steady) Read(p []byte) (int, error) {
	time.Sleep(50 * time.Millisecond)
	n := min(len(p), 4<<10)
	copy(p, strings.Repeat(" ", n))
	return n, nil
}

// TestRevoked: whatever a call is doing as its caller is revoked, it ends at once, and
// nobody takes what was sent for the whole; the calls of others go on.
func TestRevoked(t *testing.T) {
	for _, method := range []string{"drip", "flood", "silent", "put", "wait", "stubborn", "body"} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, http2=%t", method, http2), func(t *testing.T) {
				t.Parallel()
				l := newLasting(t)
				w := serve(t, l, "h2", "http/1.1")
				alice, bob := make(chan string, 1), make(chan string, 1)
				l.ask(t, w, "bob", "stubborn", http2, bob)
				l.ask(t, w, "alice", method, http2, alice)
				<-l.began
				<-l.asked
				<-l.asked
				if method != "body" {
					<-l.began
				}
				if n := l.CredentialsChanged(); n != 0 {
					t.Errorf("%d calls were ended before anybody was revoked", n)
				}
				l.alice.revoked.Store(true)
				n := l.CredentialsChanged()
				// One whose body is still read may not be among the running calls yet: then
				// it finds out by itself.
				if n != 1 && (n != 0 || method != "body") {
					t.Errorf("%d calls were ended, want alice's", n)
				}
				select {
				case got := <-alice:
					if got != "no answer" && got != "cut" && !strings.Contains(got, "certificate_revoked") {
						t.Errorf("alice has got %q, want an error", got)
					}
				case <-time.After(waitTime):
					t.Fatal("alice's call goes on")
				}
				if method != "body" {
					if cause := <-l.ended; cause == nil {
						t.Error("the method's context has not ended")
					}
				}
				if got := <-bob; !strings.HasPrefix(got, "200 ") {
					t.Errorf("bob has got %q, want the end of his call", got)
				}
			})
		}
	}
}

// waitTime is how long a test waits for what must come.
const waitTime = 30 * time.Second

// TestRevokedWhileItIsLookedAt: who is revoked while his credential is
// looked at is not overlooked.
func TestRevokedWhileItIsLookedAt(t *testing.T) {
	var s *rpc.Server
	var c credential
	svc := rpc.NewService("Test/Long")
	rpc.Export(svc, "wait", func(ctx context.Context) { <-ctx.Done() })
	s = serverOf(t, rpc.Config{Authenticate: func(*http.Request) (access.Caller, *bus.Error) {
		caller := access.Caller{Peer: bus.Peer{Name: "alice"}, Via: access.ViaCertificate, Credential: &c}
		c.revoked.Store(true) // after it was found good
		if n := s.CredentialsChanged(); n != 0 {
			t.Errorf("%d calls were ended that nobody knows yet", n)
		}
		return caller, nil
	}}, svc)
	w := serve(t, s, "http/1.1")
	w.ask("alice", post{path: "/Test/Long/wait", contentType: plainJSON, body: "[]"}).contains(t, http.StatusUnauthorized, "certificate_revoked")
}

// TestStreamsEndWithTheCertificate: a download lasts no longer than what its caller
// was let in by; an ordinary call, which has a time of its own, may.
func TestStreamsEndWithTheCertificate(t *testing.T) {
	for _, method := range []string{"drip", "put", "stubborn"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			l := newLasting(t)
			const left = time.Second
			began := time.Now()
			l.until = began.Add(left)
			w := serve(t, l, "http/1.1")
			alice := make(chan string, 1)
			l.ask(t, w, "alice", method, false, alice)
			got := <-alice
			if method == "stubborn" {
				if !strings.HasPrefix(got, "200 ") {
					t.Errorf("got %q, want all of it", got)
				}
				return
			}
			if got != "no answer" && got != "cut" && !strings.Contains(got, "certificate_expired") {
				t.Errorf("alice has got %q, want an error", got)
			}
			if took := time.Since(began); took < left || took > left+waitTime {
				t.Errorf("it ended after %v, want %v", took, left)
			}
			if cause := <-l.ended; method == "drip" && bus.CodeOf(cause) != bus.CodeCertificateExpired {
				t.Errorf("the context's cause: got %v, want certificate_expired", cause)
			}
		})
	}
}

// TestRevokedAnswer: who is revoked while a method runs is told, over HTTP/1.1, in an
// answer that ends the connection.
func TestRevokedAnswer(t *testing.T) {
	l := newLasting(t)
	w := serve(t, l, "http/1.1")
	conn := w.line("alice")
	if _, err := io.WriteString(conn, post{path: "/Test/Long/wait", contentType: plainJSON, body: "[]"}.wire()); err != nil {
		t.Fatal(err)
	}
	l.alice.revoked.Store(true)
	for stop := time.Now().Add(5 * time.Second); l.CredentialsChanged() == 0 && time.Now().Before(stop); {
		if l.Stats()[0].Running > 0 {
			continue
		}
	}
	a := w.hear(bufio.NewReader(conn))
	a.contains(t, http.StatusUnauthorized, "certificate_revoked")
	if !a.Close {
		t.Error("the connection is to end")
	}
}
