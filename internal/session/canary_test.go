package session

import (
	"slices"
	"testing"

	"busd/bus"
	"busd/internal/wire"
)

// doors are what a player does with its session where a canary breaks it.
type doors struct {
	received func(s *Session, f *wire.Frame) (fresh bool, err *bus.Error)
	acked    func(s *Session, seen, released uint64) ([]uint64, *bus.Error)
	resume   func(s *Session, seen, offered uint64) ([]uint64, *bus.Error)
	revoked  func(s *Session) []uint64
	replace  func(s *Session, key string, frame []byte) bool
	unsent   func(s *Session, f func(frame []byte, tag uint64))
}

// whole are the doors of a session that nobody broke.
var whole = doors{
	received: func(s *Session, f *wire.Frame) (bool, *bus.Error) {
		return s.Received(f.N, f.Size, f.Kind.Consumes(), f.AckAtOnce())
	},
	acked:   (*Session).Acked,
	resume:  (*Session).Resume,
	revoked: (*Session).Revoked,
	replace: (*Session).Replace,
	unsent:  (*Session).EachUnsent,
}

// canaries are ways to break a session.
var canaries = []struct {
	name  string
	smash func(d *doors)
}{
	{"duplicates are handed up", func(d *doors) {
		d.received = func(s *Session, f *wire.Frame) (bool, *bus.Error) {
			_, err := whole.received(s, f)
			return true, err
		}
	}},
	{"what comes again consumes credit again", func(d *doors) {
		d.received = func(s *Session, f *wire.Frame) (bool, *bus.Error) {
			fresh, err := whole.received(s, f)
			if !fresh && f.Kind.Consumes() {
				s.consumed += Cost(f.Size)
				s.Release(f.Size)
			}
			return fresh, err
		}
	}},
	{"on a resumed line no number may be left out", func(d *doors) {
		d.received = func(s *Session, f *wire.Frame) (bool, *bus.Error) {
			if f.N > s.next {
				return false, bus.Errorf(bus.CodeProtocolError, "want %d", s.next)
			}
			return whole.received(s, f)
		}
	}},
	{"an ack forgets one frame too many", func(d *doors) {
		d.acked = func(s *Session, seen, released uint64) ([]uint64, *bus.Error) {
			return s.Acked(min(seen+1, s.written), released)
		}
	}},
	{"a resume forgets one frame too many", func(d *doors) {
		d.resume = func(s *Session, seen, offered uint64) ([]uint64, *bus.Error) {
			return s.Resume(min(seen+1, s.written), offered)
		}
	}},
	{"a resume writes nothing again", func(d *doors) {
		d.resume = func(s *Session, seen, offered uint64) ([]uint64, *bus.Error) {
			tags, err := s.Resume(seen, offered)
			s.again = s.againTo + 1
			return tags, err
		}
	}},
	{"a resume leaves the first frame out", func(d *doors) {
		d.resume = func(s *Session, seen, offered uint64) ([]uint64, *bus.Error) {
			tags, err := s.Resume(seen, offered)
			if s.Repeated() > 1 {
				s.again++
			}
			return tags, err
		}
	}},
	{"a resume loses tags", func(d *doors) {
		d.resume = func(s *Session, seen, offered uint64) ([]uint64, *bus.Error) {
			_, err := s.Resume(seen, offered)
			return nil, err
		}
	}},
	{"a resume does not say anew what this end has", func(d *doors) {
		d.resume = func(s *Session, seen, offered uint64) ([]uint64, *bus.Error) {
			tags, err := s.Resume(seen, offered)
			s.untold = false
			return tags, err
		}
	}},
	{"an ack that was asked for is not asked for again", func(d *doors) {
		d.resume = func(s *Session, seen, offered uint64) ([]uint64, *bus.Error) {
			asked := s.askedAt
			tags, err := s.Resume(seen, offered)
			s.askedAt = asked
			return tags, err
		}
	}},
	{"a resume does not begin again what was held", func(d *doors) {
		d.resume = func(s *Session, seen, offered uint64) ([]uint64, *bus.Error) {
			held := s.held
			tags, err := s.Resume(seen, offered)
			s.held = held
			return tags, err
		}
	}},
	{"a cancel is not said again", func(d *doors) {
		d.revoked = func(*Session) []uint64 { return nil }
	}},
	{"the older of a key stays", func(d *doors) {
		d.replace = func(s *Session, key string, _ []byte) bool { return s.latest[key] != nil }
	}},
	{"frames grow without bound as they are replaced", func(d *doors) {
		d.replace = func(s *Session, key string, frame []byte) bool {
			old := s.latest[key]
			if old != nil {
				s.replace(old, frame)
			}
			return old != nil
		}
	}},
	{"what was taken back is handed over", func(d *doors) {
		d.unsent = func(s *Session, f func([]byte, uint64)) {
			s.lanes[Bulk].eachUnsent(func(r record, frame []byte) { f(frame, r.tag) })
		}
	}},
	{"the hand-over is out of order", func(d *doors) {
		d.unsent = func(s *Session, f func([]byte, uint64)) {
			var all []func()
			s.EachUnsent(func(frame []byte, tag uint64) { all = append(all, func() { f(frame, tag) }) })
			for _, each := range slices.Backward(all) {
				each()
			}
		}
	}},
}

// TestModelFindsBrokenSessions plays histories with sessions that are broken on
// purpose: what the model says of whole ones is worth what it finds here.
func TestModelFindsBrokenSessions(t *testing.T) {
	t.Parallel()
	for _, tt := range canaries {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := whole
			tt.smash(&d)
			const enough = 10_000
			for seed := uint64(1); seed <= enough; seed++ {
				if err := playHistory(seed, &d); err != nil {
					t.Logf("history %d: %v", seed, err)
					return
				}
			}
			t.Errorf("%d histories found nothing wrong", enough)
		})
	}
}
