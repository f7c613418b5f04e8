package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processCPU returns the CPU time, user and system, that a process has used: the
// same sum that getrusage tells of oneself, to the nanosecond.
func processCPU(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED; see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduled, &t); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// processIO returns how often a process has called read(2), write(2) and their
// like.
func processIO(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	return field(text, "syscr:") + field(text, "syscw:"), nil
}

// field returns the number behind a name in one of the files of /proc; 0: it is
// not there.
func field(text []byte, name string) uint64 {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		rest, found := strings.CutPrefix(lines.Text(), name)
		if words := strings.Fields(rest); found && len(words) > 0 {
			n, _ := strconv.ParseUint(words[0], 10, 64) // the kernel writes numbers
			return n
		}
	}
	return 0
}

// A usage is what server and client had used at a moment.
type usage struct {
	at             time.Time
	server, client time.Duration
	io             uint64 // reads and writes of both
}

func usageOf(server int) (usage, error) {
	var u usage
	var err error
	if u.server, err = processCPU(server); err != nil {
		return u, err
	}
	if u.client, err = processCPU(os.Getpid()); err != nil {
		return u, err
	}
	for _, pid := range []int{server, os.Getpid()} {
		n, err := processIO(pid)
		if err != nil {
			return u, err
		}
		u.io += n
	}
	u.at = time.Now()
	return u, nil
}

// A memory is what a server holds, in bytes.
type memory struct {
	RSS        uint64 `json:"rss"`   // resident, as the kernel counts it
	Heap       uint64 `json:"heap"`  // of live objects
	Stack      uint64 `json:"stack"` // of goroutines
	Goroutines int    `json:"goroutines"`
}

// memoryNow returns what this process holds. With settle it collects garbage
// and gives back to the system what it can, first.
func memoryNow(settle bool) (memory, error) {
	if settle {
		debug.FreeOSMemory()
		debug.FreeOSMemory() // what finalizers and pools held on to
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return memory{}, err
	}
	return memory{RSS: field(text, "VmRSS:") << 10, Heap: m.HeapAlloc, Stack: m.StackInuse, Goroutines: runtime.NumGoroutine()}, nil
}
