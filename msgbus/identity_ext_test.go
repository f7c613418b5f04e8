package msgbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

func TestTRIDsAreNeverReused(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[bus.TRID]bool{}
	identities := map[bus.Identity]int{}
	svc := newRoom(nil)
	svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
		mu.Lock()
		defer mu.Unlock()
		if seen[c.TRID()] {
			t.Errorf("TRID %s came twice", c.TRID())
		}
		if _, err := bus.ParseTRID(string(c.TRID())); err != nil {
			t.Error(err)
		}
		seen[c.TRID()] = true
		identities[c.Identity()]++
		return nil
	}
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	conf := bustest.ClientTLS(t, "agent")
	for i := range 4 {
		for range 5 {
			c := srv.Client(msgclient.Config{TLS: conf, Instance: fmt.Sprint("pilot-", i)})
			if err := c.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(seen) != 20 || len(identities) != 4 {
		t.Errorf("got %d TRIDs and the identities %v, want 20 and 4 with 5 each", len(seen), identities)
	}
}

func TestIdentityIsKeptAcrossReconnects(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	identities := make(chan bus.Identity, 2)
	svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error { identities <- c.Identity(); return nil }
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{MinWait: time.Millisecond}) // the library makes an instance
	first := next(t, identities, "the first connection")
	before, _ := c.TRID()
	srv.Cut()
	if got := next(t, identities, "the second connection"); got != first || c.Identity() != first {
		t.Errorf("got %s, the client says %s, want %s", got, c.Identity(), first)
	}
	ping(t, c, 1)
	if after, _ := c.TRID(); after == before {
		t.Errorf("the TRID %s stayed", after)
	}
	other := srv.Connect(msgclient.Config{})
	if other.Identity() == first {
		t.Errorf("two clients have the identity %s", first)
	}
}

// Another certificate cannot take an identity, whatever instance it brings.
func TestIdentityBeginsWithThePeer(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	var clients []*msgclient.Client
	for _, peer := range []string{"alice", "bob"} {
		c := srv.ClientOf(peer, msgclient.Config{Instance: "pilot"})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := bus.Identity("dns:" + peer + "/pilot"); c.Identity() != want {
			t.Errorf("got %s, want %s", c.Identity(), want)
		}
		clients = append(clients, c)
	}
	for i, c := range clients { // neither has superseded the other
		ping(t, c, int64(i))
	}
}

func TestPerCertificate(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	svc.Identity = msgbus.PerCertificate
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	first := srv.ClientOf("alice", msgclient.Config{Instance: "one"})
	if err := first.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Run(t.Context()) }()
	second := srv.ClientOf("alice", msgclient.Config{Instance: "two"})
	if err := second.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second.Identity() != "dns:alice" {
		t.Errorf("got identity %s, want dns:alice", second.Identity())
	}
	wantCode(t, "Run of the first", next(t, ended, "the end of the first"), bus.CodeSuperseded)
	other := srv.ClientOf("bob", msgclient.Config{})
	if err := other.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	ping(t, second, 1)
}

func TestNewerSupersedesOlder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s story
		svc := newRoom(nil)
		n := 0
		svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
			n++
			c.SetState(n)
			s.tell(fmt.Sprint("connected ", n))
			return nil
		}
		svc.OnDrop = func(_ context.Context, c *msgbus.Conn, why error) {
			time.Sleep(2 * time.Second) // the next one waits
			s.tell(fmt.Sprintf("dropped %v %s", c.State(), bus.CodeOf(why)))
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		conf := msgclient.Config{Instance: "pilot"}
		older := srv.Client(conf)
		if err := older.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- older.Run(t.Context()) }()
		newer := srv.Client(conf)
		if err := newer.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		e := wantCode(t, "Run of the older", next(t, ended, "the end of the older"), bus.CodeSuperseded)
		if !e.Remote || e.Retry.When != bus.RetryNever || !errors.Is(e, bus.ErrDropped) {
			t.Errorf("got remote %t, retry %s, dropped %t; want true, never, true", e.Remote, e.Retry.When, errors.Is(e, bus.ErrDropped))
		}
		ping(t, newer, 1)
		want := []string{"connected 1", "dropped 1 superseded", "connected 2"}
		if got := s.soFar(); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := onlyConn(t, svc).State(); got != 2 {
			t.Errorf("connection %v stayed, want 2", got)
		}
	})
}

// A handler, or an OnDrop, that hangs must not lock its agent out.
func TestSupersedeWaitsFiveSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		svc := newRoom(nil)
		svc.OnDrop = func(context.Context, *msgbus.Conn, error) { <-release }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		conf := msgclient.Config{Instance: "pilot"}
		if err := srv.Client(conf).Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		newer := srv.Client(conf)
		begin := time.Now()
		if err := newer.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("connected after %s, want 5s", took)
		}
		ping(t, newer, 1)
		close(release)
		time.Sleep(time.Second)
		ping(t, newer, 2) // the older's late end takes nothing from the newer
		if err := svc.SendTo(t.Context(), newer.Identity(), Note{}); err != nil {
			t.Error(err)
		}
	})
}

func TestThreeConnectionsOfOneIdentityAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		var mu sync.Mutex
		open, connects, drops := 0, 0, 0
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			mu.Lock()
			defer mu.Unlock()
			if open++; open != 1 {
				t.Errorf("%d connections of one identity are open", open)
			}
			connects++
			return nil
		}
		svc.OnDrop = func(context.Context, *msgbus.Conn, error) {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			open--
			drops++
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		conf := bustest.ClientTLS(t, "agent")
		const clients = 3
		ends := make(chan error, clients)
		for range clients {
			c := srv.Client(msgclient.Config{Instance: "pilot", TLS: conf})
			go func() { ends <- c.Run(t.Context()) }()
		}
		for range clients - 1 {
			wantCode(t, "Run", next(t, ends, "the end of those that were superseded"), bus.CodeSuperseded)
		}
		time.Sleep(time.Minute)
		none(t, ends, "the end of the last")
		onlyConn(t, svc)
		mu.Lock()
		defer mu.Unlock()
		if open != 1 || connects != drops+1 {
			t.Errorf("got %d open, %d connects, %d drops; want one connect more than drops", open, connects, drops)
		}
	})
}

// Who is superseded while it waits for the last connection's end is refused, and
// the service is not asked.
func TestSupersededWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		svc := newRoom(nil)
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { asked++; return nil }
		svc.OnDrop = func(context.Context, *msgbus.Conn, error) { time.Sleep(time.Second) }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		outcomes := make([]chan error, 3)
		for i := range outcomes {
			c := srv.Client(msgclient.Config{Instance: "pilot"})
			outcomes[i] = make(chan error, 1)
			go func() { outcomes[i] <- c.Connect(t.Context()) }()
			synctest.Wait()
		}
		if err := next(t, outcomes[0], "the first"); err != nil {
			t.Errorf("the first: %v", err)
		}
		wantCode(t, "the second", next(t, outcomes[1], "the second"), bus.CodeSuperseded)
		if err := next(t, outcomes[2], "the third"); err != nil {
			t.Errorf("the third: %v", err)
		}
		synctest.Wait()
		if asked != 2 {
			t.Errorf("the service was asked %d times, want 2", asked)
		}
	})
}

// An OnConnect that runs when a newer connection comes is told to stop; what it
// accepts all the same it sees dropped, before the newer's OnConnect runs.
func TestSupersededInsideOnConnect(t *testing.T) {
	t.Parallel()
	for _, accepts := range []bool{true, false} {
		t.Run(fmt.Sprintf("accepts=%t", accepts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s story
				svc := newRoom(nil)
				first := true
				svc.OnConnect = func(ctx context.Context, _ *msgbus.Conn) error {
					if !first {
						s.tell("second connected")
						return nil
					}
					first = false
					s.tell("first begins")
					<-ctx.Done()
					time.Sleep(time.Second)
					s.tell("first ends")
					if accepts {
						return nil
					}
					return ctx.Err()
				}
				svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) { s.tell("dropped " + bus.CodeOf(why).String()) }
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				conf := msgclient.Config{Instance: "pilot"}
				older, newer := srv.Client(conf), srv.Client(conf)
				refused := make(chan error, 1)
				go func() { refused <- older.Connect(t.Context()) }()
				synctest.Wait()
				if err := newer.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantCode(t, "Connect of the older", next(t, refused, "the refusal"), bus.CodeSuperseded)
				want := []string{"first begins", "first ends", "second connected"}
				if accepts {
					want = slices.Insert(want, 2, "dropped superseded")
				}
				if got := s.soFar(); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		})
	}
}

func TestOlderWins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		svc.Duplicate = msgbus.OlderWins
		dropped := make(chan error, 1)
		svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) { dropped <- why }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		dial, taps := tapped(srv.DialContext)
		older := srv.Client(msgclient.Config{Instance: "pilot", DialContext: dial})
		if err := older.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		newer := srv.Client(msgclient.Config{Instance: "pilot"})
		e := wantCode(t, "Connect of the newer", newer.Connect(t.Context()), bus.CodeAlreadyExists)
		if e.Retry.When != bus.RetryAfter {
			t.Errorf("retry: got %s, want after", e.Retry.When)
		}
		time.Sleep(time.Minute) // the older has answered the probe
		ping(t, older, 1)
		none(t, dropped, "OnDrop of one that lives")

		next(t, taps, "the line of the older").turn(true) // it hangs
		begin := time.Now()
		wantCode(t, "Connect of the newer", newer.Connect(t.Context()), bus.CodeAlreadyExists)
		wantCode(t, "OnDrop", next(t, dropped, "OnDrop of the dead"), bus.CodeKeepaliveTimeout)
		if took := time.Since(begin); took < 5*time.Second || took > 15*time.Second {
			t.Errorf("the dead one was dropped after %s, want 5 s and what its end takes", took)
		}
		if err := newer.Connect(t.Context()); err != nil {
			t.Errorf("Connect after the dead one is gone: %v", err)
		}
	})
}

func TestInstancesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, instance := range []string{"a/b", "a b", "ü", string(make([]byte, 65))} {
		if _, err := msgclient.New(msgclient.Config{URL: "wss://x/A/B", Instance: instance}); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("instance %q: got %v, want invalid_argument", instance, err)
		}
	}
}

// Who is refused because of an older connection that is still being accepted
// does not end that one: nobody reads its pongs yet.
func TestOlderWinsInsideOnConnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		svc.Duplicate = msgbus.OlderWins
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { time.Sleep(8 * time.Second); return nil }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		older := srv.Client(msgclient.Config{Instance: "pilot"})
		connected := make(chan error, 1)
		go func() { connected <- older.Connect(t.Context()) }()
		synctest.Wait()
		newer := srv.Client(msgclient.Config{Instance: "pilot"})
		wantCode(t, "Connect of the newer", newer.Connect(t.Context()), bus.CodeAlreadyExists)
		if err := next(t, connected, "the outcome of the older's Connect"); err != nil {
			t.Errorf("Connect of the older: %v", err)
		}
		ping(t, older, 1)
	})
}
