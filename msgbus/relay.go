package msgbus

import (
	"context"

	"busd/bus"
	"busd/internal/wire"
	"busd/schema"
)

// A Relay reaches connections on other nodes. A single node has none and needs
// none. Its methods may be called concurrently, and must not keep frame: it is
// the message as it will cross the socket, encoded and checked.
type Relay interface {
	// Announce says that a connection is here, Withdraw that it no longer is.
	// They return at once.
	Announce(service string, trid bus.TRID, identity bus.Identity)
	Withdraw(service string, trid bus.TRID, identity bus.Identity)
	// Send and SendTo hand a frame to the node that holds the connection, which
	// gives it to [Server.Deliver]. Where nobody does, the error has
	// [bus.CodeNotFound].
	Send(ctx context.Context, service string, to bus.TRID, frame []byte) error
	SendTo(ctx context.Context, service string, to bus.Identity, frame []byte) error
	// Broadcast hands a frame to every other node; group is empty for all
	// connections of the service.
	Broadcast(ctx context.Context, service, group string, frame []byte) error
}

// A Delivery is a frame that a [Relay] brought. Exactly one of TRID, Identity
// and All is set; with All, Group may name a group.
type Delivery struct {
	Service  string
	TRID     bus.TRID
	Identity bus.Identity
	All      bool
	Group    string
	// Frame is what the relay of another node was given.
	Frame []byte
}

func (d *Delivery) isAddressed() bool {
	ways := 0
	for _, way := range []bool{d.TRID != "", d.Identity != "", d.All} {
		if way {
			ways++
		}
	}
	return ways == 1 && (d.All || d.Group == "")
}

// Deliver gives a frame from another node to the connections here that it is
// for. The frame is checked like everything that comes from outside. It waits
// for nobody: the session of a client that has no room ends with
// [bus.CodeSlowConsumer]. Where nobody is meant, the error has
// [bus.CodeNotFound], but for a broadcast. A delivery that does not say for
// whom it is, or says it twice, has [bus.CodeInvalidArgument].
func (s *Server) Deliver(d Delivery) error {
	svc, ok := s.services[d.Service]
	if !ok {
		return bus.Errorf(bus.CodeNotFound, "no service %s on this node", d.Service)
	}
	if !d.isAddressed() {
		return bus.Errorf(bus.CodeInvalidArgument, "a delivery wants exactly one of TRID, Identity and All, and a Group only with All")
	}
	m, err := svc.checkFrame(d.Frame)
	if err != nil {
		return err
	}
	var to []*agentSession
	switch {
	case d.All && d.Group == "":
		to = s.registry.sessions(svc)
	case d.All:
		to = svc.Group(d.Group).sessions()
	case d.TRID != "":
		if c, ok := svc.Conn(d.TRID); ok {
			to = []*agentSession{c.session}
		}
	default:
		if found, ok := s.registry.identity(svc, d.Identity); ok {
			to = []*agentSession{found}
		}
	}
	if len(to) == 0 && !d.All {
		return bus.Errorf(bus.CodeNotFound, "no such connection on this node")
	}
	svc.broadcast(to, m.Name(), d.Frame, wire.DeliveryOf(m, d.Frame))
	return nil
}

// checkFrame checks a frame that comes without its number.
func (s *Service) checkFrame(frame []byte) (*wire.Message, error) {
	if len(frame) < 2 {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "a relayed frame of %d bytes", len(frame))
	}
	numbered := wire.AppendNumber(nil, frame, 1)
	f, err := wire.Decoder{Contract: s.contract, From: schema.FromService, Limit: DefaultMaxMessage}.Next(numbered)
	switch {
	case err != nil:
		return nil, bus.Wrap(bus.CodeInvalidArgument, err, "a relayed frame that is none")
	case f.Kind != wire.Data || f.Size != len(numbered):
		return nil, bus.Errorf(bus.CodeInvalidArgument, "a relayed frame must be one data frame, got %s", f.Kind)
	case f.Fault != nil:
		return nil, f.Fault
	}
	return f.Message, nil
}

// alone is the relay of a node that knows no other.
type alone struct{}

func (alone) Announce(string, bus.TRID, bus.Identity) {}
func (alone) Withdraw(string, bus.TRID, bus.Identity) {}

func (alone) Send(_ context.Context, service string, to bus.TRID, _ []byte) error {
	return bus.Errorf(bus.CodeNotFound, "no connection %s to %s", to, service)
}

func (alone) SendTo(_ context.Context, service string, to bus.Identity, _ []byte) error {
	return bus.Errorf(bus.CodeNotFound, "%s is not connected to %s", to, service)
}

func (alone) Broadcast(context.Context, string, string, []byte) error { return nil }
