package hostile

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/internal/mtls"
	"busd/msgbus"
	"busd/test/hostile/stranger"
)

// newPatientStack is a stack for clients that connect more than once: a busy
// machine takes its time for that.
func newPatientStack(t *testing.T, config msgbus.Config) *stack {
	t.Helper()
	return newStackOf(t, times{time.Minute, time.Minute, time.Minute, keepAlive, time.Minute}, config)
}

// said returns what the welcome said of the client's session.
func (c *client) said() (session string, token []byte, resumed bool, reason string) {
	session, _ = c.welcomeSaid["session"].(string)
	token, _ = c.welcomeSaid["token"].([]byte)
	resumed, _ = c.welcomeSaid["resumed"].(bool)
	reason, _ = c.welcomeSaid["resume_reason"].(string)
	return session, token, resumed, reason
}

// heir is a client with the same instance as another, whose line is cut, at the
// point before its hello.
func (c *client) heir(t *testing.T) *client {
	t.Helper()
	h := c.stack.newClient(t, upgraded, c.path)
	h.instance = c.instance
	return h
}

// asks says hello with a session.
func (c *client) asks(session string, token []byte, seen uint64, more ...[]byte) {
	c.t.Helper()
	c.welcome(resumable(append([][]byte{str("session"), str(session), str("token"), bin(token), str("seen"), num(seen)}, more...)...)...)
}

func (c *client) wantResumed(t *testing.T, resumed bool, reason string) {
	t.Helper()
	if _, _, got, why := c.said(); got != resumed || why != reason {
		t.Errorf("the welcome: got resumed %v %q, want %v %q", got, why, resumed, reason)
	}
}

// answers reads until so many requests have their answers, and returns the number
// of the last frame.
func (c *client) answers(t *testing.T, n int) (last uint64) {
	t.Helper()
	for n > 0 {
		op, b, err := stranger.ReadFrame(c.r)
		if err != nil {
			t.Fatalf("%d answers are missing: %v", n, err)
		}
		for op == opBinary && len(b) > 0 {
			v, rest, err := stranger.Unpack(b)
			if err != nil {
				t.Fatal(err)
			}
			if f := v.([]any); f[0] == int64(kindAnswer) {
				last = uint64(f[1].(int64))
				n--
			}
			b = rest
		}
	}
	return last
}

// TestHellosOfSessions are hellos that ask for a session with what is none.
func TestHellosOfSessions(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	const most = 1<<63 - 1
	asks := func(more ...[]byte) func(*client) {
		return func(c *client) { c.message(hello(c.instance, resumable(more...)...)) }
	}
	session, token := str("session"), str("token")
	s.run(t, []hostileCase{
		{name: "a session that never was", at: upgraded, do: asks(session, str("stolen"), token, bin(make([]byte, 32)), str("seen"), num(most)), want: "welcome, lives"},
		{name: "a session without a token", at: upgraded, do: asks(session, str("stolen")), want: "welcome, lives"},
		{name: "a token without a session", at: upgraded, do: asks(token, bin(make([]byte, 32))), want: "welcome, lives"},
		{name: "a nil session and token", at: upgraded, do: asks(session, null, token, null), want: "welcome, lives"},
		{name: "a name of 4 KiB", at: upgraded, do: asks(session, str(strings.Repeat("a.", 2<<10)), token, bin(nil)), want: "welcome, lives"},
		{name: "a name of control characters", at: upgraded, do: asks(session, str("\r\n\x1b[2J\x00.."), token, bin(nil)), want: "welcome, lives"},
		{name: "a name that is no text", at: upgraded, do: asks(session, str("a.\xff."), token, bin(nil)), want: syntax},
		{name: "a name as a node makes them", at: upgraded, do: asks(session, str("e3b0c442.00000000.0000000000000000"), token, bin(make([]byte, 32))), want: "welcome, lives"},
		{name: "a token of 8 KiB", at: upgraded, do: asks(session, str("x"), token, bin(make([]byte, 8<<10))), want: "welcome, lives"},
		{name: "a token of 1 MiB", at: upgraded, do: asks(session, str("x"), token, bin(make([]byte, 1<<20))), want: "drop protocol_error, close 1009"},
		{name: "a session of a number", at: upgraded, do: asks(session, num(7)), want: broken},
		{name: "a token of a number", at: upgraded, do: asks(session, str("x"), token, num(7)), want: broken},
		{name: "a token of a list", at: upgraded, do: asks(session, str("x"), token, list(num(1))), want: broken},
		{name: "a last frame below zero", at: upgraded, do: asks(session, str("x"), str("seen"), []byte{0xff}), want: broken},
		{name: "a last frame of 2^64-1", at: upgraded, do: asks(session, str("x"), str("seen"), num(1<<64-1)), want: broken},
		{name: "a last frame of nothing", at: upgraded, do: asks(str("seen"), num(most)), want: "welcome, lives"},
		{name: "a move from nowhere", at: upgraded, do: asks(str("move"), []byte{0xc3}), want: "welcome, lives"},
		{name: "a move of text", at: upgraded, do: asks(str("move"), str("yes")), want: broken},
		{name: "a thousand features", at: upgraded, do: func(c *client) {
			words := make([][]byte, 1000)
			for i := range words {
				words[i] = str(fmt.Sprint("f", i))
			}
			c.message(hello(c.instance, str("features"), list(words...)))
		}, want: "welcome, lives"},
		{name: "goaways without end", at: sessioned, do: func(c *client) {
			b := frame(fin|opBinary, repeat(packed(kindGoaway, dict()), 8<<10))
			for range 64 {
				if _, err := c.conn.Write(b); err != nil {
					return // it has ended, as it should
				}
			}
		}, want: "drop going_away, close 4065"},
	})
}

