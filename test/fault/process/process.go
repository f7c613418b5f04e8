//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// signalTimeout bounds the wait for a signal to take effect; a busy machine is slow.
	signalTimeout = 2 * time.Minute
	// signalEvery is how often /proc is asked whether it has.
	signalEvery = time.Millisecond
	// outputTimeout is how long what a program has started may keep its output
	// open after its end.
	outputTimeout = 5 * time.Second
)

// A Place is where programs run and from where they are reached: a host of
// package netns, which satisfies it, or, as nil, this machine.
type Place interface {
	Start(cmd *exec.Cmd) error
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Config is what to run, and how.
type Config struct {
	// Path is the program, and Args are its arguments.
	Path string
	Args []string
	// Env are variables beside this process's own, of which it does not get those
	// of busd (BUSD_…).
	Env []string
	// Dir is where it runs; empty is a directory of the test's.
	Dir string
	// On is where it runs; nil is this machine.
	On Place
}

// A Process is a program that was started. Its methods may be called from any
// goroutine, also after its end.
type Process struct {
	// Fixed at creation.
	cmd    *exec.Cmd
	output *output
	ended  chan struct{} // cmd.ProcessState is set, and the output is over
}

// Start starts a program, which is killed at the test's cleanup if it has not
// ended. If the test failed then, the last of its output is logged.
func Start(t testing.TB, c Config) *Process {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	p, err := start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cleanup(t) })
	return p
}

func (p *Process) cleanup(t testing.TB) {
	t.Helper()
	if err := p.Kill(); err != nil && !errors.Is(err, errEnded) {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("%s (%s), the last of its output:\n%s", p, p.cmd.ProcessState, p.output.tail())
	}
}

func start(c Config) (*Process, error) {
	out, w, err := newOutput()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(c.Path, c.Args...) //nolint:gosec // of a test's own choice
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, w, w
	cmd.Env = append(environ(), c.Env...)
	begin := cmd.Start
	if c.On != nil {
		begin = func() error { return c.On.Start(cmd) }
	}
	err = begin()
	_ = w.Close() // the program has its own
	if err != nil {
		_ = out.pipe.Close() // nobody writes
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	p := &Process{cmd: cmd, output: out, ended: make(chan struct{})}
	go p.run()
	return p, nil
}

// environ is this process's environment without busd's variables: a test's
// program does what the test says.
func environ() []string {
	env := []string{"NO_COLOR=1"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "BUSD_") {
			env = append(env, v)
		}
	}
	return env
}

// run ends after the program.
func (p *Process) run() {
	defer close(p.ended)
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		p.output.read()
	}()
	_ = p.cmd.Wait() // what came of it is in ProcessState
	p.output.setHold(false)
	_ = p.output.pipe.SetReadDeadline(time.Now().Add(outputTimeout)) // fails if it is over
	<-reading
}

func (p *Process) String() string {
	return fmt.Sprintf("%s %s, process %d", filepath.Base(p.cmd.Path), strings.Join(p.cmd.Args[1:], " "), p.PID())
}

// PID is the program's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended, was waited for, and all that it
// wrote has been read.
func (p *Process) Done() <-chan struct{} { return p.ended }

// Wait waits for the program's end and says how it was: ExitCode is -1 if a
// signal ended it.
func (p *Process) Wait(ctx context.Context) (*os.ProcessState, error) {
	select {
	case <-p.ended:
		return p.cmd.ProcessState, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s has not ended: %w", p, context.Cause(ctx))
	}
}

// Output is what the program has written so far, to standard output and standard
// error, in the order in which it came; the last 8 MiB if it was more.
func (p *Process) Output() string { return p.output.String() }

// AwaitOutput waits for a line that matches the regular expression, in what came
// after the line that an AwaitOutput returned before, and returns the match and
// its groups. It is for one goroutine at a time. The error is that of ctx, or
// io.EOF if the program has ended without such a line.
func (p *Process) AwaitOutput(ctx context.Context, pattern string) ([]string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	match, err := p.output.await(ctx, re)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return match, nil
}

// HoldOutput stops reading what the program writes, as a log collector does that
// hangs: once the pipe is full (64 KiB), its writes wait. It holds until
// ReleaseOutput or the program's end.
func (p *Process) HoldOutput() { p.output.setHold(true) }

// ReleaseOutput ends a HoldOutput.
func (p *Process) ReleaseOutput() { p.output.setHold(false) }

// Signal sends a signal and does not wait for what comes of it.
func (p *Process) Signal(s syscall.Signal) error {
	select {
	case <-p.ended:
		return fmt.Errorf("%v to %s: %w", s, p, errEnded)
	default:
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			err = errEnded
		}
		return fmt.Errorf("%v to %s: %w", s, p, err)
	}
	return nil
}

// Pause stops the program with SIGSTOP, and returns when all its threads stand
// still. Its sockets stay open, and the kernel goes on acknowledging what
// arrives.
func (p *Process) Pause() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return p.awaitThreads("stop", func(stopped, all int) bool { return stopped == all })
}

// Continue ends a Pause, and returns when no thread stands still.
func (p *Process) Continue() error {
	if err := p.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	return p.awaitThreads("continue", func(stopped, _ int) bool { return stopped == 0 })
}

// Kill ends the program with SIGKILL, also while it is paused, and returns when
// it is gone: its ports are free, its files closed.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), signalTimeout)
	defer cancel()
	_, err := p.Wait(ctx)
	return err
}

// awaitThreads waits until so many of the threads are stopped.
func (p *Process) awaitThreads(what string, enough func(stopped, all int) bool) error {
	ask := time.NewTicker(signalEvery)
	defer ask.Stop()
	timeout := time.After(signalTimeout)
	for {
		stopped, all, err := p.threads()
		if err == nil && all > 0 && enough(stopped, all) {
			return nil
		}
		select {
		case <-ask.C:
		case <-p.ended:
			return fmt.Errorf("%s: it did not %s: %w", p, what, errEnded)
		case <-timeout:
			return fmt.Errorf("%s: it did not %s in %v: %d of %d threads are stopped (%w)", p, what, signalTimeout, stopped, all, err)
		}
	}
}

// threads counts.
func (p *Process) threads() (stopped, all int, err error) {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
	if err != nil {
		return 0, 0, err
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, 0, err // it ended meanwhile
		}
		// "pid (name) state …", where the name may hold anything.
		_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
		all++
		if strings.HasPrefix(rest, "T") {
			stopped++
		}
	}
	return stopped, all, nil
}
