package msgbus

import (
	"time"

	"busd/bus"
)

// What an identity may do so many times in strikeTime before it is refused.
const (
	// maxGuesses is how many wrong tokens it may bring for a session that is
	// there.
	maxGuesses = 5
	// maxTakeovers is how many times it may take the place of a connection that
	// lives: two clients that share an identity and do not stop at superseded
	// would fight for ever.
	maxTakeovers = 10
	strikeTime   = time.Minute
	// knownStrikes bounds of how many identities strikes are counted.
	knownStrikes = 10_000
)

// strikes count what an identity had better not do.
type strikes struct {
	most int
	what string
	of   map[holder]*strike
}

type strike struct {
	since time.Time
	count int
}

func newStrikes(most int, what string) strikes {
	return strikes{most: most, what: what, of: map[holder]*strike{}}
}

// add counts one, and returns why the client is refused if it is one too many.
func (s *strikes) add(h holder, now time.Time) *bus.Error {
	found := s.of[h]
	if found == nil || now.Sub(found.since) > strikeTime {
		if found == nil && !s.room(now) {
			return nil // too many to count: nobody is refused for others' sake
		}
		found = &strike{since: now}
		s.of[h] = found
	}
	if found.count++; found.count <= s.most {
		return nil
	}
	return bus.Errorf(bus.CodeResourceExhausted, "%s: at most %d in %s", s.what, s.most, strikeTime).
		WithRetry(bus.Retry{When: bus.RetryAfter, After: strikeTime})
}

// room forgets what is over, if it must, and tells whether one more can be
// counted.
func (s *strikes) room(now time.Time) bool {
	if len(s.of) < knownStrikes {
		return true
	}
	for h, found := range s.of {
		if now.Sub(found.since) > strikeTime {
			delete(s.of, h)
		}
	}
	return len(s.of) < knownStrikes
}
