package ledger

import (
	"context"
	"os"
	"time"

	"busd/access"
	"busd/bus"
	"busd/msgbus"
)

// Variable names the file in the environment.
const Variable = "LEDGER"

// New makes the service, which writes to the file that Variable names; without
// one it writes nothing.
func New() *msgbus.Service {
	s := &service{}
	svc := &msgbus.Service{
		Schema: Schema,
		Allow:  access.Authenticated,
		Init: func(context.Context) (err error) {
			if path := os.Getenv(Variable); path != "" {
				s.file, err = open(path)
			}
			return err
		},
		OnConnect: func(_ context.Context, c *msgbus.Conn) error {
			var resumed int64
			if c.Resumed() {
				resumed = 1
			}
			s.note(Connected, c.Identity(), resumed)
			return nil
		},
		OnDrop: func(_ context.Context, c *msgbus.Conn, why error) {
			s.note(Dropped, c.Identity(), int64(bus.CodeOf(why)))
		},
		OnGone: func(_ context.Context, identity bus.Identity, why error) {
			s.note(Gone, identity, int64(bus.CodeOf(why)))
		},
	}
	s.Service = svc
	msgbus.Handle(svc, s.up)
	msgbus.Handle(svc, s.ask)
	msgbus.Handle(svc, s.push)
	msgbus.Handle(svc, s.shout)
	return svc
}

type service struct {
	*msgbus.Service

	file *file // nil: nothing is written down
}

func (s *service) note(k Kind, who bus.Identity, n int64) {
	if s.file != nil {
		s.file.write(Line{k, who, n})
	}
}

func (s *service) up(ctx context.Context, c *msgbus.Conn, m Up) error {
	s.note(Handled, c.Identity(), m.N)
	if !m.Echo {
		return nil
	}
	return c.Send(ctx, Down{N: m.N})
}

func (s *service) ask(ctx context.Context, c *msgbus.Conn, m Ask) error {
	s.note(Asked, c.Identity(), m.N)
	if m.Wait > 0 {
		select {
		case <-time.After(time.Duration(m.Wait) * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return c.Reply(ctx, Got{N: m.N})
}

func (s *service) push(ctx context.Context, c *msgbus.Conn, m Push) error {
	go func() { //nolint:gosec // it outlives the request: it ends when all are sent, or the session has
		pad := make([]byte, m.Size)
		for n := int64(1); n <= m.Count; n++ {
			if c.Send(context.Background(), Down{N: n, Pad: pad}) != nil {
				return // the client misses them
			}
		}
	}()
	return c.Reply(ctx, Got{N: m.Count})
}

func (s *service) shout(ctx context.Context, c *msgbus.Conn, m Shout) error {
	pad := make([]byte, m.Size)
	for n := int64(1); n <= m.Count; n++ {
		if err := s.Broadcast(ctx, Down{N: n, Pad: pad}); err != nil {
			return err
		}
		time.Sleep(time.Duration(m.Pause) * time.Millisecond)
	}
	return c.Reply(ctx, Got{N: m.Count})
}
