package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// roleArgument as the first argument makes a process a server or a client of
// one contender; the second is its [role].
const roleArgument = "role"

// The descriptors of the pipes between the harness and its processes.
const (
	requestsFD = 3
	answersFD  = 4
)

// A role is what a process that the harness starts is to be.
type role struct {
	Kind      string        `json:"kind"` // "server" or "client"
	Contender string        `json:"contender"`
	Address   string        `json:"address"`    // where the server listens
	Dir       string        `json:"dir"`        // of certificates, and for what the process writes
	KeepAlive time.Duration `json:"keep_alive"` // how often clients say that they are there
	Server    int           `json:"server"`     // the server's process, for a client
}

// playRole plays the role that the arguments ask for, until the harness has no
// more use for it, and ends the process. Without one it returns at once.
func playRole(arguments []string) {
	if len(arguments) != 3 || arguments[1] != roleArgument {
		return
	}
	if err := play(arguments[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(text string) error {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return fmt.Errorf("role: %w", err)
	}
	c, err := contenderNamed(r.Contender)
	if err != nil {
		return err
	}
	p, err := openPKI(r.Dir)
	if err != nil {
		return err
	}
	requests, answers := os.NewFile(requestsFD, "requests"), os.NewFile(answersFD, "answers")
	if r.Kind == "client" {
		side := &clientSide{role: r, contender: c, pki: p}
		return answerAll(requests, answers, side.operations())
	}
	side := &serverSide{role: r, pki: p, app: newApplication()}
	go func() {
		err := answerAll(requests, answers, side.operations())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0) // the harness has gone
	}()
	return c.serve(side)
}
