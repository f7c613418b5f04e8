package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	root = "../.."
	// patience bounds the wait for one line of output; a busy machine is slow.
	patience = 60 * time.Second
	// devAddress is where the development server and the example client meet.
	devAddress = "127.0.0.1:8443"
)

// build makes the binaries, once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "busd-e2e-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", dir, "./cmd/busd", "./examples/pingpong/client")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := build(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

func binary(t *testing.T, name string) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// A process is a program that runs, and the lines it has written.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	seen  []string
}

// start runs a program in dir until the test ends.
func start(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	r, w := io.Pipe()
	p := &process{t: t, cmd: exec.Command(binary(t, name), args...), lines: make(chan string, 1000)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, w, w
	p.cmd.Env = append(os.Environ(), "NO_COLOR=1")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended, as it should have
		_ = p.cmd.Wait()
		_ = w.Close()
	})
	return p
}

// wait reads lines until one matches, and returns its first group.
func (p *process) wait(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("%s ended before it wrote %q:\n%s", p.cmd.Path, pattern, strings.Join(p.seen, "\n"))
			}
			p.seen = append(p.seen, line)
			if m := re.FindStringSubmatch(line); m != nil {
				return m[len(m)-1]
			}
		case <-timeout:
			p.t.Fatalf("%s did not write %q:\n%s", p.cmd.Path, pattern, strings.Join(p.seen, "\n"))
		}
	}
}

// end sends a signal and returns the exit code.
func (p *process) end(s syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// TestRestart: the example of the README; a server that is killed and started
// again is survived by its client.
func TestRestart(t *testing.T) {
	l, err := net.Listen("tcp", devAddress)
	if err != nil {
		t.Skipf("%s, which the example uses, is taken: %v", devAddress, err)
	}
	_ = l.Close()
	dir := t.TempDir()

	server := start(t, dir, "busd", "serve", "--dev")
	server.wait(`ready in`)
	client := start(t, dir, "client")
	identity := client.wait(`connected as (.*)`)
	client.wait(`^Pong 2$`)

	server.end(syscall.SIGKILL)
	client.wait(`^dropped: `)
	server = start(t, dir, "busd", "serve", "--dev")
	server.wait(`ready in`)
	if again := client.wait(`connected as (.*)`); again != identity {
		t.Errorf("identity after the restart: got %s, want %s", again, identity)
	}
	var id int
	if _, err := fmt.Sscan(client.wait(`^Pong (\d+)$`), &id); err != nil || id < 3 {
		t.Errorf("first Pong after the restart: got %d (%v), want it to count on from 3", id, err)
	}

	if code := server.end(syscall.SIGTERM); code != 0 {
		t.Errorf("server after SIGTERM: exit code %d, want 0", code)
	}
	client.wait(`^dropped: going_away`)
	if code := client.end(syscall.SIGINT); code != 0 {
		t.Errorf("client after ctrl-C: exit code %d, want 0", code)
	}
}

// TestReadmeCommands runs what the README says first.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?m)^```sh\n(.*) # .*\n(.*) # .*\n```$").FindSubmatch(text)
	if m == nil {
		t.Fatal("README.md does not begin with two commands")
	}
	demo, tests := strings.Fields(string(m[1])), strings.Fields(string(m[2]))

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, demo[0], append(demo[1:], "--for", "2s", "--json")...)
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", m[1], err, stderr.String())
	}
	var summary struct {
		Agents     int     `json:"agents"`
		RoundTrips int     `json:"round_trips"`
		Errors     int     `json:"errors"`
		Reconnects int     `json:"reconnects"`
		P50        float64 `json:"p50_us"`
	}
	if err := json.Unmarshal(out, &summary); err != nil {
		t.Fatalf("%s: %v:\n%s", m[1], err, out)
	}
	if summary.Agents != 3 || summary.RoundTrips == 0 || summary.Errors != 0 || summary.Reconnects == 0 || summary.P50 <= 0 {
		t.Errorf("%s: got %+v", m[1], summary)
	}

	// The second is what runs this test: it must be a task that there is.
	cmd = exec.Command(tests[0], append([]string{"-n"}, tests[1:]...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "go test") {
		t.Errorf("%s: %v\n%s", m[2], err, out)
	}
}
