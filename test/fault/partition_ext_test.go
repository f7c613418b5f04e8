//go:build linux

package fault_test

import (
	"testing"
	"time"

	"busd/bus"
	"busd/msgclient"
	"busd/test/fault/ledger"
	"busd/test/fault/netns"
	"busd/test/fault/process"
)

// Lines that go dead without a word, in one direction or both: each end finds out
// by itself, the client comes back, and nothing is lost or doubled. In "the server
// is not heard" the server takes the connection that the client comes back from to
// be alive.
func TestDeadLines(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env        []string
		fail, heal func(n *netns.Network, server, client *netns.Host) error
	}{
		"the cable is out": {
			env:  lively,
			fail: func(_ *netns.Network, _, client *netns.Host) error { return client.Unplug() },
			heal: func(_ *netns.Network, _, client *netns.Host) error { return client.Plug() },
		},
		"the server is not heard": {
			env:  append([]string{"BUSD_KEEP_ALIVE__INTERVAL=1s"}, crowd...),
			fail: func(n *netns.Network, server, client *netns.Host) error { return n.Block(server, client) },
			heal: func(n *netns.Network, _, _ *netns.Host) error { return n.Heal() },
		},
		"the client is not heard": {
			env:  lively,
			fail: func(n *netns.Network, server, client *netns.Host) error { return n.Block(client, server) },
			heal: func(n *netns.Network, _, _ *netns.Host) error { return n.Heal() },
		},
		"a partition": {
			env: lively,
			fail: func(n *netns.Network, server, client *netns.Host) error {
				return n.Partition([]*netns.Host{server}, []*netns.Host{client})
			},
			heal: func(n *netns.Network, _, _ *netns.Host) error { return n.Heal() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := netns.New(t)
			server, client := n.Host("server"), n.Host("client")
			h := serve(t, process.ServerConfig{On: server, Env: tt.env})
			c := newCrew(t, h, 5, msgclient.Config{DialContext: client.DialContext, MaxWait: time.Second})
			c.talk(20*time.Millisecond, failing(t))
			for i := range sized(1, 5) {
				c.answered(100)
				if err := tt.fail(n, server, client); err != nil {
					t.Fatal(err)
				}
				for _, a := range c.agents {
					if err := a.dropped(i + 1)[i]; bus.CodeOf(err) != bus.CodeKeepaliveTimeout && bus.CodeOf(err) != bus.CodeUnavailable {
						t.Errorf("%s: got %v, want keepalive_timeout or unavailable", a.Identity(), err)
					}
				}
				if err := tt.heal(n, server, client); err != nil {
					t.Fatal(err)
				}
			}
			for _, a := range c.agents {
				for _, w := range a.welcomed(2)[1:] {
					if !w.Resumed {
						t.Errorf("%s was told %+v, want resumed", a.Identity(), w.Resumption)
					}
				}
			}
			c.answered(100)
			c.rest()
			c.whole(h)
			c.noErrors()
			h.alternates()
		})
	}
}

// A fifth of all packets is lost: it works, or begins anew; it never breaks the
// protocol, and nothing is lost or doubled.
func TestPacketLoss(t *testing.T) {
	t.Parallel()
	n := netns.New(t)
	server, client := n.Host("server"), n.Host("client")
	h := serve(t, process.ServerConfig{On: server, Env: crowd})
	c := newCrew(t, h, 5, msgclient.Config{DialContext: client.DialContext, MaxWait: time.Second})
	c.talk(5*time.Millisecond, failing(t))
	c.answered(500)
	for _, d := range [][2]*netns.Host{{server, client}, {client, server}} {
		if err := n.Lose(d[0], d[1], 0.2); err != nil {
			t.Fatal(err)
		}
	}
	lossy := time.Now()
	time.Sleep(sized(10*time.Second, time.Minute))
	if err := n.Heal(); err != nil {
		t.Fatal(err)
	}
	healed := time.Now()
	c.answered(500)
	c.rest()
	up, _ := n.Lost(client, server)
	lost, err := n.Lost(server, client)
	if err != nil || lost == 0 || up == 0 {
		t.Errorf("void: %d and %d packets were lost, %v", up, lost, err)
	}
	_, text := c.times(lossy, healed)
	t.Logf("%d and %d packets were lost; meanwhile: %s", up, lost, text)
	c.whole(h)
	c.noErrors()
	for _, a := range c.agents {
		for _, err := range a.drops {
			if bus.CodeOf(err) == bus.CodeProtocolError {
				t.Errorf("%s: %v", a.Identity(), err)
			}
		}
	}
	for who, codes := range h.lines(ledger.Gone) {
		t.Errorf("%s: its session ended: %v", who, codes)
	}
}
