package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"busd/msgclient"
	"busd/schema"
)

// errTimeOver is the cause of a context whose --for is over.
var errTimeOver = errors.New("the time is over")

func (p *app) listen() *cobra.Command {
	var (
		t      target
		asJSON bool
		length time.Duration
	)
	cmd := &cobra.Command{
		Use: "listen URL", Short: "print each message that a service sends",
		Long: "listen connects and prints each message as it comes, one line each, until ctrl-C,\n" +
			"until --for is over, or until the service refuses for good. When the connection ends\n" +
			"it says so on standard error, connects again, and says whether the session went on:\n" +
			"then what the service sent meanwhile comes now, once and in order. With --json it says\n" +
			"that as JSON, too, one object a line.",
		Example: "  busd listen Framework/PingPong\n" +
			"  busd listen localhost:8443/Framework/PingPong --json --for 1m | jq .attrs",
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.complete(args[0], p.env); err != nil {
				return err
			}
			ctx := cmd.Context()
			if cmd.Flags().Changed("for") {
				if err := positive("for", length); err != nil {
					return err
				}
				timed, cancel := context.WithTimeoutCause(ctx, length, errTimeOver)
				defer cancel()
				ctx = timed
			}
			return p.follow(ctx, &t, asJSON)
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print time, message and attributes as JSON, one object a line")
	cmd.Flags().DurationVar(&length, "for", 0, "how long to listen (default: until ctrl-C)")
	return cmd
}

// follow prints what comes until ctx ends.
func (p *app) follow(ctx context.Context, t *target, asJSON bool) error {
	listening, end := context.WithCancelCause(ctx)
	defer end(nil)
	l := &line{app: p, asJSON: asJSON, begins: true}
	c, err := p.client(t, l.watch(msgclient.Config{}))
	if err != nil {
		return err
	}
	c.OnAny(func(_ context.Context, _ *msgclient.Client, m *schema.Record) error {
		err := p.print(m, asJSON)
		if err != nil {
			end(err) // nobody reads it any more
		}
		return err
	})
	if err := c.Connect(listening); err != nil {
		return t.cannot(ctx, err)
	}
	err = c.Run(listening)
	switch cause := context.Cause(listening); {
	case errors.Is(cause, errTimeOver):
		return nil
	case cause != nil:
		return cause
	}
	return refused(ctx, "the service does not want this client any more", err)
}

// print is show with the time and the name, for people who see many messages.
func (p *app) print(m *schema.Record, asJSON bool) error {
	if !asJSON {
		if _, err := p.out.Write([]byte(time.Now().Format("15:04:05.000") + "  " + m.MessageName() + "  ")); err != nil {
			return err
		}
	}
	return p.show(m, asJSON)
}
