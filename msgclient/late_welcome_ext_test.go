package msgclient_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// The welcome of a move takes long to arrive: longer than the service waits for the
// client to leave the connection that it has been moved away from. The session goes
// on all the same.
func TestWelcomeOfAMoveIsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var connects atomic.Int64
		open := make(chan struct{})
		close(open)
		var gate atomic.Value
		gate.Store(open)
		svc := newRoom(nil)
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			if connects.Add(1) == 2 {
				gate.Store(make(chan struct{}))
			}
			return nil
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		dials := 0
		c := srv.Connect(msgclient.Config{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := srv.DialContext(ctx, network, address)
				if dials++; dials == 2 && err == nil {
					conn = lateLine{conn, &gate}
				}
				return conn, err
			},
			OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
		})
		ping(t, c, 1)
		moved := make(chan error, 1)
		go func() { moved <- c.Reconnect(t.Context()) }()
		time.Sleep(15 * time.Second)
		close(gate.Load().(chan struct{}))
		if err := next(t, moved, "the end of Reconnect"); err != nil {
			t.Errorf("Reconnect: %v", err)
		}
		wantResumption(t, c, msgclient.Resumption{Resumed: true})
		ping(t, c, 2)
	})
}

type lateLine struct {
	net.Conn
	gate *atomic.Value
}

func (l lateLine) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	<-l.gate.Load().(chan struct{})
	return n, err
}
