package msgbus

import (
	"cmp"
	"slices"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
)

// leastCut is the least that a session must keep for its client, in bytes, to be
// given up where memory is short: to give up others helps nobody.
const leastCut = 64 << 10

// DropSlowest is for a process that is short of memory. It ends sessions with
// [bus.CodeSlowConsumer], those first for which most is kept that their clients
// have not taken, until about so many bytes will be free, and returns how many it
// has ended and what they kept. Those that keep less than 64 KiB live on, whatever
// the need. It waits for nobody: connections are cut off, and the clients hear
// of it when they come back, as of any session that has overflowed.
func (s *Server) DropSlowest(bytes int) (sessions, freed int) {
	type slow struct {
		*agentSession
		queued int
	}
	var all []slow
	for _, each := range s.registry.allSessions() {
		if n := each.stream.Queued(); n >= leastCut && each.stream.Cause() == nil {
			all = append(all, slow{each, n})
		}
	}
	slices.SortFunc(all, func(a, b slow) int { return cmp.Compare(b.queued, a.queued) })
	for _, each := range all {
		if freed >= bytes {
			break
		}
		kept := max(each.queued, each.stream.Memory())
		each.stream.End(bus.Errorf(bus.CodeSlowConsumer, "the server is short of memory, and much is kept for this client"))
		if c := s.registry.connOf(each.agentSession); c != nil {
			c.link.Abort() // who reads nothing reads no goodbye
		}
		s.log.Info("session given up: memory is short", keys.Service(each.service.Name()), keys.Identity(each.identity), zap.Int("bytes", kept))
		sessions++
		freed += kept
	}
	return sessions, freed
}
