package memory

import (
	"io/fs"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
)

// LimitPercent is the part of what the process may use that Go's runtime is told
// to stay within. The rest is for what the runtime does not count: the program's
// code, the kernel's buffers of sockets, and what comes before a collection ends.
const LimitPercent = 80

// A Limit is what Go's runtime is told to stay within.
type Limit struct {
	// Bytes is the runtime's limit; 0: there is none, nobody said how much there is.
	Bytes int64
	// Allowed is what the process may use, and Source says who says so: GOMEMLIMIT,
	// which is taken as it is, configuration, cgroup or machine.
	Allowed int64
	Source  string
}

// SetLimit tells Go's runtime to stay within [LimitPercent] of allowed bytes, or,
// where that is 0, of what the process's control group or else the machine has.
// A GOMEMLIMIT in the environment goes before: then nothing changes. system is
// the machine's file system, os.DirFS("/").
func SetLimit(allowed int64, gomemlimit string, system fs.FS) Limit {
	if gomemlimit != "" {
		l := Limit{Bytes: debug.SetMemoryLimit(-1), Source: "GOMEMLIMIT"}
		if l.Bytes == math.MaxInt64 { // off
			l.Bytes = 0
		}
		l.Allowed = l.Bytes
		return l
	}
	l := Limit{Allowed: allowed, Source: "configuration"}
	if allowed <= 0 {
		l.Allowed, l.Source = available(system)
	}
	if l.Bytes = l.Allowed / 100 * LimitPercent; l.Bytes > 0 {
		debug.SetMemoryLimit(l.Bytes)
	}
	return l
}

// available returns what the control group of the process and those above it, or
// else the machine, let it use; 0: not known.
func available(system fs.FS) (bytes int64, source string) {
	machine := meminfo(system)
	if group := cgroup(system); group > 0 && (machine == 0 || group < machine) {
		return group, "cgroup"
	}
	return machine, "machine"
}

// meminfo reads how much memory the machine has.
func meminfo(system fs.FS) int64 {
	text, err := fs.ReadFile(system, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 3 && words[0] == "MemTotal:" && words[2] == "kB" {
			n, err := strconv.ParseInt(words[1], 10, 64)
			if err != nil || n > math.MaxInt64>>10 {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// cgroup reads the least limit of the control groups that the process is in, of
// version 2 or 1, and of those above them as far as they can be seen; 0: there is
// none.
func cgroup(system fs.FS) (least int64) {
	text, err := fs.ReadFile(system, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "": // version 2
			least = lower(least, upwards(system, "sys/fs/cgroup", parts[2], "memory.max", "memory.high"))
		case hasWord(parts[1], "memory"): // version 1
			least = lower(least, upwards(system, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	return least
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// upwards reads files in the directory of a control group and in those above it,
// and returns the least number. In a container the path is often the host's, and
// only the uppermost directory is there.
func upwards(system fs.FS, root, group string, names ...string) (least int64) {
	group = strings.Trim(group, "/")
	for {
		dir := root
		if group != "" {
			dir += "/" + group
		}
		for _, name := range names {
			least = lower(least, number(system, dir+"/"+name))
		}
		if group == "" {
			return least
		}
		group = group[:max(0, strings.LastIndexByte(group, '/'))]
	}
}

// unlimited is what version 1 says where there is no limit, and more: it rounds
// the largest number down to a page.
const unlimited = math.MaxInt64 >> 16 << 16

// number reads a file that is a number of bytes; 0: it is not there, or no limit.
func number(system fs.FS, path string) int64 {
	text, err := fs.ReadFile(system, path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n <= 0 || n >= unlimited {
		return 0 // "max"
	}
	return n
}

// lower returns the lesser of two limits, of which 0 is none.
func lower(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
