package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// startTimeout bounds how long a server may take until it listens.
	startTimeout = 30 * time.Second
	// logTail is how much of what a process wrote is shown when it fails.
	logTail = 2 << 10
)

// A process is a server or a client that the harness has started: this program
// once more, in a role.
type process struct {
	role     role
	cmd      *exec.Cmd
	log      string // what it writes goes to this file
	requests *json.Encoder
	answers  *json.Decoder
	pipes    []*os.File
	ended    chan struct{}
}

// startProcess starts a process in a role. It ends with ctx.
func startProcess(ctx context.Context, r role) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	p := &process{role: r, log: filepath.Join(r.Dir, r.Kind+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	requestsIn, requestsOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answersIn, answersOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, requestsIn.Close(), requestsOut.Close())
	}
	p.cmd = exec.CommandContext(ctx, program, roleArgument, string(text)) //nolint:gosec // G204: ourselves
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.ExtraFiles = []*os.File{requestsFD - 3: requestsIn, answersFD - 3: answersOut}
	p.requests, p.answers = json.NewEncoder(requestsOut), json.NewDecoder(answersIn)
	p.pipes = []*os.File{requestsOut, answersIn}
	err = p.cmd.Start()
	requestsIn.Close()
	answersOut.Close()
	if err != nil {
		p.closePipes()
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // that it was killed is what mostly happens
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// ask has the process do something, waits for it and stores what came of it.
func (p *process) ask(op string, args, result any) error {
	text, err := json.Marshal(args)
	if err != nil {
		return err
	}
	if err := p.requests.Encode(request{Op: op, Args: text}); err != nil {
		return p.failed(op, err)
	}
	var a answer
	if err := p.answers.Decode(&a); err != nil {
		return p.failed(op, err)
	}
	if a.Error != "" {
		return p.failed(op, errors.New(a.Error))
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(a.Result, result)
}

// failed adds to an error what the process wrote last.
func (p *process) failed(op string, err error) error {
	err = fmt.Errorf("%s %s: %s: %w", p.role.Contender, p.role.Kind, op, err)
	text, readErr := os.ReadFile(p.log)
	if readErr != nil || len(text) == 0 {
		return err
	}
	text = text[max(0, len(text)-logTail):]
	return fmt.Errorf("%w\n    %s", err, strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n    "))
}

// listening waits until the process accepts connections.
func (p *process) listening() error {
	for deadline := time.Now().Add(startTimeout); ; {
		c, err := net.Dial("tcp", p.role.Address)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return p.failed("listen", err)
		}
		select {
		case <-p.ended:
			return p.failed("listen", errors.New("it ended"))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// kill ends the process, as a crash would, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
	p.closePipes()
}

func (p *process) closePipes() {
	for _, f := range p.pipes {
		f.Close()
	}
}

// freeAddress returns an address on loopback on which nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
