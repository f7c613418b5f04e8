// Package daemon is the program: it joins the rooms. A busd of one's own is
// five lines:
//
//	func main() {
//		daemon.Main(pingpong.New(), inventory.New())
//	}
//
// It reads the configuration, listens, serves the services, shows operators
// what they may see, and stops in good order. It knows no messages.
package daemon

import (
	"context"
	"os"

	"busd/daemon/internal/cli"
	"busd/daemon/internal/demo"
	"busd/msgbus"
)

// Main is the whole of a program that serves these services: it runs the
// command that the program's arguments name, as "busd help" lists them, and
// ends the process with the exit code that belongs to what came of it. It
// panics if a service has no contract.
func Main(services ...*msgbus.Service) {
	p := &program{services: services, environ: os.Environ(), dir: devDir}
	os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, cli.Actions{
		Services: p.names(), Serve: p.serve, Check: p.check, Demo: demo.Run,
	}))
}

// A program is what Main was given, and where it runs.
type program struct {
	services []*msgbus.Service
	environ  []string
	dir      string // of development certificates
}

func (p *program) names() []string {
	names := make([]string, len(p.services))
	for i, s := range p.services {
		names[i] = s.Name()
	}
	return names
}
