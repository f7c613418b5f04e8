package msgbus_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// An archive says what certificates prove, by their peers' DNS names: what a test
// wants.
type archive struct {
	mu sync.Mutex
	// Guarded by mu.
	begin, end time.Time
	revoked    map[string]bool // by name
}

func (a *archive) authenticate(r *http.Request) (access.Caller, *bus.Error) {
	name := r.TLS.PeerCertificates[0].DNSNames[0]
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.end.IsZero() && time.Now().After(a.end) {
		return access.Caller{}, bus.Errorf(bus.CodeUnauthenticated, "the certificate has expired")
	}
	paper := &paper{a, name}
	if err := paper.revokedLocked(); err != nil {
		return access.Caller{}, err
	}
	return access.Caller{
		Peer: bus.Peer{Name: "dns:" + name, Kind: "dns", Serial: "1"}, Via: access.ViaCertificate,
		NotBefore: a.begin, NotAfter: a.end, Credential: paper,
	}, nil
}

func (a *archive) renew(begin, end time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begin, a.end = begin, end
}

func (a *archive) revoke(names ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revoked == nil {
		a.revoked = map[string]bool{}
	}
	for _, name := range names {
		a.revoked[name] = true
	}
}

// A paper is one credential.
type paper struct {
	in   *archive
	name string
}

func (p *paper) Revoked() *bus.Error {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return p.revokedLocked()
}

func (p *paper) revokedLocked() *bus.Error {
	if p.in.revoked[p.name] {
		return bus.Errorf(bus.CodeCertificateRevoked, "the client certificate was revoked")
	}
	return nil
}

// rarely is a server's configuration for tests in which days go by.
func rarely(papers *archive) msgbus.Config {
	return msgbus.Config{Authenticate: papers.authenticate, KeepAlive: time.Hour, Idle: 3 * time.Hour}
}

// A client whose certificate ends is asked in time to move, a tenth of the
// lifetime before and a day at most, and moves to its renewed one; nothing is lost,
// and nobody is told that anything happened.
func TestRenewedInTime(t *testing.T) {
	t.Parallel()
	for life, notice := range map[time.Duration]time.Duration{
		20 * time.Second:     2 * time.Second,
		time.Hour:            6 * time.Minute,
		100 * 24 * time.Hour: 24 * time.Hour,
	} {
		t.Run(life.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				papers := &archive{begin: began, end: began.Add(life)}
				svc := newRoom(nil)
				moves, ends := make(chan time.Duration, 10), make(chan error, 10)
				svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
					if c.Resumed() {
						moves <- time.Since(began)
					}
					return nil
				}
				srv := bustest.NewServer(t, rarely(papers), svc)
				client := srv.Connect(msgclient.Config{
					OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { ends <- why },
				})
				time.Sleep(life - notice - min(30*time.Second, notice/2) - time.Millisecond)
				if len(moves) > 0 {
					t.Errorf("the client moved after %s, want not before %s", <-moves, life-notice)
				}
				papers.renew(time.Now(), time.Now().Add(10*life)) // what the next handshake shows
				time.Sleep(2 * notice)
				if n := len(moves); n != 1 {
					t.Fatalf("the client moved %d times, want once", n)
				}
				if at := <-moves; at > life-notice/2 {
					t.Errorf("the client moved after %s, want until %s", at, life-notice/2)
				}
				if len(ends) > 0 {
					t.Errorf("OnDrop: %v, want that it does not run", <-ends)
				}
				if _, err := msgclient.Request[Pong](t.Context(), client, Ping{ID: 1}); err != nil {
					t.Errorf("after the move: %v", err)
				}
			})
		})
	}
}

// A client whose certificate is not renewed is dropped as it ends, may come back at
// once, and goes on with its session once it has a new one.
func TestNotRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const life = 10 * time.Hour
		began := time.Now()
		papers := &archive{begin: began, end: began.Add(life)}
		svc := newRoom(nil)
		var connects atomic.Int64
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { connects.Add(1); return nil }
		srv := bustest.NewServer(t, msgbus.Config{Authenticate: papers.authenticate}, svc)
		ends := make(chan error, 10)
		srv.Connect(msgclient.Config{
			OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { ends <- why },
		})
		why := <-ends
		at := time.Since(began)
		if at > life || at < life-30*time.Second {
			t.Errorf("dropped after %s, want within the 30 s before %s", at, life)
		}
		if e := bus.AsError(why); e.Code != bus.CodeCertificateExpired || e.Retry.When != bus.RetryNow || !e.Remote {
			t.Errorf("got %v, retry %v, want certificate_expired, now", why, e.Retry)
		}
		if n := connects.Load(); n < 2 || n > 8 {
			t.Errorf("the client was asked to move so that it connected %d times, want some", n)
		}
		time.Sleep(life + time.Second - at)
		before := connects.Load()
		time.Sleep(time.Minute)
		if n := connects.Load(); n != before {
			t.Errorf("the client came in %d times with a certificate that has ended", n-before)
		}
		papers.renew(time.Now(), time.Now().Add(life))
		time.Sleep(40 * time.Second)
		conn := onlyConn(t, svc)
		if !conn.Resumed() {
			t.Error("with its new certificate the client has lost its session")
		}
	})
}

