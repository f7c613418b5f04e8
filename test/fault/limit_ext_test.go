//go:build linux

package fault_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"busd/msgclient"
	"busd/test/fault/ledger"
	"busd/test/fault/process"
	"busd/test/fault/proxy"
)

// setFiles sets how many files the server may have open.
func (h *host) setFiles(n uint64) (before uint64) {
	h.t.Helper()
	var now unix.Rlimit
	if err := unix.Prlimit(h.Process().PID(), unix.RLIMIT_NOFILE, nil, &now); err != nil {
		h.t.Fatal(err)
	}
	before, now.Cur = now.Cur, n
	if err := unix.Prlimit(h.Process().PID(), unix.RLIMIT_NOFILE, &now, nil); err != nil {
		h.t.Fatal(err)
	}
	return before
}

// A server that has no more files serves whom it has, says so seldom, and goes on
// when there are files again.
func TestNoMoreFiles(t *testing.T) {
	const room, more = 8, 64
	h := serve(t, process.ServerConfig{Env: crowd})
	c := newCrew(t, h, 5, msgclient.Config{})
	c.talk(10*time.Millisecond, failing(t))
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.Process().PID()))
	if err != nil {
		t.Fatal(err)
	}
	before := h.setFiles(uint64(len(open) + room))
	for range more {
		conn, err := net.Dial("tcp", h.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	full := time.Now()
	time.Sleep(sized(3*time.Second, 30*time.Second))
	c.answered(100)
	all, text := c.times(full, time.Now())
	h.setFiles(before)
	newAgent(t, h, "late", msgclient.Config{MaxWait: time.Second}).welcomed(1)
	c.rest()
	t.Logf("without files: %s", text)
	if len(all) == 0 || all[len(all)*99/100] > time.Second {
		t.Errorf("without files: %s", text)
	}
	if n := h.metric("busd_accept_errors_total"); n == 0 {
		t.Error("void: accepting did not fail")
	}
	lines, most := strings.Count(h.Process().Output(), "accepting failed"), int(time.Since(full)/time.Second)+10
	if lines == 0 || lines > most {
		t.Errorf("%d lines say that accepting failed, want 1 to %d", lines, most)
	}
	c.whole(h)
	c.noErrors()
	c.noDrops()
}

// A log that nobody reads costs lines, which are counted, and nothing else.
func TestBlockedLog(t *testing.T) {
	t.Parallel()
	h := serve(t, process.ServerConfig{Env: append([]string{"BUSD_LOG__LEVEL=debug"}, crowd...)})
	c := newCrew(t, h, 10, msgclient.Config{MinWait: time.Millisecond, MaxWait: time.Millisecond})
	h.Process().HoldOutput()
	ctx := within(t, patience)
	c.talk(20*time.Millisecond, failing(t))
	began := time.Now()
	eventually(t, "log lines are thrown away", func() bool {
		var moving sync.WaitGroup
		for _, a := range c.agents { // connections are what is logged
			moving.Go(func() {
				if err := a.Reconnect(ctx); err != nil {
					t.Errorf("%s: %v", a.Identity(), err)
				}
			})
		}
		moving.Wait()
		return h.metric("busd_log_lines_dropped_total") > 0
	})
	c.answered(500)
	all, text := c.times(began, time.Now())
	t.Log(text)
	if all[len(all)*99/100] > 10*time.Second { // a second, but on a busy machine
		t.Errorf("while nobody reads the log: %s", text)
	}
	h.Process().ReleaseOutput()
	c.rest()
	c.whole(h)
	c.noErrors()
	if code, err := h.Stop(within(t, patience)); err != nil || code != 0 {
		t.Errorf("the server ended with %d, %v", code, err)
	}
}

// With a tenth of a core everything is slow, and nobody is taken for dead.
func TestLittleCPU(t *testing.T) {
	t.Parallel()
	g := newGroup(t, "cpu")
	h := serve(t, process.ServerConfig{Env: append([]string{"BUSD_KEEP_ALIVE__INTERVAL=4s", "BUSD_KEEP_ALIVE__IDLE=10s"}, crowd...)})
	const period = 100_000 // microseconds
	g.write("cpu.cfs_period_us", period)
	g.write("cpu.cfs_quota_us", period/10)
	g.write("cgroup.procs", h.Process().PID())
	c := newCrew(t, h, 50, msgclient.Config{})
	c.talk(10*time.Millisecond, failing(t))
	began := time.Now()
	time.Sleep(sized(20*time.Second, time.Minute)) // twice what is patience with the dead
	throttled := func() bool { return g.count("cpu.stat", "nr_throttled") > 0 }
	eventually(t, "the server is throttled", throttled) // it may be that others leave it less
	g.write("cpu.cfs_quota_us", -1)
	_, text := c.times(began, time.Now())
	c.answered(200)
	c.rest()
	t.Logf("with a tenth of a core: %s; throttled %d times", text, g.count("cpu.stat", "nr_throttled"))
	c.whole(h)
	c.noErrors()
	c.noDrops()
}

// Of many who hear a broadcast some do not read: these lose their session, and are
// told so when they come back; the others get everything, and the server stays
// within its memory.
func TestSlowOnesAmongMany(t *testing.T) {
	n, slow := sized(40, 1900), sized(5, 100)
	const (
		memory         = 256 << 20
		messages, size = 48, 32 << 10 // half as much again as a session keeps
	)
	g := newGroup(t, "memory")
	g.write("memory.limit_in_bytes", memory)
	h := serve(t, process.ServerConfig{Env: append([]string{"GOMEMLIMIT=200MiB"}, crowd...)})
	g.write("cgroup.procs", h.Process().PID())
	p := proxy.Start(t, proxy.Config{Target: h.Addr()})
	quick := newCrew(t, h, n, msgclient.Config{})
	var stuck []*agent
	for i := range slow {
		stuck = append(stuck, through(t, h, p, fmt.Sprint("slow-", i)))
		stuck[i].welcomed(1)
	}
	p.Set(proxy.Down, proxy.Line{Window: 4 << 10})
	p.Stall(proxy.Down)
	shouted := time.Now()
	_, err := msgclient.Request[ledger.Got](within(t, patience), quick.agents[0].Client,
		ledger.Shout{Count: messages, Size: size, Pause: sized(int64(100), 500)})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range quick.agents {
		wantRun(t, string(a.Identity()), a.got(messages), messages)
	}
	t.Logf("%d clients got %d KiB each in %s", n, messages*size>>10, time.Since(shouted).Round(time.Millisecond))
	if s := p.Stats(); s.Stalls < slow {
		t.Errorf("void: %d lines were stalled, want %d", s.Stalls, slow)
	}
	eventually(t, "the slow ones are given up", func() bool {
		return h.metric(`busd_drops_total{code="slow_consumer",service="Test/Ledger"}`) == float64(slow)
	})
	if err := p.Calm(); err != nil {
		t.Fatal(err)
	}
	for _, a := range stuck {
		if w := a.welcomed(2)[1]; w.Resumed || w.Reason != "overflowed" {
			t.Errorf("%s was told %+v, want that there was no room", a.Identity(), w.Resumption)
		}
		got := a.got(0)
		wantRun(t, string(a.Identity()), got, int64(len(got))) // no hole in what did come
	}
	t.Logf("the server's memory was %d MiB at most", g.count("memory.max_usage_in_bytes", "")>>20)
	quick.noErrors()
	quick.noDrops()
}

// Large messages do not keep small ones of others waiting, and pass none of their
// own connection.
func TestLargeAmongSmall(t *testing.T) {
	const large, size = 100, 250 << 10
	h := serve(t, process.ServerConfig{Env: crowd})
	c := newCrew(t, h, 5, msgclient.Config{})
	big := newAgent(t, h, "big", msgclient.Config{})
	big.welcomed(1)
	c.talk(2*time.Millisecond, failing(t))
	began := time.Now()
	for range large {
		if err := big.up(within(t, patience), true, size); err != nil {
			t.Fatal(err)
		}
		if err := big.up(within(t, patience), true, 0); err != nil {
			t.Fatal(err)
		}
	}
	big.whole(h, 2*large)
	most := max(250*time.Millisecond, time.Since(began)/10) // who waits for all of them waits ten times as long
	c.answered(100)
	all, text := c.times(began, time.Now())
	c.rest()
	t.Log(text)
	if all[len(all)*99/100] > most {
		t.Errorf("beside large messages: %s", text)
	}
	c.whole(h)
	c.noErrors()
}
