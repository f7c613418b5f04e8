//go:build linux

package process_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"busd/test/fault/process"
)

func TestMain(m *testing.M) { process.Main(m) }

const (
	// patience bounds every wait; a busy machine is slow.
	patience = time.Minute
	// moment is how long a test watches that nothing happens.
	moment = 200 * time.Millisecond
)

// shell runs a script.
func shell(t *testing.T, script string) *process.Process {
	t.Helper()
	return process.Start(t, process.Config{Path: "/bin/sh", Args: []string{"-c", script}})
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// wait waits for the end.
func wait(t *testing.T, p *process.Process) *os.ProcessState {
	t.Helper()
	state, err := p.Wait(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// TestOutput: lines in order, whole ones, and what is left at the end.
func TestOutput(t *testing.T) {
	t.Parallel()
	p := shell(t, "echo one; echo two: 2 >&2; echo three; printf last; pwd >there")
	ctx := within(t, patience)
	for _, test := range []struct {
		pattern string
		want    []string
	}{
		{`^two: (\d+)$`, []string{"two: 2", "2"}},
		{`^three`, []string{"three"}},
		{`^last$`, []string{"last"}},
	} {
		got, err := p.AwaitOutput(ctx, test.pattern)
		if err != nil || strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%s: got %q, %v, want %q", test.pattern, got, err, test.want)
		}
	}
	if got, err := p.AwaitOutput(ctx, `one`); !errors.Is(err, io.EOF) { // it was before
		t.Errorf("after the end: got %q, %v, want EOF", got, err)
	}
	if code := wait(t, p).ExitCode(); code != 0 {
		t.Errorf("exit code: got %d", code)
	}
	if got, want := p.Output(), "one\ntwo: 2\nthree\nlast"; got != want {
		t.Errorf("output: got %q, want %q", got, want)
	}
}

// TestOutputWaits: until its context ends.
func TestOutputWaits(t *testing.T) {
	t.Parallel()
	p := shell(t, "printf half; exec sleep 1000")
	if got, err := p.AwaitOutput(within(t, moment), `half`); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("half a line: got %q, %v, want that it waits", got, err)
	}
}

// TestHoldOutput: who writes into a pipe that nobody reads waits.
func TestHoldOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gate := filepath.Join(dir, "go")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	p := process.Start(t, process.Config{Path: "/bin/sh", Args: []string{"-c", "read line <go; seq 100000; echo done"}, Dir: dir})
	p.HoldOutput()
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	if state, err := p.Wait(within(t, moment)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("output held: got %v, %v, want that it waits", state, err)
	}
	p.ReleaseOutput()
	if _, err := p.AwaitOutput(within(t, patience), `^done$`); err != nil {
		t.Error(err)
	}
	if lines := strings.Count(p.Output(), "\n"); lines != 100_001 {
		t.Errorf("got %d lines, want 100001", lines)
	}
	wait(t, p)

	p = shell(t, "echo last words; exec sleep 1000")
	p.HoldOutput()
	if err := p.Kill(); err != nil { // and a hold does not outlive it
		t.Fatal(err)
	}
}

// TestPauseProcess: it stands still, goes on, and can be killed in between.
func TestPauseProcess(t *testing.T) {
	t.Parallel()
	p := shell(t, "trap 'echo got it' USR1; echo ready; while :; do sleep 0.01; done")
	ctx := within(t, patience)
	if _, err := p.AwaitOutput(ctx, `ready`); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if _, err := p.AwaitOutput(within(t, moment), `got it`); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("paused: got %v, want no word", err)
		}
		if err := p.Continue(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.AwaitOutput(ctx, `got it`); err != nil {
			t.Error(err)
		}
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	status := wait(t, p).Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("got %v, want killed", status)
	}
	for what, do := range map[string]func() error{"pause": p.Pause, "continue": p.Continue, "kill": p.Kill} {
		if err := do(); err == nil {
			t.Errorf("%s after the end: got no error", what)
		}
	}
}

// TestExitCode and its surroundings.
func TestExitCode(t *testing.T) {
	t.Setenv("BUSD_LISTEN", "of this process, and not for others")
	p := process.Start(t, process.Config{Path: "/bin/sh", Args: []string{"-c", `exit $((A + ${#BUSD_LISTEN}))`}, Env: []string{"A=7"}})
	if code := wait(t, p).ExitCode(); code != 7 {
		t.Errorf("exit code: got %d, want 7", code)
	}
}
