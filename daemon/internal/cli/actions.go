package cli

import (
	"context"
	"io"

	"busd/daemon/internal/demo"
)

// Actions is what the program can do beside being a client. The room that
// joins everything gives them, so that commands need not know how a server is
// built.
type Actions struct {
	// Services are the names of the services compiled in, like
	// "Framework/PingPong".
	Services []string
	// Serve serves until ctx ends and then stops in good order. It returns nil
	// when the stop was clean.
	Serve func(ctx context.Context, o ServeOptions) error
	// Check checks the configuration, the files it names and the services, and
	// runs nothing.
	Check func(ctx context.Context, o ServeOptions) error
	// Demo plays the demonstration until ctx or its time ends; [demo.Run].
	Demo func(ctx context.Context, o demo.Options) (demo.Summary, error)
}

// ServeOptions is what the command line says about serving. An empty field was
// not given.
type ServeOptions struct {
	ConfigFile string
	Listen     string
	Dev        bool
	Services   []string
	Debug      bool

	Stdout, Stderr io.Writer

	// Reload receives when the configuration should be read anew (SIGHUP).
	Reload <-chan struct{}
	// Force is closed when a stop in good order should become a stop at once
	// (a second SIGINT or SIGTERM).
	Force <-chan struct{}
}
