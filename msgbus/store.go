package msgbus

// A sessionStore keeps the sessions of a node's services. This one keeps them in
// the memory of this process; one that nodes share would take its place here.
// Its methods are called one at a time.
type sessionStore interface {
	// keep takes a session that begins. An identity has one at a time with a
	// service.
	keep(s *agentSession)
	// of returns the session of an identity with a service, or nil. It may have
	// ended, and callbacks of the service may run for it still.
	of(h holder) *agentSession
	// ended keeps in mind why a session has ended, or is about to; the first word
	// counts.
	ended(s *agentSession, reason string)
	// forget lets go of a session for which nothing runs any more.
	forget(s *agentSession)
	// whyGone says why there is no session of that name; empty: nothing is known
	// of it any more.
	whyGone(id string) string
}

// rememberedEnds is of how many ended sessions it is known why.
const rememberedEnds = 10_000

// memoryStore is the store of a node that shares its sessions with nobody.
type memoryStore struct {
	byHolder map[holder]*agentSession
	ends     map[string]string // by name
	order    []string          // of ends, the oldest first
}

func newMemoryStore() *memoryStore {
	return &memoryStore{byHolder: map[holder]*agentSession{}, ends: map[string]string{}}
}

func (m *memoryStore) keep(s *agentSession) { m.byHolder[s.holder()] = s }

func (m *memoryStore) of(h holder) *agentSession { return m.byHolder[h] }

func (m *memoryStore) forget(s *agentSession) {
	if m.byHolder[s.holder()] == s { // else another has its place
		delete(m.byHolder, s.holder())
	}
}

func (m *memoryStore) ended(s *agentSession, reason string) {
	if reason == reasonExpired || m.ends[s.id] != "" {
		return // the one is what a name of this node means of which nothing is known
	}
	if len(m.order) == rememberedEnds {
		delete(m.ends, m.order[0])
		m.order = m.order[1:]
	}
	m.ends[s.id] = reason
	m.order = append(m.order, s.id)
}

func (m *memoryStore) whyGone(id string) string { return m.ends[id] }
