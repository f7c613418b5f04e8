package memory

import (
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"testing/fstest"
	"time"
)

const mib = 1 << 20

// A fake is a process of which a test says what it uses.
type fake struct {
	usage
	garbage   int64 // of held: a collection takes it away
	collected int
	asked     []int64
	kept      int64 // what can be given up
	events    []Event
}

func (f *fake) guard(limit int64) *Guard {
	g := NewGuard(Config{
		Limit: limit,
		Relieve: func(bytes int64) (int, int64) {
			f.asked = append(f.asked, bytes)
			freed := min(bytes, f.kept)
			f.kept -= freed
			f.held -= freed
			if freed == 0 {
				return 0, 0
			}
			return 1, freed
		},
		Report: func(e Event) { f.events = append(f.events, e) },
	})
	g.read = func() usage { return f.usage }
	g.collect = func() {
		f.collected++
		f.cycles++
		f.held -= f.garbage
		f.garbage, f.live = 0, f.held
	}
	return g
}

// uses says that so many bytes are in use, and that a collection has seen it.
func (f *fake) uses(bytes int64) {
	f.live, f.held = bytes, bytes
	f.cycles++
}

// Beyond 85 % nobody is let in, until it is less than 80 %.
func TestShedding(t *testing.T) {
	t.Parallel()
	f := &fake{}
	g := f.guard(100 * mib)
	now := time.Now()
	for _, step := range []struct {
		used int64 // MiB
		want Level
	}{{10, Easy}, {84, Easy}, {85, Shedding}, {91, Shedding}, {80, Shedding}, {79, Easy}, {84, Easy}, {92, Cutting}, {91, Shedding}, {10, Easy}} {
		f.uses(step.used * mib)
		now = now.Add(calm)
		g.look(now)
		if s := g.Stats(); s.Level != step.want || g.Short() != (step.want != Easy) || s.Used != step.used*mib || s.Limit != 100*mib {
			t.Errorf("%d MiB of 100: got %+v, short %t, want level %d", step.used, s, g.Short(), step.want)
		}
	}
	var levels []Level
	for _, e := range f.events {
		levels = append(levels, e.Level)
	}
	if want := []Level{Shedding, Easy, Cutting, Shedding, Easy}; !slices.Equal(levels, want) {
		t.Errorf("told of %v, want %v", levels, want)
	}
}

// At 92 % as much is given up as brings it back to 85 %, and time is given for
// it to be free.
func TestCutting(t *testing.T) {
	t.Parallel()
	f := &fake{kept: 20 * mib}
	f.rest = 13 * mib
	g := f.guard(100 * mib)
	now := time.Now()
	f.uses(82 * mib)
	for range 2 { // the second time it is not seen yet that it is free
		now = now.Add(calm)
		g.look(now)
	}
	if want := []int64{10 * mib}; !slices.Equal(f.asked, want) {
		t.Fatalf("asked to give up %v, want %v", f.asked, want)
	}
	if s := g.Stats(); s.Cut != 1 {
		t.Errorf("cut %d, want 1", s.Cut)
	}
	now = now.Add(settle)
	g.look(now)
	if f.collected > 2 || len(f.asked) != 1 || g.Stats().Level != Shedding {
		t.Errorf("afterwards: %d collections, %d cuts, level %d; want 2 at most, 1, and that nobody is let in",
			f.collected, len(f.asked), g.Stats().Level)
	}
	cut := slices.IndexFunc(f.events, func(e Event) bool { return e.Cut > 0 })
	if cut < 0 || f.events[cut] != (Event{Level: Cutting, Used: 95 * mib, Limit: 100 * mib, Cut: 1, Freed: 10 * mib}) {
		t.Errorf("told of %+v", f.events)
	}
}

// Who cannot be relieved asks again each time.
func TestNothingToCut(t *testing.T) {
	t.Parallel()
	f := &fake{}
	g := f.guard(100 * mib)
	f.uses(95 * mib)
	now := time.Now()
	for range 20 { // 4 s
		now = now.Add(calm)
		g.look(now)
	}
	if len(f.asked) != 20 || f.collected > 20 || g.Stats().Cut != 0 || g.Stats().Level != Cutting {
		t.Errorf("got %d tries and %d collections, %+v", len(f.asked), f.collected, g.Stats())
	}
}

// Garbage is not in use, and makes nobody wait: where it could be the reason it
// is collected.
func TestGarbage(t *testing.T) {
	t.Parallel()
	f := &fake{}
	g := f.guard(100 * mib)
	now := time.Now()
	f.uses(40 * mib)
	g.look(now)
	f.held, f.garbage = 95*mib, 55*mib
	for range 30 { // 6 s
		now = now.Add(calm)
		g.look(now)
		if g.Short() {
			t.Fatal("40 MiB of 100 in use: want nobody refused")
		}
	}
	if f.collected != 1 {
		t.Errorf("%d collections, want one: then there is no garbage", f.collected)
	}
	f.held, f.garbage = 95*mib, 5*mib // what grows between two collections is seen
	now = now.Add(mostPast)
	g.look(now)
	if !g.Short() {
		t.Errorf("90 MiB of 100 in use: %+v", g.Stats())
	}
	f.garbage = 60 * mib // and what shrinks
	now = now.Add(mostPast)
	g.look(now)
	if g.Short() {
		t.Errorf("30 MiB of 100 in use: %+v", g.Stats())
	}
}