// TestResumesThatLie are clients that come back for a session of their own, and
// say what is not so of what was sent and what was seen.
func TestResumesThatLie(t *testing.T) {
	t.Parallel()
	s := newPatientStack(t, msgbus.Config{})
	const sent, most = 3, 1<<63 - 1
	for _, tc := range []struct {
		name    string
		seen    uint64
		token   func(token []byte) []byte
		resumed bool
		says    func(c *client)
		want    string
	}{
		{name: "nothing", seen: sent, resumed: true, want: "lives"},
		{name: "less was seen than was acknowledged", seen: 0, resumed: true, want: "lives"},
		{name: "more was seen than was sent", seen: sent + 1, want: "lives"},
		{name: "everything was seen", seen: most, want: "lives"},
		{name: "no token", seen: sent, token: func([]byte) []byte { return nil }, want: "lives"},
		{name: "half a token", seen: sent, token: func(token []byte) []byte { return token[:16] }, want: "lives"},
		{name: "more than the token", seen: sent, token: func(token []byte) []byte { return append(token, 0) }, want: "lives"},
		{name: "one bit of the token", seen: sent, token: func(token []byte) []byte { token[31] ^= 1; return token }, want: "lives"},
		{name: "an ack of the future", seen: sent, resumed: true, says: func(c *client) { c.message(packed(kindAck, num(sent+1), num(0))) }, want: broken},
		{name: "an ack of 2^63-1", seen: sent, resumed: true, says: func(c *client) { c.message(packed(kindAck, num(most), num(0))) }, want: broken},
		{name: "an ack that gives back what was not spent", seen: sent, resumed: true, says: func(c *client) { c.message(packed(kindAck, num(sent), num(most))) }, want: broken},
		{name: "an ack that takes one back", seen: sent, resumed: true, says: func(c *client) { c.message(packed(kindAck, num(1), num(0))) }, want: broken},
		{name: "a frame again that the service has", seen: sent, resumed: true, says: func(c *client) {
			c.message(packed(kindData, num(sent), str("Ping"), ping(forbidden)))
		}, want: broken},
		{name: "the first frame again", seen: sent, resumed: true, says: func(c *client) {
			c.message(packed(kindData, num(1), str("Ping"), ping(forbidden)))
		}, want: broken},
		{name: "a frame that leaves one out", seen: sent, resumed: true, says: func(c *client) {
			c.message(packed(kindData, num(sent+2), str("Ping"), ping(forbidden)))
		}, want: broken},
		{name: "an answer to what nobody asked", seen: sent, resumed: true, says: func(c *client) {
			c.message(packed(kindAnswer, num(sent+1), num(1), null, null))
		}, want: broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			first := s.newClient(t, sessioned, pingPath)
			for range sent {
				first.message(first.request("Ping", ping(1)))
			}
			last := first.answers(t, sent)
			first.message(packed(kindAck, num(last), num(0)))
			session, token, _, _ := first.said()
			_ = first.raw.Close()

			c := first.heir(t)
			if tc.token != nil {
				token = tc.token(token)
			}
			c.asks(session, token, tc.seen)
			reason := "unknown"
			if tc.resumed {
				reason, c.n = "", sent
			}
			c.wantResumed(t, tc.resumed, reason)
			if tc.says != nil {
				tc.says(c)
			}
			if got := c.observe(time.Now().Add(5*time.Second+goodbye), tc.want); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			s.probe(t)
		})
	}
}

