package model_test

import (
	"crypto/tls"
	"flag"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"busd/bus"
	"busd/bustest"
)

var (
	replaySeed = flag.Uint64("seed", 0, "replay one history of TestModel, -histories times, and tell its story; 0: all")
	histories  = flag.Int("histories", modelHistories, "how many histories TestModel plays")
)

// TestModel plays random histories of clients and services: messages of all kinds
// in both directions, handlers that take their time, fail, ask and send; lines that
// are cut, stalled and spoilt at any byte; moves, drains, restarts, clones. It looks
// whether all of it came to a good end.
//
// Goroutines do not run the same twice: a seed that failed once is to be replayed
// some times.
func TestModel(t *testing.T) {
	n := uint64(*histories)
	if testing.Short() {
		n = min(n, 100)
	}
	certs := newCredentials(t)
	var sum tally
	var before uint64
	for i, failed := uint64(0), 0; i < n && failed < maxFailed; i++ {
		if i == warm {
			before = heap()
		}
		seed := i + 1
		if *replaySeed != 0 {
			seed = *replaySeed
		}
		if breaches := playOne(t, seed, certs, none, &sum); len(breaches) > 0 {
			failed++
			t.Errorf("seed %d:\n%s\nreplay with: go test ./test/model -run 'TestModel$' -seed=%d -histories=20",
				seed, strings.Join(breaches, "\n"), seed)
		}
	}
	if after := heap(); n > 2*warm && after > before+maxGrowth {
		t.Errorf("the heap grew from %d to %d bytes in %d histories", before, after, n-warm)
	}
	t.Logf("%d histories: %+v", n, sum)
	if n >= 500 && *replaySeed == 0 && sum.missing() {
		t.Errorf("some of it never happened: %+v", sum)
	}
}

const (
	// warm is after how many histories the heap is as large as it gets, but for
	// maxGrowth bytes.
	warm      = 50
	maxGrowth = 4 << 20
)

// heap returns how much memory is in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// maxFailed is after how many histories that failed there is enough to do.
const maxFailed = 5

// newCredentials makes the clients' certificates, which takes longer than a
// history.
func newCredentials(t *testing.T) map[string]*tls.Config {
	certs := map[string]*tls.Config{}
	for _, peer := range []string{"p0", "p1"} {
		certs[peer] = bustest.ClientTLS(t, peer)
		certs[peer].CurvePreferences = []tls.CurveID{tls.X25519} // the quickest
	}
	return certs
}

// playOne plays one history in a bubble of its own.
func playOne(t *testing.T, seed uint64, certs map[string]*tls.Config, broken canary, sum *tally) (breaches []string) {
	defer func() {
		if v := recover(); v != nil { // also of a bubble in which nothing moves any more
			t.Logf("seed %d: %v", seed, v)
			panic(v)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(t, seed, certs)
		h.ledger.canary, h.ledger.traced = broken, *replaySeed != 0
		h.play()
		breaches = h.ledger.breaches
		sum.add(h)
		if len(breaches) > 0 && h.ledger.traced {
			t.Log(fmt.Sprintf("%+v\n", h.options()), strings.Join(h.ledger.story, "\n"))
		}
	})
	return breaches
}

// A tally is what has happened in all histories.
type tally struct {
	letters, handled, cuts, moves, kills, drains, closes, clones int
	dials, resumed, repeated, replaced, volatile                 uint64
	epochs, gone, overflowed                                     int
}

func (s *tally) missing() bool {
	return s.letters == 0 || s.handled == 0 || s.cuts == 0 || s.moves == 0 || s.kills == 0 || s.drains == 0 || s.closes == 0 ||
		s.clones == 0 || s.resumed == 0 || s.repeated == 0 || s.replaced == 0 || s.volatile == 0 || s.epochs == 0 || s.gone == 0 ||
		s.overflowed == 0
}

func (s *tally) add(h *history) {
	o := h.seen
	s.cuts, s.moves, s.kills, s.drains = s.cuts+o.cuts, s.moves+o.moves, s.kills+o.kills, s.drains+o.drains
	s.closes, s.clones = s.closes+o.closes, s.clones+o.clones
	s.dials += uint64(len(h.dials))
	s.letters += len(h.ledger.letters)
	for _, l := range h.ledger.letters {
		s.handled += len(l.runs)
	}
	for _, a := range h.agents {
		s.epochs += len(a.epochs)
	}
	for _, e := range h.all {
		for _, st := range e.srv.Stats() {
			s.resumed, s.repeated = s.resumed+st.Resumed, s.repeated+st.Repeated
			s.replaced, s.volatile = s.replaced+st.Replaced, s.volatile+st.Volatile
		}
		for _, r := range e.rolls {
			for _, session := range r.sessions {
				s.gone += session.gone
				if bus.CodeOf(session.why) == bus.CodeSlowConsumer {
					s.overflowed++
				}
			}
		}
	}
}
