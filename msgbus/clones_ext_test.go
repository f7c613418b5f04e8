package msgbus_test

import (
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// Two clients that share an identity, and do not take superseded for an answer,
// would take it from each other for ever: after some times in a minute the newer
// is refused for a while. Nobody else notices.
func TestClonesThatFight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		bystander := srv.Connect(msgclient.Config{Instance: "bystander"})
		clones := [2]*msgclient.Client{}
		for i := range clones {
			clones[i] = srv.Client(msgclient.Config{
				Instance: "pilot", RetrySuperseded: true, MinWait: 10 * time.Millisecond, MaxWait: 20 * time.Millisecond,
			})
			go func() { _ = clones[i].Run(t.Context()) }() // ends with the client, which the cleanup closes
		}
		const minutes = 5
		for range minutes * 60 {
			time.Sleep(time.Second)
			ping(t, bystander, 1)
		}
		fought := clones[0].Connects() + clones[1].Connects()
		if most := uint64(2 + 11*(minutes+1)); fought < 10 || fought > most {
			t.Errorf("they connected %d times in %d minutes, want no more than %d", fought, minutes, most)
		}
		if bystander.Connects() != 1 {
			t.Errorf("another client connected %d times, want once", bystander.Connects())
		}
		if srv.Stats()[0].Refused[bus.CodeResourceExhausted] == 0 {
			t.Error("nobody was refused")
		}
		if n := len(svc.Conns()); n != 2 {
			t.Errorf("got %d connections, want one of the clones and the other client", n)
		}
	})
}
