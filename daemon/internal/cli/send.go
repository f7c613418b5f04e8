package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"busd/bus"
	"busd/msgclient"
	"busd/schema"
)

// defaultTimeout bounds connecting, sending and waiting for an answer.
const defaultTimeout = 10 * time.Second

// sending is what send and request have in common.
type sending struct {
	target
	timeout time.Duration
	asJSON  bool
	expect  string
}

func (s *sending) flags(cmd *cobra.Command) {
	s.target.flags(cmd)
	cmd.Flags().DurationVar(&s.timeout, "timeout", defaultTimeout, "how long it may take, connecting included")
	cmd.Flags().BoolVar(&s.asJSON, "json", false, "print time, message and attributes as one JSON object")
}

// run connects and does the work in the time allowed.
func (s *sending) run(ctx context.Context, p *app, args []string, work func(context.Context, *msgclient.Client, *schema.Record) error) error {
	if err := positive("timeout", s.timeout); err != nil {
		return err
	}
	if err := s.complete(args[0], p.env); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout,
		bus.Errorf(bus.CodeDeadlineExceeded, "it took longer than %s", s.timeout))
	defer cancel()
	return p.visit(ctx, &s.target, func(ctx context.Context, c *msgclient.Client) error {
		m, err := p.record(c, args[1], args[2:])
		if err != nil {
			return err
		}
		return work(ctx, c, m)
	})
}

func (p *app) send() *cobra.Command {
	var s sending
	cmd := &cobra.Command{
		Use: "send URL MESSAGE [JSON]", Short: "send one message to a service",
		Long: "send connects, learns the service's contract, makes a message of the JSON object and\n" +
			"sends it. It returns once the service has read, checked and queued the message; with\n" +
			"--expect it then waits for a message of that name and prints its attributes. JSON may\n" +
			"be - for standard input. If the line is cut meanwhile it connects again, and goes on.",
		Example: "  busd send Framework/PingPong Ping '{\"id\": 1}'\n" +
			"  busd send wss://bus.example.org:8443/Framework/PingPong Ping '{\"id\": 1}' --expect Pong\n" +
			"  echo '{\"id\": 2}' | busd send Framework/PingPong Ping -",
		Args: between(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd.Context(), p, args, func(ctx context.Context, c *msgclient.Client, m *schema.Record) error {
				return p.sendOne(ctx, &s, c, m)
			})
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVar(&s.expect, "expect", "", "wait for a message of this name and print it")
	return cmd
}

func (p *app) sendOne(ctx context.Context, s *sending, c *msgclient.Client, m *schema.Record) error {
	answers := make(chan *schema.Record, 1)
	if s.expect != "" {
		d, err := defined(c.Contract(), s.expect, schema.FromClient)
		if err != nil {
			return err
		}
		if d.From == schema.FromClient {
			return &fault{
				what: "--expect " + s.expect + ": only clients send it, so the service never does", exit: exitSchema,
				details: []detail{{"it sends", strings.Join(names(c.Contract(), schema.FromClient), ", ")}},
			}
		}
		c.OnRecord(s.expect, func(_ context.Context, _ *msgclient.Client, m *schema.Record) error {
			select {
			case answers <- m:
			default: // one is enough
			}
			return nil
		})
	}
	began := time.Now()
	if err := c.SendAcked(ctx, m); err != nil {
		return refused(ctx, "the service did not take "+m.MessageName(), err)
	}
	if s.expect == "" {
		p.note("sent %s: the service has read, checked and queued it, in %s", m.MessageName(), since(began))
		if s.asJSON {
			return p.show(m, true)
		}
		return nil
	}
	select {
	case answer := <-answers:
		p.note("%s came %s after %s was sent", s.expect, since(began), m.MessageName())
		return p.show(answer, s.asJSON)
	case <-ctx.Done():
		return refused(ctx, "no "+s.expect+" came", context.Cause(ctx))
	}
}

func (p *app) request() *cobra.Command {
	var s sending
	cmd := &cobra.Command{
		Use: "request URL MESSAGE [JSON]", Short: "send one message and print the reply to it",
		Long: "request connects, learns the service's contract, makes a message of the JSON object,\n" +
			"sends it as a request and prints the reply's attributes as JSON. JSON may be - for\n" +
			"standard input. A message that the service handles without a reply prints nothing. If\n" +
			"the line is cut meanwhile it connects again, and waits on for the same reply.",
		Example: "  busd request Framework/PingPong Ping '{\"id\": 1}'\n" +
			"  busd request localhost:8443/Framework/PingPong Ping '{\"id\": 1}' --json",
		Args: between(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd.Context(), p, args, func(ctx context.Context, c *msgclient.Client, m *schema.Record) error {
				return p.requestOne(ctx, &s, c, m)
			})
		},
	}
	s.flags(cmd)
	return cmd
}

func (p *app) requestOne(ctx context.Context, s *sending, c *msgclient.Client, m *schema.Record) error {
	began := time.Now()
	answer, err := c.RequestRecord(ctx, m)
	if err != nil {
		return refused(ctx, "the service did not answer "+m.MessageName(), err)
	}
	if answer == nil {
		p.note("the service has handled %s without a reply, in %s", m.MessageName(), since(began))
	}
	return p.show(answer, s.asJSON)
}

// since is how long something took, for people.
func since(began time.Time) time.Duration { return time.Since(began).Round(10 * time.Microsecond) }
