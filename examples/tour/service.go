package tour

import (
	"context"

	"busd/access"
	"busd/bus"
	"busd/msgbus"
)

// NewService makes the service.
func NewService() *msgbus.Service {
	svc := &msgbus.Service{Schema: Schema, Allow: access.Authenticated}
	svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
		if c.Resumed() {
			return nil // its state, its group and its jobs are as they were
		}
		site, ok := c.Args()["site"].(string)
		if !ok {
			return bus.Errorf(bus.CodeInvalidArgument, "connect with args: want site, a string")
		}
		c.SetState(site)
		svc.Group(site).Add(c)
		return nil
	}
	svc.OnDrop = func(_ context.Context, c *msgbus.Conn, why error) {
		away(c.Identity(), bus.CodeOf(why)) // it may come back, and go on
	}
	svc.OnGone = func(_ context.Context, agent bus.Identity, why error) {
		requeue(agent, bus.CodeOf(why)) // it will not, or begins anew
	}
	msgbus.Handle(svc, func(_ context.Context, c *msgbus.Conn, m Progress) error {
		return record(c.Identity(), m)
	}).KeepOnError()
	msgbus.Handle(svc, func(context.Context, *msgbus.Conn, Accepted) error {
		return bus.Errorf(bus.CodeFailedPrecondition, "Accepted is an answer: it is not sent by itself")
	})
	return svc
}

// Hand gives a job to an agent and returns once the agent has accepted it.
func Hand(ctx context.Context, c *msgbus.Conn, job Job) error {
	accepted, err := msgbus.Request[Accepted](ctx, c, job)
	if err != nil {
		return err
	}
	if accepted.ID != job.ID {
		return bus.Errorf(bus.CodeInternal, "job %d was accepted as %d", job.ID, accepted.ID)
	}
	return nil
}

// Tell sends a notice to all agents of a site. It waits for none of them.
func Tell(ctx context.Context, svc *msgbus.Service, site, text string) error {
	return svc.Group(site).Broadcast(ctx, Notice{Text: text})
}

// What a real service keeps in a database.
func away(bus.Identity, bus.Code)         {}
func requeue(bus.Identity, bus.Code)      {}
func record(bus.Identity, Progress) error { return nil }
