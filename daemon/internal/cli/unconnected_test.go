package cli

import (
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"busd/bus"
	"busd/internal/mtls"
)

func TestUnreached(t *testing.T) {
	t.Parallel()
	refused := mtls.Explain(&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	for _, test := range []struct {
		host string
		err  error
		want string
	}{
		{"127.0.0.1", refused, "busd serve --dev"},
		{"[::1]", refused, "busd serve --dev"},
		{"localhost", refused, "busd serve --dev"},
		{"bus.example.org", refused, "look whether busd serves on bus.example.org"},
		{"192.0.2.1", refused, "look whether busd serves on 192.0.2.1"},
		{"nix.example.org", mtls.Explain(&net.DNSError{Name: "nix.example.org", IsNotFound: true}), "is nix.example.org written as it should be?"},
		{"localhost", mtls.Explain(os.ErrDeadlineExceeded), "localhost does not answer"},
		{"localhost", bus.Errorf(bus.CodeDeadlineExceeded, "it took longer than 1s"), "localhost does not answer"},
		{"192.0.2.1", mtls.Explain(syscall.EHOSTUNREACH), "this machine's network"},
		{"localhost", mtls.Explain(syscall.ECONNRESET), "is it busd that answers there?"},
	} {
		target := target{url: "wss://" + test.host + ":8443/Test/Bench"}
		got := target.unreached(test.err)
		if !strings.Contains(got, test.want) || strings.Contains(got, "--dev") != strings.Contains(test.want, "--dev") {
			t.Errorf("%s, %v: got %q, want %q", test.host, test.err, got, test.want)
		}
	}
}

// Neither who says nothing nor who hangs up is helped by another server.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for what, test := range map[string]struct {
		frozen bool
		exit   int
		want   string
	}{
		"frozen":   {true, exitTimeout, "127.0.0.1 does not answer"},
		"hangs up": {false, exitNetwork, "is it busd that answers there?"},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		b.must(err)
		var all sync.WaitGroup
		all.Go(func() { // ends with the listener
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				if test.frozen {
					defer c.Close()
				} else {
					_ = c.Close()
				}
			}
		})
		exit, _, fail := b.run("send", listener.Addr().String()+"/Test/Bench", "Do", "--timeout", "500ms")
		_ = listener.Close()
		all.Wait()
		if exit != test.exit || !strings.Contains(fail, test.want) || strings.Contains(fail, "--dev") {
			t.Errorf("%s: got exit %d, %s, want %d, %q", what, exit, fail, test.exit, test.want)
		}
	}
}
