package msgbus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
)

// A hall is a service of which many clients are away.
type hall struct {
	t    *testing.T
	srv  *bustest.Server
	svc  *msgbus.Service
	ends story // the identities whose sessions ended, in order
	away []*raw
}

func newHall(t *testing.T, cfg msgbus.Config) *hall {
	h := &hall{t: t, svc: newRoom(nil)}
	h.svc.OnGone = func(_ context.Context, i bus.Identity, why error) {
		if bus.CodeOf(why) == bus.CodeSlowConsumer {
			h.ends.tell(string(i))
		}
	}
	h.srv = bustest.NewServer(t, cfg, h.svc)
	return h
}

// leaves lets clients of a peer connect and go away, one after the other.
func (h *hall) leaves(peer string, instances ...string) {
	h.t.Helper()
	conf := bustest.ClientTLS(h.t, peer)
	for _, instance := range instances {
		r := greet(h.t, h.srv, h.svc, conf, aHello(instance))
		r.cut()
		synctest.Wait()
		h.away = append(h.away, r)
		time.Sleep(time.Second)
	}
}

// waits puts so many bytes there for a client that is away.
func (h *hall) waits(peer, instance string, bytes int) {
	h.t.Helper()
	if err := h.svc.SendTo(h.t.Context(), bus.Identity("dns:"+peer+"/"+instance), Blob{Data: make([]byte, bytes)}); err != nil {
		h.t.Fatal(err)
	}
	synctest.Wait()
}

// within checks that no more is kept than may be.
func (h *hall) within(sessions, bytes int) {
	h.t.Helper()
	synctest.Wait()
	if s, b := h.srv.SessionsAtRest(); s > sessions || b > bytes {
		h.t.Fatalf("at rest: %d sessions with %d bytes, want at most %d with %d", s, b, sessions, bytes)
	}
}

func (h *hall) ended(want ...string) {
	h.t.Helper()
	synctest.Wait()
	if got := h.ends.soFar(); !slices.Equal(got, want) {
		h.t.Fatalf("ended: %v, want %v", got, want)
	}
}

// comeBack lets all come back, and checks that each is told the truth, and that
// nothing is kept any more.
func (h *hall) comeBack(overflowed ...string) {
	h.t.Helper()
	for _, r := range h.away {
		again := greet(h.t, h.srv, h.svc, r.conf, r.again())
		if slices.Contains(overflowed, r.welcome.Identity) {
			again.wantResumed("overflowed")
		} else {
			again.wantResumed("")
		}
	}
	synctest.Wait()
	if s, b := h.srv.SessionsAtRest(); s != 0 || b != 0 {
		h.t.Errorf("when all are back: %d sessions at rest with %d bytes, want none", s, b)
	}
}

// The node bounds what it keeps for clients that are away: beyond that those
// sessions end, and are told so, for which it has kept something for longest.
func TestMemoryOfSessionsAtRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = 1 << 20
		h := newHall(t, msgbus.Config{MaxSessionMemory: most})
		h.leaves("empty", "nothing-waits-for-it")
		for i := range 10 {
			h.leaves(fmt.Sprint("peer-", i), "pilot")
		}
		for _, i := range []int{3, 2, 1, 0, 7, 8} { // not in the order in which they went; it is room for six
			h.waits(fmt.Sprint("peer-", i), "pilot", 150<<10)
			h.within(11, most)
		}
		h.ended()
		h.waits("peer-9", "pilot", 150<<10)
		h.within(10, most)
		h.ended("dns:peer-3/pilot")
		h.waits("peer-2", "pilot", 10<<10) // to have more does not make it younger
		h.waits("peer-4", "pilot", 150<<10)
		h.within(9, most)
		h.ended("dns:peer-3/pilot", "dns:peer-2/pilot")
		h.comeBack("dns:peer-3/pilot", "dns:peer-2/pilot")
	})
}

// One peer has a quarter of it, and takes nothing from others.
func TestMemoryOfAPeersSessionsAtRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = 1 << 20
		h := newHall(t, msgbus.Config{MaxSessionMemory: most})
		h.leaves("modest", "pilot")
		h.waits("modest", "pilot", 100<<10)
		h.leaves("greedy", "a", "b", "c", "d")
		for _, instance := range []string{"a", "b", "c", "d"} {
			h.waits("greedy", instance, 100<<10)
			h.within(5, most/4+150<<10)
		}
		h.ended("dns:greedy/a", "dns:greedy/b")
		h.comeBack("dns:greedy/a", "dns:greedy/b")
	})
}

