package main

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"busd/access"
	"busd/bus"
	"busd/daemon"
	"busd/msgbus"
	"busd/rpc"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"busd": main, "busd-files": func() { daemon.Main(filesService()) }})
}

// filesService has methods that move files.
func filesService() *msgbus.Service {
	methods := rpc.NewService("Test/Files")
	methods.Allow = access.Authenticated
	rpc.Export(methods, "fetch", func(size int64, letter string) (*rpc.Stream, error) {
		if size < 0 {
			return nil, bus.Errorf(bus.CodeNotFound, "there is no file of %d bytes", size)
		}
		return &rpc.Stream{Reader: io.LimitReader(letters(letter[0]), size), Size: size}, nil
	}).Named("size", "letter")
	rpc.Export(methods, "store", func(name string, r io.Reader) (string, error) {
		sum := sha256.New()
		n, err := io.Copy(sum, r)
		return fmt.Sprintf("%s: %d bytes, %x", name, n, sum.Sum(nil)[:4]), err
	}).Named("name", "content").MaxBody = 64 << 20
	return &msgbus.Service{Methods: methods}
}

// letters has no end.
type letters byte

func (l letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(l)
	}
	return len(p), nil
}

// TestScripts runs testdata/script: what people type, and what they see. Each
// script has a directory of its own. Beside testscript's own commands there are
//
//	busd-files ...       busd with the service Test/Files
//	exits N command...   the command ends with exit code N
//	freeport VAR         VAR becomes 127.0.0.1:port, where nobody listens
//	listening ADDR       wait until somebody speaks TLS there
//	connected ADDR N     wait until the server whose admin listener is there has
//	                     N stable connections
//	terminate            send SIGTERM to all commands in the background
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("BUSD_ADMIN__ADDRESS", "127.0.0.1:0")
			// Else each command under the race detector waits a second at its end.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "freeport": freeport, "listening": listening, "connected": connected, "terminate": terminate,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%q: got exit code %d, want %d", args[1:], got, want)
	}
}

func freeport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport VAR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: terminate")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

func listening(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listening ADDR")
	}
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var c net.Conn
		if c, err = tls.Dial("tcp", args[0], &tls.Config{InsecureSkipVerify: true}); err == nil {
			ts.Check(c.Close())
			return
		}
	}
	ts.Fatalf("nobody listens on %s: %v", args[0], err)
}

func connected(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: connected ADDR N")
	}
	want := fmt.Sprintf("busd_connections{service=\"Framework/PingPong\"} %s\n", args[1])
	var page []byte
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + args[0] + "/metrics")
		if err != nil {
			continue // not yet
		}
		page, err = io.ReadAll(resp.Body)
		ts.Check(err)
		ts.Check(resp.Body.Close())
		if strings.Contains(string(page), want) {
			return
		}
	}
	ts.Fatalf("not %s in\n%s", want, page)
}
