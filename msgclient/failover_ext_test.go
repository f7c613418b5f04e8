package msgclient_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// A pair is two servers with one service, at a.test and b.test.
type pair struct {
	attempts
	a, b *bustest.Server
}

func newPair(t *testing.T, cfg msgbus.Config) *pair {
	p := &pair{a: bustest.NewServer(t, cfg, newRoom(nil)), b: bustest.NewServer(t, cfg, newRoom(nil))}
	p.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return p.at(address).DialContext(ctx, network, address)
	}
	return p
}

func (p *pair) at(address string) *bustest.Server {
	if strings.HasPrefix(address, "a.test") {
		return p.a
	}
	return p.b
}

func (p *pair) client(instance string) *msgclient.Client {
	return p.a.Client(msgclient.Config{
		Instance: instance, DialContext: p.DialContext,
		URLs: []string{"wss://b.test/Test/Room"}, URL: "wss://a.test/Test/Room",
	})
}

// When a connection ends and its server does not answer, or says that it goes, the
// other address is tried.
func TestFailover(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *bustest.Server){
		"the server stops": func(s *bustest.Server) { s.Stop() },
		"the server is killed": func(s *bustest.Server) {
			s.Cut()
			s.Stop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, msgbus.Config{})
				c := p.client("pilot")
				bustest.Run(t, c)
				_, where := p.so()
				begin := time.Now()
				end(p.at(where[0]))
				synctest.Wait()
				ping(t, c, 1)
				// Up to half a second, and, where the session waits at an address that
				// does not answer, up to a second more.
				if took := time.Since(begin); took > 1500*time.Millisecond {
					t.Errorf("the other server was reached after %s, want 1.5 s at most", took)
				}
				if _, where = p.so(); len(where) < 2 || where[0] == where[len(where)-1] {
					t.Errorf("dialed %v, want one, then the other", where)
				}
			})
		})
	}
}

// When only the line breaks, the client goes back to where its session waits.
func TestCutGoesBackToItsSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, msgbus.Config{})
		c := p.client("pilot")
		bustest.Run(t, c)
		_, where := p.so()
		p.at(where[0]).Cut()
		synctest.Wait()
		ping(t, c, 1)
		if _, where = p.so(); len(where) != 2 || where[0] != where[1] {
			t.Errorf("dialed %v, want the same twice", where)
		}
		wantResumption(t, c, msgclient.Resumption{Resumed: true})
	})
}

// What an address says with Retry-After holds for it alone: the other is tried
// after an ordinary pause, the first again when it said.
func TestRetryAfterIsForOneAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full := 0
		for range 20 {
			p := newPair(t, msgbus.Config{MaxConns: 1})
			if err := p.a.Client(msgclient.Config{}).Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := p.client("pilot")
			go func() { _ = c.Run(t.Context()) }() // ends with the test
			begin := time.Now()
			ping(t, c, 1)
			if took := time.Since(begin); took > msgclient.DefaultMinWait {
				t.Errorf("connected after %s, want %s at most", took, msgclient.DefaultMinWait)
			}
			if _, where := p.so(); len(where) == 2 {
				full++
			}
		}
		if full == 0 {
			t.Error("the full server was never asked first")
		}

		p := newPair(t, msgbus.Config{MaxConns: 1})
		for _, srv := range []*bustest.Server{p.a, p.b} { // both are full
			if err := srv.Client(msgclient.Config{}).Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		c := p.client("pilot")
		go func() { _ = c.Run(t.Context()) }() // as above
		time.Sleep(time.Minute)
		times, where := p.so()
		for _, address := range []string{"a.test:8443", "b.test:8443"} {
			last := -1
			for i := range where {
				if where[i] != address {
					continue
				}
				if last >= 0 && times[i].Sub(times[last]) < 2*time.Second {
					t.Errorf("%s was asked again after %s, and had said 2 s at least", address, times[i].Sub(times[last]))
				}
				last = i
			}
			if !slices.Contains(where, address) || times[last].Sub(times[0]) < 45*time.Second {
				t.Errorf("%s was given up", address)
			}
		}
	})
}
