package rpc

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// readHost asks the kernel.
func readHost() host {
	var h host
	if text, err := os.ReadFile("/proc/uptime"); err == nil { // "1984.25 3201.17\n"
		seconds, _, _ := bytes.Cut(text, []byte{' '})
		uptime, _ := strconv.ParseFloat(string(seconds), 64)
		h.uptime = time.Duration(uptime * float64(time.Second))
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil { // "8.52 7.28 5.21 3/512 4711\n"
		if averages := bytes.Fields(text); len(averages) > 3 {
			h.load = string(bytes.Join(averages[:3], []byte{' '}))
		}
	}
	h.user, h.system = usage(syscall.RUSAGE_SELF)
	h.childrenUser, h.childrenSystem = usage(syscall.RUSAGE_CHILDREN)
	return h
}

func usage(who int) (user, system time.Duration) {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0, 0
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}
