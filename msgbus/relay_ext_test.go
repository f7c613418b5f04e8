package msgbus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"busd/bus"
	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
)

// A bridge joins servers of one process, as an engine joins nodes.
type bridge struct {
	mu sync.Mutex
	// Guarded by mu.
	nodes []*msgbus.Server
	here  []string // what was announced and not withdrawn
}

// span is one node's end of a bridge.
type span struct {
	*bridge
	self int
}

var _ msgbus.Relay = span{}

func (b *bridge) join(s *msgbus.Server) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = append(b.nodes, s)
}

func (s span) others() []*msgbus.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Delete(slices.Clone(s.nodes), s.self, s.self+1)
}

func (s span) Announce(service string, _ bus.TRID, i bus.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.here = append(s.here, fmt.Sprint(s.self, service, i))
}

func (s span) Withdraw(service string, _ bus.TRID, i bus.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.here, fmt.Sprint(s.self, service, i))
	s.here = slices.Delete(s.here, at, at+1)
}

func (s span) deliver(d msgbus.Delivery) error {
	err := error(bus.Errorf(bus.CodeNotFound, "nowhere"))
	for _, node := range s.others() {
		if e := node.Deliver(d); bus.CodeOf(e) != bus.CodeNotFound {
			err = e
		}
	}
	return err
}

func (s span) Send(_ context.Context, service string, to bus.TRID, frame []byte) error {
	return s.deliver(msgbus.Delivery{Service: service, TRID: to, Frame: frame})
}

func (s span) SendTo(_ context.Context, service string, to bus.Identity, frame []byte) error {
	return s.deliver(msgbus.Delivery{Service: service, Identity: to, Frame: frame})
}

func (s span) Broadcast(_ context.Context, service, group string, frame []byte) error {
	return s.deliver(msgbus.Delivery{Service: service, All: true, Group: group, Frame: frame})
}

func TestRelayJoinsTwoServers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		joint := new(bridge)
		svcs := []*msgbus.Service{newRoom(nil), newRoom(nil)}
		var servers []*bustest.Server
		for i, svc := range svcs {
			srv := bustest.NewServer(t, msgbus.Config{Relay: span{joint, i}, Node: fmt.Sprint("node-", i)}, svc)
			joint.join(srv.Server)
			servers = append(servers, srv)
		}
		near, nearNotes := audience(t, servers[0], 1)
		far, farNotes := audience(t, servers[1], 2)
		if n := len(joint.here); n != 3 {
			t.Errorf("got %d connections announced, want 3", n)
		}
		trid, _ := far[0].TRID()
		for what, err := range map[string]error{
			"by TRID":        svcs[0].Send(t.Context(), trid, Note{ID: 1}),
			"by identity":    svcs[0].SendTo(t.Context(), far[1].Identity(), Note{ID: 1}),
			"to all":         svcs[0].Broadcast(t.Context(), Note{ID: 1}),
			"to an identity": svcs[0].SendTo(t.Context(), near[0].Identity(), Note{ID: 1}),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		synctest.Wait()
		// Two clients have listener-0 as their identity, one on each node: the
		// near one is taken.
		if a, b, c := len(nearNotes[0]), len(farNotes[0]), len(farNotes[1]); a != 2 || b != 2 || c != 2 {
			t.Errorf("got %d, %d, %d notes; want 2 each", a, b, c)
		}
		conn, _ := svcs[1].Conn(trid)
		svcs[1].Group("g").Add(conn)
		if err := svcs[0].Group("g").Broadcast(t.Context(), Note{ID: 2}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if a, b, c := len(nearNotes[0]), len(farNotes[0]), len(farNotes[1]); a != 2 || b != 3 || c != 2 {
			t.Errorf("after the group's: got %d, %d, %d notes; want 2, 3, 2", a, b, c)
		}
		wantCode(t, "nowhere", svcs[0].Send(t.Context(), bus.NewTRID(), Note{}), bus.CodeNotFound)
		wantCode(t, "nobody", svcs[0].SendTo(t.Context(), "dns:nobody/x", Note{}), bus.CodeNotFound)
		for _, c := range far {
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := len(joint.here); n != 1 {
			t.Errorf("got %d connections announced, want 1: %v", n, joint.here)
		}
	})
}

