//go:build linux

package fault_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"busd/msgclient"
	"busd/test/fault/ledger"
	"busd/test/fault/process"
	"busd/test/fault/proxy"
)

// peak is the most memory that the server ever had, in bytes.
func (h *host) peak() int {
	h.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Process().PID()))
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); words[0] == "VmHWM:" {
			n, err := strconv.Atoi(words[1])
			if err != nil {
				h.t.Fatal(err)
			}
			return n << 10
		}
	}
	h.t.Fatal("the kernel does not say how much memory the server had")
	return 0
}

// Clients that do not read fill the server's memory, each within its bounds: nobody
// new is let in then, the slowest are given up, those who keep up notice nothing,
// and the server never takes more than it may.
func TestMemoryRunsShort(t *testing.T) {
	t.Parallel()
	const (
		memory     = 256 << 20
		n          = 240          // slow ones: somewhat more than 1 MiB is kept for each
		each, size = 34, 32 << 10 // what is sent to each, a little more than a session keeps
	)
	g := newGroup(t, "memory")
	g.write("memory.limit_in_bytes", memory)
	h := serve(t, process.ServerConfig{Env: append([]string{"BUSD_LIMITS__MEMORY=256MiB"}, crowd...)})
	g.write("cgroup.procs", h.Process().PID())
	if limit := h.metric("busd_memory_limit_bytes"); limit != memory/100*80 {
		t.Errorf("the runtime's limit: got %.0f, want 80 %% of %d", limit, memory)
	}
	p := proxy.Start(t, proxy.Config{Target: h.Addr()})
	quick := newCrew(t, h, 5, msgclient.Config{})
	quick.talk(10*time.Millisecond, failing(t))
	pace := newAgent(t, h, "pace", msgclient.Config{})
	var slow []*agent
	for i := range n {
		slow = append(slow, through(t, h, p, fmt.Sprint("slow-", i)))
		slow[i].welcomed(1)
	}
	p.Set(proxy.Down, proxy.Line{Window: 4 << 10})
	p.Stall(proxy.Down)
	began := time.Now()
	var late *agent // the first who comes while memory is short
	for i, a := range slow {
		if err := a.Send(within(t, patience), ledger.Push{Count: each, Size: size}); err != nil {
			t.Fatal(err)
		}
		h.do(pace.ask(within(t, patience), 0)) // on a busy machine they do not pile up before the server
		if i%3 != 0 || late != nil {
			time.Sleep(5 * time.Millisecond) // 200 MiB in a second
			continue
		}
		next := newAgent(t, h, fmt.Sprint("next-", i), msgclient.Config{})
		eventually(t, "somebody new is let in or refused", func() bool {
			return next.Connects() > 0 || h.metric(`busd_refused_total{reason="memory",service=""}`) > 0
		})
		if next.Connects() > 0 {
			next.stop()
		} else {
			late = next
		}
	}
	eventually(t, "slow ones are given up", func() bool { return h.metric("busd_memory_sessions_cut_total") > 0 })
	if late == nil {
		t.Fatal("nobody was refused while memory was short")
	}
	quick.answered(200)

	p.Set(proxy.Down, proxy.Line{})
	if err := p.Calm(); err != nil {
		t.Fatal(err)
	}
	late.welcomed(1)
	overflowed := 0
	for _, a := range slow {
		// What was under way to one that is given up still comes, and then its end.
		var told bool
		a.await("all of it, or that there was no room", func() bool {
			told = slices.ContainsFunc(a.welcomes, func(w welcome) bool { return !w.Resumed && w.Reason == "overflowed" })
			return told || len(a.downs) >= each
		})
		if told {
			overflowed++
		} else {
			wantRun(t, string(a.Identity()), a.got(each), each)
		}
	}
	cut := int(h.metric("busd_memory_sessions_cut_total"))
	if overflowed != cut || cut < 2 || cut > n*3/4 {
		t.Errorf("%d sessions were given up, and %d told so; want some, and all of these", cut, overflowed)
	}
	eventually(t, "memory is there again", func() bool { return h.metric("busd_memory_short") == 0 })
	_, text := quick.times(began, time.Now())
	t.Logf("%d of %d given up; at most %d MiB of %d; those who keep up: %s", cut, n, h.peak()>>20, memory>>20, text)
	if peak := h.peak(); peak > memory {
		t.Errorf("the server had %d MiB, want at most %d", peak>>20, memory>>20)
	}
	quick.rest()
	quick.whole(h)
	quick.noErrors()
	quick.noDrops()
}
