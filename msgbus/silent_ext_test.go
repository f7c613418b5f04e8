package msgbus_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
)

// TestShutdownWaitsForNoHello: a client that never says hello does not hold up
// a server that stops, and is told why.
func TestShutdownWaitsForNoHello(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		d := websocket.Dialer{
			NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return srv.DialContext(ctx, network, address)
			},
			TLSClientConfig: bustest.ClientTLS(t, "silent"),
			Subprotocols:    []string{"msgbus.v1"},
		}
		conn, _, err := d.DialContext(t.Context(), srv.URL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		synctest.Wait()
		begin := time.Now()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 2*time.Second { // in which it may take what it was told
			t.Errorf("Shutdown took %s", took)
		}
		if _, m, err := conn.ReadMessage(); err != nil || m[1] != byte(wire.Drop) {
			t.Errorf("the client was told % x (%v), want a drop", m, err)
		}
	})
}
