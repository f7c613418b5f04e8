package cli

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"busd/bus"
	"busd/internal/nearest"
)

func (p *app) serve() *cobra.Command {
	var (
		o     ServeOptions
		check bool
	)
	cmd := &cobra.Command{
		Use: "serve", Short: "serve the services that are compiled in",
		Long: "serve listens for agents until SIGTERM or ctrl-C and then stops in good order; a\n" +
			"second one stops at once. SIGHUP reads the configuration anew.\n\n" +
			"With --dev it makes its own certificates under ./.busd, listens on loopback only\n" +
			"and prints what to type next.\n\n" +
			"Services compiled in: " + strings.Join(p.actions.Services, ", "),
		Example: "  busd serve --dev\n" +
			"  busd serve --config /etc/busd/busd.yaml\n" +
			"  busd serve --check --config busd.yaml        only check",
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.known(o.Services); err != nil {
				return err
			}
			o.Debug, o.Stdout, o.Stderr, o.Force = p.debug, p.out, p.err, p.force
			if file := cmp.Or(o.ConfigFile, p.env("BUSD_CONFIG")); file != "" && !exists(file) {
				return unreadable(file, fs.ErrNotExist)
			}
			if check {
				return served(p.actions.Check(cmd.Context(), o))
			}
			reload, stop := hangups()
			defer stop()
			o.Reload = reload
			return served(p.actions.Serve(cmd.Context(), o))
		},
	}
	cmd.Flags().StringVar(&o.ConfigFile, "config", "", "the configuration, a YAML file")
	cmd.Flags().StringVar(&o.Listen, "listen", "", "where to listen for agents, host:port")
	cmd.Flags().BoolVar(&o.Dev, "dev", false, "development: own certificates under ./.busd, loopback only")
	cmd.Flags().StringSliceVar(&o.Services, "services", nil, "which services to serve (default: all)")
	cmd.Flags().BoolVar(&check, "check", false, "check configuration, files and services, and run nothing")
	return cmd
}

// known refuses services that are not compiled in.
func (p *app) known(services []string) error {
	for _, s := range services {
		if slices.Contains(p.actions.Services, s) {
			continue
		}
		f := usage("", "--services: there is no service %s in this program", s)
		f.details = []detail{{"services", strings.Join(p.actions.Services, ", ")}}
		if near := nearest.Word(s, p.actions.Services); near != "" {
			f.try = []string{"busd serve --services " + near}
		}
		return f
	}
	return nil
}

// advised is an error of an action with what a person may try.
type advised struct {
	error
	try []string
}

func (a *advised) Unwrap() error { return a.error }

// Advise adds to an error of an [Actions] function what a person may try.
func Advise(err error, try ...string) error { return &advised{err, try} }

// served says what kept a server from running. What is wrong with a
// configuration and the files that it names has an exit code of its own, and
// what is wrong with the program, too.
func served(err error) error {
	f := &fault{what: "cannot serve", cause: err}
	var a *advised
	if errors.As(err, &a) {
		f.cause, f.try = a.error, a.try
	}
	switch bus.CodeOf(err) {
	case bus.CodeInvalidArgument, bus.CodeFailedPrecondition:
		f.exit = exitConfig
	case bus.CodeInternal:
		f.exit = exitBug
	default:
		if f.try == nil {
			return err
		}
	}
	return f
}

// hangups receives at each SIGHUP, those that come together once.
func hangups() (<-chan struct{}, func()) {
	signals, reload := make(chan os.Signal, 1), make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	signal.Notify(signals, syscall.SIGHUP)
	go func() { // ends with the function that is returned
		for {
			select {
			case <-signals:
			case <-ctx.Done():
				return
			}
			select {
			case reload <- struct{}{}:
			default: // one waits already
			}
		}
	}()
	return reload, func() {
		signal.Stop(signals)
		cancel()
	}
}
