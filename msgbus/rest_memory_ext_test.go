package msgbus_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"busd/bustest"
	"busd/examples/pingpong"
	"busd/msgbus"
	"busd/msgclient"
)

// A session whose client is away keeps nothing of the connection that it had: what
// TLS and the WebSocket hold is some 15 KiB.
func TestRestIsSmall(t *testing.T) {
	const (
		clients = 300
		bound   = 24 << 10 // both ends of one; measured: 20 KiB, and 36 KiB with the socket
	)
	synctest.Test(t, func(t *testing.T) {
		svc := &msgbus.Service{Schema: pingpong.Schema}
		msgbus.Handle(svc, func(context.Context, *msgbus.Conn, pingpong.Ping) error { return nil })
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		before := heap()
		for i := range clients {
			if err := srv.Client(msgclient.Config{Instance: fmt.Sprint("i", i)}).Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		srv.Cut()
		time.Sleep(time.Minute) // all clocks of the connections have stopped
		if n, _ := srv.SessionsAtRest(); n != clients {
			t.Fatalf("%d sessions at rest, want %d", n, clients)
		}
		per := (int64(heap()) - int64(before)) / clients
		t.Logf("%d bytes for a session at rest and its client", per)
		if per > bound {
			t.Errorf("%d bytes for a session at rest and its client, want %d at most", per, bound)
		}
	})
}

func heap() uint64 {
	for range 3 { // pools are emptied by the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