// What has arrived from a client and waits for a handler that hangs counts too,
// and so does what it has not acknowledged.
func TestMemoryOfWhatHasArrived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error { <-release; return nil })
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		r := greet(t, srv, svc, nil, aHello("pilot"))
		for range 5 {
			r.send(Job{Do: strings.Repeat("x", 100<<10)})
			r.until(wire.Ack)
		}
		if err := svc.SendTo(t.Context(), "dns:agent/pilot", Note{Text: strings.Repeat("x", 100<<10)}); err != nil {
			t.Fatal(err)
		}
		r.until(wire.Data)
		synctest.Wait()
		if s, b := srv.SessionsAtRest(); s != 0 || b != 0 {
			t.Errorf("connected: %d sessions at rest with %d bytes, want none", s, b)
		}
		r.cut()
		synctest.Wait()
		if s, b := srv.SessionsAtRest(); s != 1 || b < 500<<10 || b > 4<<20 {
			t.Errorf("away: %d sessions at rest with %d bytes, want one with at least what waits", s, b)
		}
		close(release) // nothing else is handled before it is back
		synctest.Wait()
		if s, b := srv.SessionsAtRest(); s != 1 || b < 500<<10 {
			t.Errorf("after the handler: %d sessions at rest with %d bytes, want as before", s, b)
		}
		time.Sleep(msgbus.DefaultWindow)
		synctest.Wait()
		if s, b := srv.SessionsAtRest(); s != 0 || b != 0 {
			t.Errorf("expired: %d sessions at rest with %d bytes, want none", s, b)
		}
	})
}

// There are as many sessions at rest as there may be connections, of the server
// and of a peer.
func TestNumberOfSessionsAtRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, msgbus.Config{MaxConns: 5, MaxConnsPerPeer: 3})
		h.leaves("first", "pilot")
		h.leaves("many", "a", "b", "c", "d", "e")
		h.ended("dns:many/a", "dns:many/b")
		h.leaves("second", "pilot")
		h.ended("dns:many/a", "dns:many/b")
		h.within(5, 0)
		h.leaves("third", "pilot")
		h.leaves("fourth", "pilot")
		h.within(5, 0)
		h.ended("dns:many/a", "dns:many/b", "dns:first/pilot", "dns:many/c")
		if n := h.srv.Stats()[0].Sessions; n != 5 {
			t.Errorf("got %d sessions, want 5", n)
		}
	})
}

// A broadcast that is more than is kept for all who are away ends only as many
// sessions as it must.
func TestBroadcastToSessionsAtRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most, peers = 1 << 20, 30
		h := newHall(t, msgbus.Config{MaxSessionMemory: most})
		for i := range peers {
			h.leaves(fmt.Sprint("peer-", i), "pilot")
		}
		if err := h.svc.Broadcast(t.Context(), Blob{Data: make([]byte, 1<<10)}); err != nil {
			t.Fatal(err)
		}
		h.within(peers, most)
		h.ended()
		for range 2 {
			if err := h.svc.Broadcast(t.Context(), Blob{Data: make([]byte, 32<<10)}); err != nil {
				t.Fatal(err)
			}
			h.within(peers, most)
		}
		sessions, bytes := h.srv.SessionsAtRest()
		if sessions == peers || bytes < most*8/10 {
			t.Errorf("%d sessions are left with %d bytes; want less than %d, and nearly all of the bytes in use", sessions, bytes, peers)
		}
		gone := h.ends.soFar()
		if len(gone) != peers-sessions {
			t.Errorf("%d sessions ended and %d are left, want %d together", len(gone), sessions, peers)
		}
		h.comeBack(gone...)
	})
}

// One client's session ends where it is sent more than its own buffer holds; the
// others, who are connected, get it.
func TestBroadcastOverflowsOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, msgbus.Config{})
		h.leaves("away", "pilot")
		_, notes := audience(t, h.srv, 3)
		for id := range int64(40) {
			if err := h.svc.Broadcast(t.Context(), Note{ID: id, Text: strings.Repeat("x", 50<<10)}); err != nil {
				t.Fatal(err)
			}
			for i, heard := range notes {
				if got := next(t, heard, "a note"); got != id {
					t.Fatalf("listener %d: got note %d, want %d", i, got, id)
				}
			}
		}
		h.ended("dns:away/pilot")
		if s, b := h.srv.SessionsAtRest(); s != 0 || b != 0 {
			t.Errorf("%d sessions at rest with %d bytes, want none", s, b)
		}
		h.comeBack("dns:away/pilot")
	})
}
