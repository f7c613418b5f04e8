package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"busd/bustest"
	"busd/examples/inventory"
	"busd/msgbus"
	"busd/rpc/rpcclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The same calls over HTTPS and over a stable connection.
func TestPlay(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, inventory.New())
	for _, scheme := range []string{"https", "wss"} {
		url := strings.Replace(srv.URL(), "wss:", scheme+":", 1)
		c, err := rpcclient.Dial(t.Context(), url, rpcclient.Config{TLS: bustest.ClientTLS(t, "keeper"), DialContext: srv.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		if err := play(t.Context(), c); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
