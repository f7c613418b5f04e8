package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// app is one run of the program.
type app struct {
	// Fixed at creation.
	actions  Actions
	in       io.Reader
	out, err io.Writer
	force    chan struct{} // closed by a second signal
	env      func(name string) string

	// Set by flags.
	debug, quiet bool
}

// Run runs the command that args, without the program's name, ask for, and
// returns the exit code. SIGINT and SIGTERM end its context; a second one makes
// serving stop at once. It never panics: a fault of busd is exit code 70.
func Run(ctx context.Context, args []string, in io.Reader, out, err io.Writer, a Actions) (exit int) {
	p := &app{actions: a, in: in, out: out, err: err, force: make(chan struct{}), env: os.Getenv}
	defer func() {
		if v := recover(); v != nil {
			fmt.Fprintf(err, "busd: a fault in busd itself: %v\n", v)
			fmt.Fprintf(err, "  %-12s %s\n", "try", "report it, with the command and what follows")
			_, _ = err.Write(debug.Stack()) // nobody is left to tell
			exit = exitBug
		}
	}()
	ctx, stop := p.untilSignal(ctx)
	defer stop()
	root := p.root()
	root.SetArgs(args)
	if failed := root.ExecuteContext(ctx); failed != nil {
		report(err, failed, p.debug)
		return exitOf(failed)
	}
	return exitOK
}

// untilSignal ends the context it returns at the first SIGINT or SIGTERM, and
// closes force at the second.
func (p *app) untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the function that is returned
		for n := 0; ; n++ {
			select {
			case <-signals:
				cancel(errInterrupted)
				if n == 1 {
					close(p.force)
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

func (p *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "busd",
		Short: "the control-plane bus for fleets of agents",
		Long: "busd is a bus: agents hold one mutually authenticated TLS connection each to a\n" +
			"service, and both sides send messages that are checked against its contract.",
		Example: "  busd demo --for 10s                  see it work\n" +
			"  busd serve --dev                     a server with certificates of its own\n" +
			"  busd request Framework/PingPong Ping '{\"id\": 1}'\n" +
			"  busd call Framework/PingPong whoami",
		SilenceErrors: true, SilenceUsage: true,
		Version: thisBuild().text(),
		Args:    group, RunE: help,
	}
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.PersistentFlags().BoolVar(&p.debug, "debug", false, "show what is underneath an error, and log to standard error")
	root.PersistentFlags().BoolVarP(&p.quiet, "quiet", "q", false, "print nothing but data and errors")
	root.SetFlagErrorFunc(flagFault)
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(
		p.demo(), p.serve(), p.drain(), p.deny(), p.pki(), p.call(), p.send(), p.request(), p.listen(), p.bench(), p.schema(), p.doctor(), p.version(),
		&cobra.Command{Use: "exit-codes", Short: "how busd ends", Long: exitTable()},
		&cobra.Command{Use: "environment", Short: "the variables that busd reads", Long: environment},
	)
	root.SetHelpCommand(helpCommand())
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = group, help
		}
	}
	return root
}

// help is what a command does that only has others under it.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// note tells the person at the terminal something that is no data.
func (p *app) note(format string, a ...any) {
	if !p.quiet {
		fmt.Fprintln(p.err, visibleLines(fmt.Sprintf(format, a...)))
	}
}

// isTerminal tells whether somebody watches w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours tells whether what is written to w may be coloured.
func (p *app) colours(w io.Writer) bool {
	return isTerminal(w) && p.env("NO_COLOR") == "" && p.env("TERM") != "dumb"
}

// positive checks a duration flag.
func positive(flag string, d time.Duration) error {
	if d <= 0 {
		return usage("", "--%s %s: want a time above zero, such as 10s", flag, d)
	}
	return nil
}

// atLeast checks a duration flag that has a lower bound.
func atLeast(flag string, d, least time.Duration) error {
	if d < least {
		return usage("", "--%s %s: want %s at least", flag, d, least)
	}
	return nil
}
