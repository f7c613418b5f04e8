package msgbus

import (
	"sync"

	"busd/bus"
)

// registry knows who is connected to this node. The rule for an identity that
// connects again lives here and nowhere else.
type registry struct {
	mu sync.Mutex
	// Guarded by mu.
	byTRID  map[bus.TRID]*Conn // welcomed, or about to be
	newest  map[holder]*Conn   // from the hello on
	service map[*Service]map[*Conn]struct{}
	lists   map[*Service][]*Conn // of service, made when asked for; must not be changed
}

// holder is what one connection at a time may hold.
type holder struct {
	service  *Service
	identity bus.Identity
}

func newRegistry() *registry {
	return &registry{
		byTRID:  map[bus.TRID]*Conn{},
		newest:  map[holder]*Conn{},
		service: map[*Service]map[*Conn]struct{}{},
		lists:   map[*Service][]*Conn{},
	}
}

// claim makes c the newest connection of its identity, unless the service lets
// the older win. It returns the older one, if there is any.
func (r *registry) claim(c *Conn) (older *Conn, claimed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := holder{c.service, c.identity}
	older = r.newest[key]
	if older != nil && c.service.Duplicate == OlderWins && older.link.Cause() == nil {
		return older, false
	}
	r.newest[key] = c
	return older, true
}

// add makes c known to senders.
func (r *registry) add(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byTRID[c.trid] = c
	if r.service[c.service] == nil {
		r.service[c.service] = map[*Conn]struct{}{}
	}
	r.service[c.service][c] = struct{}{}
	delete(r.lists, c.service)
}

// release lets go of c's identity, unless a newer connection holds it.
func (r *registry) release(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := (holder{c.service, c.identity}); r.newest[key] == c {
		delete(r.newest, key)
	}
}

// remove makes c unknown to senders.
func (r *registry) remove(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byTRID, c.trid)
	delete(r.service[c.service], c)
	delete(r.lists, c.service)
}

func (r *registry) conn(t bus.TRID) (*Conn, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.byTRID[t]
	return c, ok
}

func (r *registry) identity(s *Service, i bus.Identity) (*Conn, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.newest[holder{s, i}]
	if c == nil || r.byTRID[c.trid] != c {
		return nil, false
	}
	return c, true
}

// conns returns a service's connections; the caller must not change the list.
func (r *registry) conns(s *Service) []*Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, ok := r.lists[s]
	if !ok {
		list = make([]*Conn, 0, len(r.service[s]))
		for c := range r.service[s] {
			list = append(list, c)
		}
		r.lists[s] = list
	}
	return list
}

// all returns every connection of this node.
func (r *registry) all() []*Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Conn, 0, len(r.byTRID))
	for _, c := range r.byTRID {
		all = append(all, c)
	}
	return all
}
