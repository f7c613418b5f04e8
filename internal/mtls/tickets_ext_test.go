package mtls_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/internal/mtls"
)

func TestSessionsSurviveARestart(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	agent, other := f.agent(), f.agent()
	first := f.start(t)
	wantResumed(t, first, agent, false, "first visit")
	wantResumed(t, first, other, false, "first visit of another")

	info, err := os.Stat(f.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	if entries, err := os.ReadDir(f.dir); err != nil || len(entries) != 4 {
		t.Errorf("got %v, %v, want nothing beside the four files", entries, err)
	}
	before := f.text(t)
	second := f.start(t)
	if f.text(t) != before {
		t.Error("a restart changed the file")
	}
	wantResumed(t, second, agent, true, "after a restart")
	f.server(t, f.p)
	third := f.start(t)
	wantResumed(t, third, other, true, "after two, and with a new certificate")

	// Every check runs on resumed sessions too.
	spiffe, err := mtls.NewNaming(mtls.KindSPIFFE)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := mtls.NewSource(f.files, mtls.Policy{Now: f.now, Naming: spiffe})
	if err != nil {
		t.Fatal(err)
	}
	m := meet(t, pinned.Config(), agent.config(t))
	if m.serverErr == nil || !strings.Contains(m.serverErr.Error(), "spiffe") {
		t.Errorf("got %v, want a name refused that another policy allowed", m.serverErr)
	}
	if told := f.warnings(); told != nil {
		t.Errorf("got %q, want no warning", told)
	}
}

// Without a file nothing is kept.
func TestTicketKeysInMemory(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	f.files.Tickets = mtls.Tickets{}
	agent := f.agent()
	for range 2 {
		s, err := mtls.NewSource(f.files, mtls.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		wantResumed(t, s, agent, false, "first visit after a start")
		wantResumed(t, s, agent, true, "second visit")
	}
	if _, err := os.Stat(f.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want no file", err)
	}
}

func TestTicketKeysEndWithTheirCAs(t *testing.T) {
	t.Parallel()
	f, next := newFarm(t), newPKIFor(t, "next CA", day)
	agent := f.agent()
	wantResumed(t, f.start(t), agent, false, "first visit")
	old := f.keys(t)[0]

	// A restart with one more CA.
	f.ca(t, f.p, next)
	s := f.start(t)
	if strings.Contains(f.text(t), old) {
		t.Error("the key of the old CAs is still in the file")
	}
	wantResumed(t, s, agent, false, "with other CAs")
	wantResumed(t, s, agent, true, "with other CAs, again")

	// The same CAs in another order are the same.
	f.ca(t, next, f.p)
	s = f.start(t)
	wantResumed(t, s, agent, true, "with the CAs in another order")

	// Back to what was: its tickets do not come back to life. And now without
	// a restart.
	f.ca(t, f.p)
	reload(t, s, true)
	wantResumed(t, s, agent, false, "after a reload of the CAs")
	if keys := f.keys(t); len(keys) != 1 || keys[0] == old {
		t.Errorf("got %d keys, the first key again: %t, want one new one", len(keys), keys[0] == old)
	}
	wantResumed(t, f.start(t), agent, true, "after that and a restart")
}

func TestTicketKeysRotate(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	s := f.start(t)
	first := f.keys(t)[0]
	early := f.agent()
	wantResumed(t, s, early, false, "day 0")

	f.clock = mtls.TicketRotation - time.Minute
	reload(t, s, false)
	if keys := f.keys(t); len(keys) != 1 {
		t.Errorf("before a day is over: got %d keys, want 1", len(keys))
	}
	early.frozen = true
	late := f.agent()
	for n := 1; n <= 10; n++ {
		f.clock = time.Duration(n) * mtls.TicketRotation
		if n%2 == 0 { // with or without a restart, it is the same
			s = f.start(t)
		} else {
			reload(t, s, false)
		}
		keys := f.keys(t)
		if want := min(n+1, 7); len(keys) != want || slices.Contains(keys, first) != (n < 7) {
			t.Errorf("day %d: got %d keys, the first among them: %t, want %d and %t", n, len(keys), slices.Contains(keys, first), want, n < 7)
		}
		// The newest encrypts: what was got on day 1 lives a day longer than
		// the first key.
		switch n {
		case 1:
			wantResumed(t, s, late, false, "day 1")
			late.frozen = true
		case 6:
			wantResumed(t, s, early, true, "ticket of day 0 on day 6")
		case 7:
			wantResumed(t, s, early, false, "ticket of day 0 on day 7")
			wantResumed(t, s, late, true, "ticket of day 1 on day 7")
		case 8:
			wantResumed(t, s, late, false, "ticket of day 1 on day 8")
		}
	}
	// A week without anybody.
	f.clock += 8 * day
	f.start(t)
	if keys := f.keys(t); len(keys) != 1 {
		t.Errorf("after a pause: got %d keys, want one new one", len(keys))
	}
}

// A clock that was ahead for a while makes no key that lives too long.
func TestTicketKeysOfTheFuture(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	f.clock = 3 * day
	s := f.start(t)
	agent := f.agent()
	wantResumed(t, s, agent, false, "ahead")
	f.clock = 0
	reload(t, s, false)
	wantResumed(t, s, agent, true, "right again")
	future := f.keys(t)[0]
	f.clock = day
	reload(t, s, false)
	if keys := f.keys(t); len(keys) != 2 || keys[1] != future {
		t.Errorf("a day later: got %d keys, want a new one before the other", len(keys))
	}
	f.clock = 7 * day
	reload(t, f.start(t), false)
	if slices.Contains(f.keys(t), future) {
		t.Error("a week later the key is still there")
	}
}

// Two processes use one file: the old one drains while the new one serves.
func TestTwoProcessesShareTicketKeys(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	old := f.start(t)
	agent := f.agent()
	wantResumed(t, old, agent, false, "first visit")
	young := f.start(t)
	wantResumed(t, young, agent, true, "at the new one")

	// One rotates, and the other takes its key.
	f.clock = day
	reload(t, old, false)
	both := f.text(t)
	reload(t, young, false)
	if f.text(t) != both || len(f.keys(t)) != 2 {
		t.Error("both rotated, want one new key for both")
	}
	later := f.agent()
	wantResumed(t, young, later, false, "another client")
	wantResumed(t, old, later, true, "another client at the old one")

	// Both rotate at the same moment: the one that writes last did not see
	// what the other wrote, whose key comes back at its next look.
	f.clock = 2 * day
	reload(t, old, false)
	mine := f.agent()
	wantResumed(t, old, mine, false, "ticket of a key that gets lost")
	if err := os.WriteFile(f.path, []byte(both), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(t, young, false)
	yours := f.agent()
	wantResumed(t, young, yours, false, "ticket of the other key")
	reload(t, old, false)
	reload(t, young, false)
	if keys := f.keys(t); len(keys) != 4 {
		t.Errorf("got %d keys, want 4", len(keys))
	}
	next := f.start(t)
	for _, s := range []*mtls.Source{old, young, next} {
		wantResumed(t, s, mine, true, "one's ticket")
		wantResumed(t, s, yours, true, "the other's ticket")
	}
	if told := f.warnings(); told != nil {
		t.Errorf("got %q, want no warning", told)
	}
}

// One process has learned of new CAs and the other has not yet.
func TestTwoProcessesWithDifferentCAs(t *testing.T) {
	t.Parallel()
	f, next := newFarm(t), newPKIFor(t, "next CA", day)
	old, agent := f.start(t), f.agent()
	wantResumed(t, old, agent, false, "first visit")
	// The new one reads its CAs elsewhere.
	young := desk{f.dir, f.files}
	young.files.CA = []string{filepath.Join(f.dir, "new.crt")}
	young.ca(t, f.p, next)
	s, err := mtls.NewSource(young.files, mtls.Policy{Now: f.now})
	if err != nil {
		t.Fatal(err)
	}
	other := f.agent()
	wantResumed(t, s, other, false, "at the new one")
	before := f.text(t)

	// The old one leaves the file alone, even to rotate, and says so.
	f.clock = day
	reload(t, old, false)
	reload(t, old, false)
	if f.text(t) != before {
		t.Error("who did not learn of the new CAs has written the file")
	}
	wantResumed(t, old, agent, true, "at the old one")
	if told := f.warnings(); len(told) != 1 || !strings.Contains(told[0], "for another set of CAs") {
		t.Errorf("got %q, want one warning", told)
	}

	// Then it learns of them, and takes the keys that are there.
	f.ca(t, f.p, next)
	reload(t, old, true)
	wantResumed(t, old, other, true, "with the same CAs")
}

// Many start at once, without a file: in the end each believes the tickets of
// all.
func TestManyProcessesStartAtOnce(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	sources := make([]*mtls.Source, 8)
	var all sync.WaitGroup
	for i := range sources {
		all.Go(func() {
			s, err := mtls.NewSource(f.files, mtls.Policy{Now: f.now})
			if err != nil {
				t.Error(err)
				return
			}
			sources[i] = s
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	agents := make([]*agent, len(sources))
	for i, s := range sources {
		agents[i] = f.agent()
		visit(t, s, agents[i])
	}
	for range 2 {
		for _, s := range sources {
			reload(t, s, false)
		}
	}
	next := f.start(t)
	for _, agent := range agents {
		for _, s := range append(sources, next) {
			wantResumed(t, s, agent, true, "any ticket anywhere")
		}
	}
	if told := f.warnings(); told != nil {
		t.Errorf("got %q, want no warning", told)
	}
}
