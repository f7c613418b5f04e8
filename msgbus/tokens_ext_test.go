package msgbus_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"busd/bus"
	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
	"busd/msgclient"
)

// The token of a session is of no use to anybody else: another certificate,
// another instance of the same one, at another service. He gets a session of his
// own, is told nothing of this one, and this one goes on.
func TestTokenOfAnother(t *testing.T) {
	t.Parallel()
	for _, atRest := range []bool{false, true} {
		for _, who := range []string{"another certificate", "another identity", "another service"} {
			t.Run(fmt.Sprintf("%s/at rest=%t", who, atRest), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					svc, other := newRoom(nil), newPingPong()
					gone := make(chan bus.Identity, 9)
					svc.OnGone = func(_ context.Context, i bus.Identity, _ error) { gone <- i }
					srv := bustest.NewServer(t, msgbus.Config{}, svc, other)
					owner := greet(t, srv, svc, nil, aHello("pilot"))
					owner.send(Job{ID: 1})
					owner.until(wire.Ack)
					if atRest {
						owner.cut()
						synctest.Wait()
					}

					stolen := owner.again()
					var thief *raw
					switch who {
					case "another certificate":
						thief = greet(t, srv, svc, bustest.ClientTLS(t, "thief"), stolen)
					case "another identity":
						stolen.Instance = "copilot"
						thief = greet(t, srv, svc, nil, stolen)
					case "another service":
						thief = greet(t, srv, other, nil, stolen)
					}
					thief.wantResumed("unknown") // as everything that is not his
					if thief.welcome.Session == owner.welcome.Session || bytes.Equal(thief.welcome.Token, owner.welcome.Token) {
						t.Error("the thief has the owner's session")
					}
					synctest.Wait()
					none(t, gone, "the end of the owner's session")
					if !atRest {
						owner.send(Job{ID: 2})
						owner.until(wire.Ack)
						owner.cut()
						synctest.Wait()
					}
					greet(t, srv, svc, nil, owner.again()).wantResumed("")
				})
			})
		}
	}
}

// A token is good once: after the first frame on the connection whose welcome
// brought the next one, it is worth nothing.
func TestSpentToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		gone := make(chan error, 9)
		svc.OnGone = func(_ context.Context, _ bus.Identity, why error) { gone <- why }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		first := greet(t, srv, svc, nil, aHello("pilot"))
		spent := first.again()
		first.cut()
		second := greet(t, srv, svc, nil, spent)
		second.wantResumed("")
		if bytes.Equal(second.welcome.Token, spent.Token) || len(second.welcome.Token) != 32 {
			t.Errorf("got a token of %d bytes, the same %t; want 32 new ones", len(second.welcome.Token), bytes.Equal(second.welcome.Token, spent.Token))
		}
		second.send(Job{ID: 1})
		second.until(wire.Ack)
		synctest.Wait() // a resume has an ack of its own

		replay := greet(t, srv, svc, nil, spent)
		replay.wantResumed("unknown")
		wantCode(t, "OnGone of the session", next(t, gone, "OnGone"), bus.CodeSuperseded)
		wantCode(t, "the drop of its connection", second.drop(second.until(wire.Drop)), bus.CodeSuperseded)
		// It is the end of the session, also for who has the right token.
		replay.cut()
		greet(t, srv, svc, nil, second.again()).wantResumed("unknown")
	})
}

// A welcome that is lost takes the new token with it: until the client has shown
// that it has it, the one before is good, however often that happens.
func TestOldTokenUntilTheNewOneIsProven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		first := greet(t, srv, svc, nil, aHello("pilot"))
		first.send(Job{ID: 1})
		first.until(wire.Ack)
		first.cut()
		for range 20 {
			r := greet(t, srv, svc, nil, first.again())
			r.wantResumed("")
			r.cut() // and forgets what it was told
		}
		last := greet(t, srv, svc, nil, first.again())
		last.wantResumed("")
		last.send(Job{ID: 2})
		last.until(wire.Ack)
		synctest.Wait() // as above
		last.cut()
		greet(t, srv, svc, nil, first.again()).wantResumed("unknown")
	})
}