// keeper is a relay that only keeps what it is given.
type keeper struct {
	msgbus.Relay

	frame []byte
}

func (*keeper) Announce(string, bus.TRID, bus.Identity) {}
func (*keeper) Withdraw(string, bus.TRID, bus.Identity) {}

func (k *keeper) Broadcast(_ context.Context, _, _ string, frame []byte) error {
	k.frame = slices.Clone(frame)
	return bus.Errorf(bus.CodeUnavailable, "the engine is away")
}

// What a relay brings is checked like everything that comes from outside.
func TestDeliverChecks(t *testing.T) {
	t.Parallel()
	k := new(keeper)
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{Relay: k}, svc)
	clients, notes := audience(t, srv, 1)
	// A node that is lonely still serves its own.
	wantCode(t, "Broadcast without an engine", svc.Broadcast(t.Context(), Note{ID: 1, Text: "x"}), bus.CodeUnavailable)
	if got := next(t, notes[0], "the note"); got != 1 {
		t.Errorf("got %d", got)
	}
	trid, _ := clients[0].TRID()
	if err := srv.Deliver(msgbus.Delivery{Service: "Test/Room", TRID: trid, Frame: k.frame}); err != nil {
		t.Error(err)
	}
	if err := srv.Deliver(msgbus.Delivery{Service: "Test/Room", All: true, Group: "nobody", Frame: k.frame}); err != nil {
		t.Errorf("a group without members: %v", err)
	}
	next(t, notes[0], "the delivery")
	wrongText := slices.Clone(k.frame)
	wrongText[len(wrongText)-1] = 0xff // no UTF-8
	asPong := slices.Clone(k.frame)
	copy(asPong[slices.Index(asPong, 'N'):], "Ping")
	blob, _ := wire.Compile(room).Message("Blob")
	tooLarge, err := wire.AppendData(nil, blob, Blob{Data: make([]byte, msgbus.DefaultMaxMessage)}, wire.DataOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		d    msgbus.Delivery
		code bus.Code
	}{
		"another service":    {msgbus.Delivery{Service: "Test/Other", All: true, Frame: k.frame}, bus.CodeNotFound},
		"another connection": {msgbus.Delivery{Service: "Test/Room", TRID: bus.NewTRID(), Frame: k.frame}, bus.CodeNotFound},
		"another identity":   {msgbus.Delivery{Service: "Test/Room", Identity: "x", Frame: k.frame}, bus.CodeNotFound},
		"nothing":            {msgbus.Delivery{Service: "Test/Room", All: true}, bus.CodeInvalidArgument},
		"half a frame":       {msgbus.Delivery{Service: "Test/Room", All: true, Frame: k.frame[:8]}, bus.CodeInvalidArgument},
		"two frames":         {msgbus.Delivery{Service: "Test/Room", All: true, Frame: append(slices.Clone(k.frame), 0xc0)}, bus.CodeInvalidArgument},
		"no text":            {msgbus.Delivery{Service: "Test/Room", All: true, Frame: wrongText}, 0},
		"for nobody":         {msgbus.Delivery{Service: "Test/Room", Frame: k.frame}, bus.CodeInvalidArgument},
		"for all and one":    {msgbus.Delivery{Service: "Test/Room", All: true, TRID: trid, Frame: k.frame}, bus.CodeInvalidArgument},
		"for one in a group": {msgbus.Delivery{Service: "Test/Room", TRID: trid, Group: "g", Frame: k.frame}, bus.CodeInvalidArgument},
		"too large":          {msgbus.Delivery{Service: "Test/Room", All: true, Frame: tooLarge}, bus.CodeInvalidMessage},
		"from clients only":  {msgbus.Delivery{Service: "Test/Room", All: true, Frame: asPong}, bus.CodeUnimplemented},
	} {
		err := srv.Deliver(tt.d)
		if err == nil || (tt.code != 0 && bus.CodeOf(err) != tt.code) {
			t.Errorf("%s: got %v, want %s", what, err, tt.code)
		}
	}
	if !clients[0].Connected() {
		t.Error("a wrong delivery ended a connection")
	}
	if err := clients[0].Send(t.Context(), Ping{}); err != nil {
		t.Error(err)
	}
	none(t, notes[0], "a note of a wrong delivery")
}
