package doctor

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestUnconnected(t *testing.T) {
	t.Parallel()
	e := &examination{Options: Options{Timeout: time.Second}}
	for _, test := range []struct {
		err  error
		code Code
		says string
	}{
		{os.NewSyscallError("connect", syscall.EHOSTUNREACH), "tcp_unreachable", "no way to that address"},
		{os.NewSyscallError("connect", syscall.ENETUNREACH), "tcp_unreachable", "no way to that address"},
		{os.ErrDeadlineExceeded, "tcp_timeout", "no answer in 1s"},
		{os.NewSyscallError("connect", syscall.ECONNREFUSED), "tcp_refused", "nobody listens"},
		{os.NewSyscallError("socket", syscall.EMFILE), "tcp_failed", "too many open files"},
		{errors.New("something"), "tcp_failed", "something"},
	} {
		f := e.unconnected("192.0.2.1:8443", &net.OpError{Op: "dial", Net: "tcp", Err: test.err})
		if f.Code != test.code || f.Level != Fail || !strings.Contains(f.Seen, test.says) || !strings.Contains(f.Seen, "192.0.2.1:8443") || len(f.Try) == 0 {
			t.Errorf("%v: got %+v, want %s that says %q", test.err, f, test.code, test.says)
		}
	}
}

func TestJudgeLatency(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, test := range []struct {
		times []time.Duration
		code  Code
		says  string
	}{
		{[]time.Duration{30 * ms, 10 * ms, 20 * ms}, "latency_good", "20ms there and back (median of 3 pings; 10ms to 30ms)"},
		{[]time.Duration{10 * ms, 2000 * ms, 10 * ms}, "latency_good", "10ms there"},
		{[]time.Duration{600 * ms, 10 * ms, 900 * ms}, "latency_high", "600ms there"},
	} {
		if f := judgeLatency(test.times); f.Code != test.code || !strings.HasPrefix(f.Seen, test.says) {
			t.Errorf("%v: got %+v, want %s, %q", test.times, f, test.code, test.says)
		}
	}
}