// Two come with the same token at once: one of them has the session, the other
// nothing.
func TestTwoWithTheSameToken(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	ended := make(chan error, 99)
	svc.OnGone = func(_ context.Context, _ bus.Identity, why error) { ended <- why }
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	conf := bustest.ClientTLS(t, bustest.DefaultPeer)
	last := greet(t, srv, svc, conf, aHello("pilot"))
	session := last.welcome.Session
	for round := range 30 {
		hello := last.again()
		last.cut()
		welcomed, over := make(chan *raw, 2), make(chan *raw, 2)
		for range 2 {
			r := begin(t, srv, svc, conf, hello)
			go func() {
				defer func() { over <- r }()
				f, err := r.read()
				if err != nil || f.Kind != wire.Welcome {
					return
				}
				if r.welcome, err = wire.DecodeWelcome(f.Body); err != nil {
					t.Error(err)
				}
				welcomed <- r
				r.ended()
			}()
		}
		loser := next(t, over, "the end of the one that lost")
		winner := next(t, welcomed, "the welcome of the other")
		if winner == loser { // it was welcomed, and then it lost
			winner = next(t, welcomed, "the welcome of the other")
		}
		none(t, over, "the end of both")
		winner.wantResumed("")
		if conn := onlyConn(t, svc); string(conn.TRID()) != winner.welcome.TRID || winner.welcome.Session != session {
			t.Fatalf("round %d: connection %s carries the session, want %s", round, conn.TRID(), winner.welcome.TRID)
		}
		winner.cut()
		next(t, over, "the end of the other")
		last = winner
	}
	none(t, ended, "the end of the session")
}

// Who tries one wrong token after the other is stopped for a while.
func TestGuessedTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		last := greet(t, srv, svc, nil, aHello("pilot"))
		guess := func(try byte) *raw {
			hello := last.again()
			hello.Token = bytes.Repeat([]byte{try}, 32)
			return greet(t, srv, svc, nil, hello)
		}
		for try := range byte(5) {
			last = guess(try)
			last.wantResumed("unknown")
		}
		refused := guess(5)
		if e := wantCode(t, "the sixth guess", refused.refused, bus.CodeResourceExhausted); e.Retry.When != bus.RetryAfter || e.Retry.After != time.Minute {
			t.Errorf("got retry %+v, want after a minute", e.Retry)
		}
		last.send(Job{ID: 1}) // the session that was guessed for goes on
		last.until(wire.Ack)
		if r := greet(t, srv, svc, nil, aHello("copilot")); r.refused != nil { // and nobody else is stopped
			t.Errorf("another identity: refused, %v", r.refused)
		}
		time.Sleep(time.Minute + time.Second)
		guess(6).wantResumed("unknown")
	})
}

// What is no token at all is a wrong one, and what is no session an unknown one.
func TestTokensThatAreNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		for name, change := range map[string]func(h *wire.HelloFrame){
			"no token":        func(h *wire.HelloFrame) { h.Token = nil },
			"half a token":    func(h *wire.HelloFrame) { h.Token = h.Token[:16] },
			"a long token":    func(h *wire.HelloFrame) { h.Token = append(bytes.Clone(h.Token), make([]byte, 4<<10)...) },
			"zeros":           func(h *wire.HelloFrame) { h.Token = make([]byte, 32) },
			"a strange name":  func(h *wire.HelloFrame) { h.Session = strings.Repeat("x", 4<<10) },
			"a name of dots":  func(h *wire.HelloFrame) { h.Session = ".." },
			"frames too many": func(h *wire.HelloFrame) { h.Seen = 1 << 40 },
		} {
			r := greet(t, srv, svc, nil, aHello(strings.ReplaceAll(name, " ", "-")))
			r.send(Job{ID: 1})
			r.until(wire.Ack)
			hello := r.again()
			change(&hello)
			r.cut()
			greet(t, srv, svc, nil, hello).wantResumed("unknown")
		}
	})
}

