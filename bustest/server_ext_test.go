package bustest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

type hello struct {
	Name string `bus:"name"`
}

func (hello) MessageName() string { return "Hello" }

var greeting = schema.MustNew("Test/Greeting", schema.Of[hello](schema.FromBoth))

func newGreeting() *msgbus.Service {
	svc := &msgbus.Service{Schema: greeting}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m hello) error {
		return c.Reply(ctx, hello{Name: m.Name + " of " + c.Peer().Name})
	})
	return svc
}

func TestServer(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newGreeting())
	if want := "wss://" + bustest.Host + "/Test/Greeting"; srv.URL() != want {
		t.Errorf("got URL %s, want %s", srv.URL(), want)
	}
	mine := srv.Connect(msgclient.Config{})
	bobs := srv.ClientOf("bob", msgclient.Config{})
	bustest.Run(t, bobs)
	for want, c := range map[string]*msgclient.Client{"x of dns:agent": mine, "x of dns:bob": bobs} {
		if got, err := msgclient.Request[hello](t.Context(), c, hello{Name: "x"}); err != nil || got.Name != want {
			t.Errorf("got %v, %v; want %s", got, err, want)
		}
	}
	srv.Stop()
	srv.Stop()
	if err := srv.Client(msgclient.Config{}).Connect(t.Context()); bus.CodeOf(err) != bus.CodeUnavailable {
		t.Errorf("Connect after Stop: got %v, want unavailable", err)
	}
}

// The whole stack runs in virtual time.
func TestServerInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newGreeting())
		c := srv.Connect(msgclient.Config{})
		time.Sleep(24 * time.Hour)
		srv.Cut()
		time.Sleep(time.Minute)
		if got, err := msgclient.Request[hello](t.Context(), c, hello{Name: "x"}); err != nil || got.Name != "x of dns:agent" {
			t.Errorf("after a day: got %v, %v", got, err)
		}
		if c.Connects() != 2 {
			t.Errorf("got %d connections, want 2", c.Connects())
		}
	})
}
