package main

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// A machine is where a run took place, and with what.
type machine struct {
	CPU     string            `json:"cpu"`
	Cores   int               `json:"cores"`
	Memory  uint64            `json:"memory"` // bytes
	Kernel  string            `json:"kernel"`
	Go      string            `json:"go"`
	Modules map[string]string `json:"modules"` // versions of what was compared
}

func thisMachine() machine {
	m := machine{CPU: "unknown", Cores: runtime.NumCPU(), Go: runtime.Version(), Modules: map[string]string{}}
	if file, err := os.Open("/proc/cpuinfo"); err == nil {
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
		file.Close()
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.Memory = field(text, "MemTotal:") << 10
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	compared := map[string]bool{"github.com/nats-io/nats.go": true}
	for _, c := range contenders {
		compared[c.module] = true
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if compared[module.Path] {
				m.Modules[module.Path] = module.Version
			}
		}
	}
	return m
}

// loadAverage is how many processes wanted a core in the last minute, as the
// kernel writes it.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	words := strings.Fields(string(text))
	if err != nil || len(words) == 0 {
		return "unknown"
	}
	return words[0]
}
