package msgbus

import (
	"context"
	"sync"

	"busd/schema"
)

// A Group is a named set of a service's clients. A client leaves all its groups
// when its session ends. Its methods may be called concurrently.
type Group struct {
	service *Service
	name    string
}

// groups are a service's groups with members. A group that has none costs
// nothing.
type groups struct {
	mu sync.Mutex
	// Guarded by mu.
	members map[string]map[*agentSession]struct{}
	of      map[*agentSession]map[string]struct{}
}

// Group returns the service's group of that name; it need not have members.
func (s *Service) Group(name string) *Group { return &Group{service: s, name: name} }

// Name returns the group's name.
func (g *Group) Name() string { return g.name }

// Add makes a connection's client a member, until its session ends. It does
// nothing if the client is one already, is another service's, or its session has
// ended.
func (g *Group) Add(c *Conn) {
	if c.service != g.service {
		return
	}
	all := &g.service.groups
	all.mu.Lock()
	defer all.mu.Unlock()
	s := c.session
	if s.stream.Cause() != nil {
		return // leave has run, or will find it
	}
	if all.members == nil {
		all.members, all.of = map[string]map[*agentSession]struct{}{}, map[*agentSession]map[string]struct{}{}
	}
	if all.members[g.name] == nil {
		all.members[g.name] = map[*agentSession]struct{}{}
	}
	if all.of[s] == nil {
		all.of[s] = map[string]struct{}{}
	}
	all.members[g.name][s] = struct{}{}
	all.of[s][g.name] = struct{}{}
}

// Remove ends a client's membership; it does nothing if there is none.
func (g *Group) Remove(c *Conn) {
	all := &g.service.groups
	all.mu.Lock()
	defer all.mu.Unlock()
	all.removeLocked(g.name, c.session)
}

// Conns returns the members that are connected to this node, in no order.
func (g *Group) Conns() []*Conn {
	server := g.service.server.Load()
	if server == nil {
		return nil
	}
	members := g.sessions()
	conns := make([]*Conn, 0, len(members))
	for _, s := range members {
		if c := server.registry.connOf(s); c != nil {
			conns = append(conns, c)
		}
	}
	return conns
}

// sessions returns the members, those without a connection too.
func (g *Group) sessions() []*agentSession {
	all := &g.service.groups
	all.mu.Lock()
	defer all.mu.Unlock()
	return keysOf(all.members[g.name])
}

// Broadcast sends to all members, on all nodes, as [Service.Broadcast] does to
// all connections.
func (g *Group) Broadcast(ctx context.Context, m schema.Message) error {
	s := g.service
	server, err := s.home()
	if err != nil {
		return err
	}
	frame, delivery, err := s.frame(m)
	if err != nil {
		return err
	}
	s.broadcast(g.sessions(), m.MessageName(), frame, delivery)
	return server.cfg.Relay.Broadcast(ctx, s.Name(), g.name, frame)
}

// leave ends all memberships of a client.
func (all *groups) leave(s *agentSession) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for name := range all.of[s] {
		all.removeLocked(name, s)
	}
}

func (all *groups) removeLocked(name string, s *agentSession) {
	delete(all.members[name], s)
	if len(all.members[name]) == 0 {
		delete(all.members, name)
	}
	delete(all.of[s], name)
	if len(all.of[s]) == 0 {
		delete(all.of, s)
	}
}
