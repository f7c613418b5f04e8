package pingpong_test

import (
	"testing"

	"go.uber.org/goleak"

	"busd/bus"
	"busd/bustest"
	"busd/examples/pingpong"
	"busd/msgbus"
	"busd/msgclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPingPong(t *testing.T) {
	t.Parallel()
	c := bustest.NewServer(t, msgbus.Config{}, pingpong.New()).Connect(msgclient.Config{Schema: pingpong.Schema})
	for _, id := range []int64{0, -1, 1<<53 + 1} {
		pong, err := msgclient.Request[pingpong.Pong](t.Context(), c, pingpong.Ping{ID: id})
		if err != nil || pong.ID != id {
			t.Errorf("Ping %d: got %v, %v", id, pong, err)
		}
	}
}

func TestOnlyTheServiceSendsPong(t *testing.T) {
	t.Parallel()
	c := bustest.NewServer(t, msgbus.Config{}, pingpong.New()).Connect(msgclient.Config{})
	if err := c.Send(t.Context(), pingpong.Pong{ID: 1}); bus.CodeOf(err) != bus.CodeUnimplemented {
		t.Errorf("a client sends Pong: got %v, want unimplemented", err)
	}
}