// What the runtime says is what there is: an allocation shows, and its end.
func TestReadUsage(t *testing.T) { //nolint:paralleltest // others would allocate meanwhile
	const size = 64 << 20
	samples := newSamples()
	runtime.GC()
	before := readUsage(samples)
	if before.live <= 0 || before.held <= 0 || before.rest <= 0 || before.cycles == 0 {
		t.Fatalf("got %+v", before)
	}
	block := make([]byte, size)
	if held := readUsage(samples).held - before.held; held < size-1<<20 || held > size+4<<20 {
		t.Errorf("held: got %d more, want %d", held, size)
	}
	runtime.GC()
	with := readUsage(samples)
	if more := with.inUse() - before.inUse(); more < size-4<<20 || more > size+8<<20 {
		t.Errorf("in use: got %d more, want %d", more, size)
	}
	runtime.KeepAlive(block)
	runtime.GC()
	if more := readUsage(samples).inUse() - before.inUse(); more > 8<<20 {
		t.Errorf("in use afterwards: got %d more", more)
	}
}

// What the process may use is the least that its control group, those above it,
// and the machine say.
func TestAvailable(t *testing.T) {
	t.Parallel()
	const meminfo = "MemTotal:       24682496 kB\nMemFree:         8302320 kB\n"
	for _, row := range []struct {
		name   string
		files  map[string]string
		want   int64
		source string
	}{
		{"nothing is known", nil, 0, "machine"},
		{"a machine", map[string]string{"proc/meminfo": meminfo}, 24682496 << 10, "machine"},
		{"no sense", map[string]string{"proc/meminfo": "MemTotal: lots kB\n", "proc/self/cgroup": "0\n:\n"}, 0, "machine"},
		{
			"version 2", map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/busd.service\n",
				"sys/fs/cgroup/system.slice/busd.service/memory.max": "max\n", "sys/fs/cgroup/system.slice/memory.max": "536870912\n",
			}, 512 << 20, "cgroup",
		},
		{
			"version 2, throttled earlier", map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n",
				"sys/fs/cgroup/memory.max": "536870912\n", "sys/fs/cgroup/memory.high": "268435456\n",
			}, 256 << 20, "cgroup",
		},
		{
			"version 1, in a container", map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/docker/0123\n0::/\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
			}, 1 << 30, "cgroup",
		},
		{
			"version 1, without a limit", map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/a\n",
				"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n",
			}, 24682496 << 10, "machine",
		},
		{
			"more than there is", map[string]string{
				"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1099511627776\n",
			}, 24682496 << 10, "machine",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			system := fstest.MapFS{}
			for path, text := range row.files {
				system[path] = &fstest.MapFile{Data: []byte(text)}
			}
			if got, source := available(system); got != row.want || source != row.source {
				t.Errorf("got %d (%s), want %d (%s)", got, source, row.want, row.source)
			}
		})
	}
}

// The runtime is told 80 %, unless GOMEMLIMIT has said something.
func TestSetLimit(t *testing.T) { //nolint:paralleltest // the limit is the process's
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	group := fstest.MapFS{
		"proc/self/cgroup":         &fstest.MapFile{Data: []byte("0::/\n")},
		"sys/fs/cgroup/memory.max": &fstest.MapFile{Data: []byte("2147483600\n")},
	}
	if got, want := SetLimit(0, "", group), (Limit{1717986880, 2147483600, "cgroup"}); got != want || debug.SetMemoryLimit(-1) != want.Bytes {
		t.Errorf("a control group: got %+v, and the runtime has %d; want %+v", got, debug.SetMemoryLimit(-1), want)
	}
	if got, want := SetLimit(1000*mib, "", group), (Limit{800 * mib, 1000 * mib, "configuration"}); got != want || debug.SetMemoryLimit(-1) != want.Bytes {
		t.Errorf("the configuration: got %+v, and the runtime has %d; want %+v", got, debug.SetMemoryLimit(-1), want)
	}
	if got, want := SetLimit(500*mib, "800MiB", group), (Limit{800 * mib, 800 * mib, "GOMEMLIMIT"}); got != want || debug.SetMemoryLimit(-1) != want.Bytes {
		t.Errorf("GOMEMLIMIT: got %+v, and the runtime has %d; want %+v", got, debug.SetMemoryLimit(-1), want)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if got, want := SetLimit(500*mib, "off", group), (Limit{0, 0, "GOMEMLIMIT"}); got != want || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT=off: got %+v, want %+v", got, want)
	}
}
