package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"busd/daemon/internal/demo"
)

func (p *app) demo() *cobra.Command {
	var (
		length time.Duration
		agents int
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "demo", Short: "everything in one process: a bus, a service and agents that play",
		Long: "demo makes a certificate authority, serves Framework/PingPong on a free port of\n" +
			"127.0.0.1, and lets agents send it requests over TLS as fast as they can, one at a\n" +
			"time each. After a third of the time (without --for: after 5 s) one agent's line is\n" +
			"cut in the middle of many messages; its session goes on. After two thirds (10 s) the\n" +
			"server is drained while a second one takes its address, and the agents move there.\n" +
			"Every message is counted at both ends. Nothing is left behind.\n\n" +
			"It ends with 0 only if every agent did its work, and nothing was lost or doubled.",
		Example: "  busd demo                            until ctrl-C\n" +
			"  busd demo --for 10s --agents 5\n" +
			"  busd demo --for 5s --json            one JSON object on standard output",
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("for") {
				if err := atLeast("for", length, demo.MinFor); err != nil {
					return err
				}
			}
			if agents < 1 || agents > demo.MaxAgents {
				return usage("", "--agents %d: want 1 to %d", agents, demo.MaxAgents)
			}
			return p.play(cmd.Context(), demo.Options{Agents: agents, For: length}, asJSON)
		},
	}
	cmd.Flags().DurationVar(&length, "for", 0, "how long to play (default: until ctrl-C)")
	cmd.Flags().IntVar(&agents, "agents", demo.DefaultAgents, "how many agents play")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the summary as one JSON object, and nothing else, on standard output")
	return cmd
}

func (p *app) play(ctx context.Context, o demo.Options, asJSON bool) error {
	screen := p.out
	if asJSON {
		screen = p.err
	}
	if !p.quiet {
		o.Out, o.Live, o.Colour = screen, isTerminal(screen), p.colours(screen)
	}
	sum, failed := p.actions.Demo(ctx, o)
	if sum.Agents == 0 { // it did not come to playing
		return failed
	}
	if asJSON {
		if err := p.printJSON(sum); err != nil {
			return err
		}
	} else if err := p.printSummary(sum); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return &fault{what: "not every agent did its work", cause: failed, exit: exitFailed}
	case o.For > 0 && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return nil
}

func (p *app) printSummary(sum demo.Summary) error {
	_, err := fmt.Fprintf(p.out, "%s, %.1f s: %d round trips (%.0f/s), %s, p50 %.0f µs, p99 %.0f µs\n"+
		"%s, %d resumed, %d moved: %s lost, %d doubled\n",
		plural(sum.Agents, "agent"), sum.Seconds, sum.RoundTrips, float64(sum.RoundTrips)/sum.Seconds,
		plural(int(sum.Errors), "error"), sum.P50, sum.P99,
		plural(int(sum.Reconnects), "reconnect"), sum.Resumed, sum.Moved, plural(int(sum.Lost), "message"), sum.Doubled)
	return err
}