// TestResumeOfSomebodyElses: the session of one certificate is of no use to
// another, though it has the token, the name and the numbers.
func TestResumeOfSomebodyElses(t *testing.T) {
	t.Parallel()
	s := newPatientStack(t, msgbus.Config{})
	victim := s.issue(t, s.ca, mtls.Request{Name: "victim", DNS: []string{"victim"}, Client: true})
	for _, atRest := range []bool{false, true} {
		t.Run(fmt.Sprintf("at rest=%v", atRest), func(t *testing.T) {
			as := func(cert tls.Certificate, instance string) *client {
				c := s.newClient(t, tcpOpen, bytePath)
				c.point, c.instance = upgraded, instance
				c.handshake(cert)
				c.upgrade()
				return c
			}
			owner := as(victim, "the-one")
			owner.welcome(resumable()...)
			session, token, _, _ := owner.said()
			if atRest {
				_ = owner.raw.Close()
			}
			for _, instance := range []string{"the-one", "../victim/the-one", "victim/the-one"} {
				thief := as(s.good, instance)
				if instance != "the-one" {
					thief.message(hello(instance, resumable(str("session"), str(session), str("token"), bin(token))...))
					if got := thief.observe(time.Now().Add(goodbye), ""); got != "drop invalid_argument, close 4003" {
						t.Errorf("instance %s: got %q", instance, got)
					}
					continue
				}
				thief.asks(session, token, 0)
				if got, _, resumed, _ := thief.said(); resumed || got == session {
					t.Error("the thief has the session")
				}
			}
			if err := s.bytes.SendTo(t.Context(), "dns:victim/the-one", Noise{}); err != nil {
				t.Errorf("to the victim: %v", err)
			}
			_ = owner.raw.Close()
			back := as(victim, "the-one")
			back.asks(session, token, 0)
			back.wantResumed(t, true, "")
		})
	}
}

// TestFloodOfSessionsAtRest are the instances of one certificate: each begins a
// session, is sent as much as a session keeps, and goes away without a word.
func TestFloodOfSessionsAtRest(t *testing.T) {
	const (
		memory   = 8 << 20 // of which one peer has a quarter
		sessions = 100     // of one peer
	)
	s := newPatientStack(t, msgbus.Config{MaxSessionMemory: memory, MaxConnsPerPeer: sessions})
	g := measure(t)
	flood := func() {
		all := s.crowd(t, 50, s.nextAddress(), nil)
		var work sync.WaitGroup
		for _, c := range all {
			c.path = bytePath
			work.Go(func() {
				c.handshake(s.good)
				c.upgrade()
				c.welcome(resumable()...)
				_ = c.raw.Close()
			})
		}
		work.Wait()
	}
	atRest := func(want int) {
		t.Helper()
		if !eventually(10*time.Second, func() bool { n, _ := s.bus.SessionsAtRest(); return n == want && len(s.bytes.Conns()) == 0 }) {
			n, _ := s.bus.SessionsAtRest()
			t.Errorf("%d sessions are at rest, %d connected: want %d and none", n, len(s.bytes.Conns()), want)
		}
	}
	for n := 50; n <= 250; n += 50 {
		flood()
		atRest(min(n, sessions))
	}
	// As what they keep grows, there is room for fewer of them.
	const rounds = 40
	pad, most := make([]byte, 16<<10), 0
	for range rounds {
		if err := s.bytes.Broadcast(t.Context(), Noise{Pad: pad}); err != nil {
			t.Fatal(err)
		}
		_, bytes := s.bus.SessionsAtRest()
		most = max(most, bytes)
	}
	s.probe(t)
	g.holds(memory/4 + 8<<20)
	n, bytes := s.bus.SessionsAtRest()
	t.Logf("at rest: %d sessions with %s, at most %s", n, mib(uint64(bytes)), mib(uint64(most)))
	if most < memory/8 || most > memory/4 {
		t.Errorf("they kept %s at most, want half of %s or more, and not more than that", mib(uint64(most)), mib(memory/4))
	}
	if left := memory / 4 / (rounds * len(pad)); n == 0 || n > left {
		t.Errorf("%d sessions are left, want some, and at most %d: there is no room for more", n, left)
	}
	if !eventually(5*time.Second, func() bool { n, _ := s.bus.SessionsAtRest(); return s.sessions() == n+1 }) {
		t.Errorf("%d sessions are known: want those at rest and the innocent client's", s.sessions())
	}
	g.returns(128 << 20)
}

// sessions counts those of all services.
func (s *stack) sessions() (n int) {
	for _, st := range s.bus.Stats() {
		n += st.Sessions
	}
	return n
}
