package msgbus

import (
	"context"
	"sync"

	"busd/internal/wire"
	"busd/schema"
)

// A Group is a named set of a service's connections. A connection leaves all
// its groups when it is dropped. Its methods may be called concurrently.
type Group struct {
	service *Service
	name    string
}

// groups are a service's groups with members. A group that has none costs
// nothing.
type groups struct {
	mu sync.Mutex
	// Guarded by mu.
	members map[string]map[*Conn]struct{}
	of      map[*Conn]map[string]struct{}
}

// Group returns the service's group of that name; it need not have members.
func (s *Service) Group(name string) *Group { return &Group{service: s, name: name} }

// Name returns the group's name.
func (g *Group) Name() string { return g.name }

// Add makes a connection a member. It does nothing if the connection is one
// already, is another service's, or has been dropped.
func (g *Group) Add(c *Conn) {
	if c.service != g.service {
		return
	}
	all := &g.service.groups
	all.mu.Lock()
	defer all.mu.Unlock()
	if c.link.Cause() != nil {
		return // leave has run, or will find it
	}
	if all.members == nil {
		all.members, all.of = map[string]map[*Conn]struct{}{}, map[*Conn]map[string]struct{}{}
	}
	if all.members[g.name] == nil {
		all.members[g.name] = map[*Conn]struct{}{}
	}
	if all.of[c] == nil {
		all.of[c] = map[string]struct{}{}
	}
	all.members[g.name][c] = struct{}{}
	all.of[c][g.name] = struct{}{}
}

// Remove ends a connection's membership; it does nothing if there is none.
func (g *Group) Remove(c *Conn) {
	all := &g.service.groups
	all.mu.Lock()
	defer all.mu.Unlock()
	all.removeLocked(g.name, c)
}

// Conns returns the members on this node, in no order.
func (g *Group) Conns() []*Conn {
	all := &g.service.groups
	all.mu.Lock()
	defer all.mu.Unlock()
	conns := make([]*Conn, 0, len(all.members[g.name]))
	for c := range all.members[g.name] {
		conns = append(conns, c)
	}
	return conns
}

// Broadcast sends to all members, on all nodes, as [Service.Broadcast] does to
// all connections.
func (g *Group) Broadcast(ctx context.Context, m schema.Message) error {
	s := g.service
	server, err := s.home()
	if err != nil {
		return err
	}
	frame, err := s.frame(m, wire.DataOptions{})
	if err != nil {
		return err
	}
	s.broadcast(g.Conns(), m.MessageName(), frame)
	return server.cfg.Relay.Broadcast(ctx, s.Name(), g.name, frame)
}

// leave ends all memberships of a connection.
func (all *groups) leave(c *Conn) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for name := range all.of[c] {
		all.removeLocked(name, c)
	}
}

func (all *groups) removeLocked(name string, c *Conn) {
	delete(all.members[name], c)
	if len(all.members[name]) == 0 {
		delete(all.members, name)
	}
	delete(all.of[c], name)
	if len(all.of[c]) == 0 {
		delete(all.of, c)
	}
}