// Why a session does not go on: each reason is told, and counted.
func TestReasons(t *testing.T) {
	t.Parallel()
	for reason, end := range map[string]func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw) (*bustest.Server, *msgbus.Service){
		"expired": func(_ *testing.T, srv *bustest.Server, svc *msgbus.Service, _ *raw) (*bustest.Server, *msgbus.Service) {
			time.Sleep(msgbus.DefaultWindow)
			return srv, svc
		},
		"overflowed": func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, _ *raw) (*bustest.Server, *msgbus.Service) {
			for range 20 {
				if err := svc.Broadcast(t.Context(), Note{Text: strings.Repeat("x", 100<<10)}); err != nil {
					t.Fatal(err)
				}
			}
			return srv, svc
		},
		"restarted": func(t *testing.T, _ *bustest.Server, _ *msgbus.Service, _ *raw) (*bustest.Server, *msgbus.Service) {
			svc := newRoom(nil)
			return bustest.NewServer(t, msgbus.Config{Node: "one"}, svc), svc
		},
		"unknown": func(t *testing.T, _ *bustest.Server, _ *msgbus.Service, _ *raw) (*bustest.Server, *msgbus.Service) {
			svc := newRoom(nil)
			return bustest.NewServer(t, msgbus.Config{Node: "another"}, svc), svc
		},
	} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				srv := bustest.NewServer(t, msgbus.Config{Node: "one"}, svc)
				first := greet(t, srv, svc, nil, aHello("pilot"))
				first.cut()
				synctest.Wait()
				srv, svc = end(t, srv, svc, first)
				synctest.Wait()
				greet(t, srv, svc, nil, first.again()).wantResumed(reason)
				synctest.Wait()
				if st := srv.Stats()[0]; st.NotResumed[reason] != 1 || len(st.NotResumed) != 1 || st.Resumed != 0 {
					t.Errorf("counted: not resumed %v, resumed %d; want one that is %s", st.NotResumed, st.Resumed, reason)
				}
			})
		})
	}
}

// No token is ever written anywhere, by either end: neither the service's nor
// what somebody brings instead of one.
func TestTokensAreNotLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(&out)), zap.DebugLevel))
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{Logger: log}, svc)
		canary := []byte("SECRETCANARY-0123456789-ABCDEFGH")
		tokens := [][]byte{canary}

		r := greet(t, srv, svc, nil, aHello("pilot"))
		tokens = append(tokens, r.welcome.Token)
		r.cut()
		r = greet(t, srv, svc, nil, r.again())
		r.wantResumed("")
		tokens = append(tokens, r.welcome.Token)
		var told strings.Builder
		for range 7 { // until it is refused
			hello := r.again()
			hello.Token = canary
			next := greet(t, srv, svc, nil, hello)
			if next.refused != nil {
				told.WriteString(next.refused.Error())
				break
			}
			tokens, r = append(tokens, next.welcome.Token), next
		}
		if told.Len() == 0 {
			t.Error("the guesses were not refused")
		}
		c := srv.Connect(msgclient.Config{Logger: log, Instance: "another"})
		ping(t, c, 1)
		srv.Cut()
		ping(t, c, 2)
		if !c.Resumption().Resumed {
			t.Errorf("the client's session did not go on: %+v", c.Resumption())
		}
		written := out.String() + told.String()
		if !strings.Contains(written, "connection opened") || !strings.Contains(written, "connected") {
			t.Fatalf("the log is empty: %s", written)
		}
		for i, token := range tokens {
			for how, text := range map[string]string{
				"itself": string(token), "hex": hex.EncodeToString(token), "base64": base64.StdEncoding.EncodeToString(token),
				"base64 of URLs": base64.URLEncoding.EncodeToString(token), "Go": fmt.Sprintf("%d", token),
			} {
				if strings.Contains(written, text) {
					t.Errorf("token %d is in the log, as %s", i, how)
				}
			}
		}
	})
}