// Who has no certificate that ends is never asked to go.
func TestNeverExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		var connects atomic.Int64
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { connects.Add(1); return nil }
		srv := bustest.NewServer(t, rarely(new(archive)), svc)
		srv.Connect(msgclient.Config{})
		time.Sleep(30 * 24 * time.Hour)
		if n := connects.Load(); n != 1 {
			t.Errorf("the client connected %d times, want once", n)
		}
	})
}

// A revoked certificate loses its connection and its session for good, whether its
// client is there or away; nobody else notices anything.
func TestRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		papers := new(archive)
		svc := newRoom(nil)
		gone := map[bus.Identity]bus.Code{}
		var mu sync.Mutex
		svc.OnGone = func(_ context.Context, i bus.Identity, why error) {
			mu.Lock()
			defer mu.Unlock()
			gone[i] = bus.CodeOf(why)
		}
		srv := bustest.NewServer(t, msgbus.Config{Authenticate: papers.authenticate}, svc)
		away := greet(t, srv, svc, bustest.ClientTLS(t, "away"), aHello("pilot"))
		away.cut()
		bad := srv.ClientOf("bad", msgclient.Config{Instance: "pilot"})
		ended := make(chan error, 1)
		if err := bad.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- bad.Run(t.Context()) }()
		var drops atomic.Int64
		good := srv.ClientOf("good", msgclient.Config{Instance: "pilot", OnDrop: func(context.Context, *msgclient.Client, error) { drops.Add(1) }})
		bustest.Run(t, good)
		synctest.Wait()

		papers.revoke("bad", "away")
		begin := time.Now()
		if conns, sessions := srv.CredentialsChanged(); conns != 1 || sessions != 2 {
			t.Errorf("got %d connections and %d sessions, want 1 and 2", conns, sessions)
		}
		err := <-ended
		if e := bus.AsError(err); e.Code != bus.CodeCertificateRevoked || e.Retry.When != bus.RetryNever {
			t.Errorf("Run of the revoked client: got %v, want certificate_revoked, never", err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %s, want 5 s at most", took)
		}
		synctest.Wait()
		mu.Lock()
		if got, want := fmt.Sprint(gone), "map[dns:away/pilot:certificate_revoked dns:bad/pilot:certificate_revoked]"; got != want {
			t.Errorf("OnGone: got %s, want %s", got, want)
		}
		mu.Unlock()
		if conns, sessions := srv.CredentialsChanged(); conns != 0 || sessions != 0 {
			t.Errorf("once more: got %d and %d, want nothing left", conns, sessions)
		}
		err = srv.ClientOf("bad", msgclient.Config{Instance: "pilot"}).Connect(t.Context())
		if err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("the revoked client again: got %v, want that it is refused", err)
		}
		// The name is free for another certificate, with a session of its own.
		papers.mu.Lock()
		papers.revoked = nil
		papers.mu.Unlock()
		again := greet(t, srv, svc, bustest.ClientTLS(t, "away"), away.again())
		again.wantResumed("unknown")
		if _, err := msgclient.Request[Pong](t.Context(), good, Ping{ID: 1}); err != nil || drops.Load() != 0 {
			t.Errorf("the other client: got %v, %d drops, want that it noticed nothing", err, drops.Load())
		}
	})
}

// Who is revoked while it is being welcomed is out before anything is said.
func TestRevokedAtTheDoor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		papers := new(archive)
		svc := newRoom(nil)
		var srv *bustest.Server
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			papers.revoke("agent")
			if conns, _ := srv.CredentialsChanged(); conns != 1 {
				t.Errorf("got %d connections, want the one that is not welcomed yet", conns)
			}
			return nil
		}
		srv = bustest.NewServer(t, msgbus.Config{Authenticate: papers.authenticate}, svc)
		err := srv.Client(msgclient.Config{}).Connect(t.Context())
		if bus.CodeOf(err) != bus.CodeCertificateRevoked {
			t.Errorf("got %v, want certificate_revoked", err)
		}
	})
}

// A client that reads nothing cannot keep a revoked connection.
func TestRevokedAndSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		papers := new(archive)
		svc := newRoom(nil)
		dropped := make(chan error, 1)
		svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) { dropped <- why }
		srv := bustest.NewServer(t, msgbus.Config{Authenticate: papers.authenticate}, svc)
		greet(t, srv, svc, nil, aHello("pilot")) // and says and reads nothing any more
		papers.revoke("agent")
		begin := time.Now()
		srv.CredentialsChanged()
		wantCode(t, "OnDrop", <-dropped, bus.CodeCertificateRevoked)
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %s, want 5 s at most", took)
		}
	})
}
