package tour

import (
	"context"
	"log"

	"busd/bus"
	"busd/msgclient"
)

// NewAgent makes an agent of a site. Run keeps it connected.
func NewAgent(cfg msgclient.Config, site string) (*msgclient.Client, error) {
	cfg.Schema = Schema // compared with the service's at each connect
	cfg.Args = map[string]any{"site": site}
	cfg.OnConnect = func(_ context.Context, c *msgclient.Client) {
		switch r := c.Resumption(); {
		case r.Resumed:
			log.Print("back, and nothing is lost")
		case r.Reason != "":
			log.Printf("back, with a new session (%s): of %d messages it is not known whether they arrived", r.Reason, r.Lost)
		}
	}
	cfg.OnDrop = func(_ context.Context, _ *msgclient.Client, why error) {
		log.Print("connection lost, coming back: ", why)
	}
	c, err := msgclient.New(cfg)
	if err != nil {
		return nil, err
	}
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, job Job) error {
		if len(job.Command) == 0 {
			return bus.Errorf(bus.CodeInvalidArgument, "job %d has no command", job.ID)
		}
		if err := c.Reply(ctx, Accepted{ID: job.ID}); err != nil {
			return err
		}
		return c.Send(ctx, Progress{ID: job.ID, Percent: 0})
	})
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Notice) error {
		log.Print("notice: ", m.Text)
		return nil
	})
	return c, nil
}

// Finish tells the service that a job is done, and returns once it has been
// handled there.
func Finish(ctx context.Context, c *msgclient.Client, id int64) error {
	return c.SendHandled(ctx, Progress{ID: id, Percent: 100})
}
