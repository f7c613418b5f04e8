package msgbus

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// LatencyBounds are the upper bounds of the buckets of handler times, in
// seconds; one more bucket has no bound.
var LatencyBounds = [...]float64{0.00001, 0.0001, 0.001, 0.01, 0.1, 1, 10}

// MessageStats counts one message type since the server was made.
type MessageStats struct {
	Message           string
	In, Out           uint64 // messages
	InBytes, OutBytes uint64 // on the wire
	Failed            uint64 // here: refused, or its handler returned an error
	Latency           [len(LatencyBounds) + 1]uint64
	LatencySum        time.Duration
}

// ServiceStats counts one service since the server was made, but for Conns,
// which is now.
type ServiceStats struct {
	Service  string
	Conns    int
	Connects uint64
	Dropped  map[bus.Code]uint64
	Refused  map[bus.Code]uint64
	Messages []MessageStats
	// Calls counts the calls over connections that were answered with a result,
	// CallsFailed those that were answered with an error.
	Calls, CallsFailed uint64
	// Sessions is how many there are now, with a connection or without.
	Sessions int
	// Resumed counts the connections that went on with a session, NotResumed, by
	// the reason that the client was told, those that asked for one and got
	// another.
	Resumed    uint64
	NotResumed map[string]uint64
	// Repeated are frames that were written again after a resume.
	Repeated uint64
	// Volatile counts messages of that class that found no room, Replaced those of
	// class latest whose place a newer one took.
	Volatile, Replaced uint64
	// Queued is how much waits to be written to clients, or to be acknowledged
	// by them, and QueuedMax the same for the session where it is most; in
	// bytes.
	Queued, QueuedMax int
}

// messageStats are the live counters of one message type.
type messageStats struct {
	// How many were handled is the sum of latency.
	out, inBytes, outBytes, failed atomic.Uint64
	latency                        [len(LatencyBounds) + 1]atomic.Uint64
	latencySum                     atomic.Int64
}

func (m *messageStats) read(into *MessageStats) {
	into.Out, into.InBytes, into.OutBytes = m.out.Load(), m.inBytes.Load(), m.outBytes.Load()
	into.Failed, into.LatencySum = m.failed.Load(), time.Duration(m.latencySum.Load())
	for i := range m.latency {
		into.Latency[i] = m.latency[i].Load()
		into.In += into.Latency[i]
	}
}

// serviceStats are the live counters of a service. Counters exist for the
// contract's messages only: a peer cannot make new ones.
type serviceStats struct {
	contract *wire.Contract // these two are fixed once the server is made
	messages []messageStats // by index
	connects atomic.Uint64
	resumed  atomic.Uint64

	calls, callsFailed atomic.Uint64

	mu sync.Mutex
	// Guarded by mu.
	drops, refusals map[bus.Code]uint64
	notResumed      map[string]uint64
}

func (s *serviceStats) init(contract *wire.Contract) {
	s.contract, s.messages = contract, make([]messageStats, contract.Size())
	s.drops, s.refusals = map[bus.Code]uint64{}, map[bus.Code]uint64{}
	s.notResumed = map[string]uint64{}
}

func (s *serviceStats) opened(resumed bool, reason string) {
	s.connects.Add(1)
	if resumed {
		s.resumed.Add(1)
	}
	if reason != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notResumed[reason]++
	}
}

func (s *serviceStats) handled(message *wire.Message, size int, took time.Duration) {
	m := &s.messages[message.Index()]
	m.inBytes.Add(uint64(size))
	m.latencySum.Add(int64(took))
	m.latency[bucketOf(took)].Add(1)
}

// bucketOf says in which bucket a handler's time counts.
func bucketOf(took time.Duration) int {
	for i, bound := range latencyBounds {
		if took <= bound {
			return i
		}
	}
	return len(latencyBounds)
}

// latencyBounds are LatencyBounds as durations.
var latencyBounds = func() (d [len(LatencyBounds)]time.Duration) {
	for i, bound := range LatencyBounds {
		d[i] = time.Duration(math.Round(bound * float64(time.Second)))
	}
	return d
}()

// clock is the time since the program began. It is read twice for each message, and
// costs two thirds of what time.Now does, which reads the date too.
func clock() time.Duration { return time.Since(began) }

var began = time.Now()

// sent counts count messages, of size bytes together.
func (s *serviceStats) sent(message *wire.Message, count, size int) {
	m := &s.messages[message.Index()]
	m.out.Add(uint64(count))
	m.outBytes.Add(uint64(size))
}

func (s *serviceStats) failed(message string) {
	if m, ok := s.contract.Message(message); ok {
		s.messages[m.Index()].failed.Add(1)
	}
}

func (s *serviceStats) dropped(c bus.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops[c]++
}

func (s *serviceStats) refused(c bus.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals[c]++
}

// SessionsAtRest returns how many sessions wait for their clients to come back,
// and how many bytes they keep meanwhile, which [Config.MaxSessionMemory] bounds.
func (s *Server) SessionsAtRest() (sessions, bytes int) { return s.registry.hoard.total() }

// Stats returns what the server has counted, for each service.
func (s *Server) Stats() []ServiceStats {
	all := make([]ServiceStats, 0, len(s.list))
	for _, svc := range s.list {
		all = append(all, svc.snapshot())
	}
	return all
}

func (s *Service) snapshot() ServiceStats {
	conns := s.Conns()
	st := ServiceStats{Service: s.Name(), Conns: len(conns), Connects: s.stats.connects.Load()}
	s.stats.mu.Lock()
	st.Dropped, st.Refused = maps.Clone(s.stats.drops), maps.Clone(s.stats.refusals)
	st.NotResumed = maps.Clone(s.stats.notResumed)
	s.stats.mu.Unlock()
	st.Resumed = s.stats.resumed.Load()
	st.Calls, st.CallsFailed = s.stats.calls.Load(), s.stats.callsFailed.Load()
	sessions, counts := s.sessions()
	st.Sessions = len(sessions)
	for _, each := range sessions {
		n := each.stream.Queued()
		st.Queued += n
		st.QueuedMax = max(st.QueuedMax, n)
		counts.Add(each.stream.Counts())
	}
	st.Repeated, st.Volatile, st.Replaced = counts.Repeated, counts.Dropped, counts.Replaced
	for _, d := range s.Schema.Messages() {
		m := MessageStats{Message: d.Name}
		if msg, ok := s.contract.Message(d.Name); ok {
			s.stats.messages[msg.Index()].read(&m)
		}
		st.Messages = append(st.Messages, m)
	}
	return st
}
