package tour_test

import (
	"testing"

	"busd/bus"
	"busd/bustest"
	"busd/examples/tour"
	"busd/msgbus"
	"busd/msgclient"
)

func TestTour(t *testing.T) {
	t.Parallel()
	svc := tour.NewService()
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	agent, err := tour.NewAgent(msgclient.Config{
		URL: srv.URL(), TLS: bustest.ClientTLS(t, "agent-7"), DialContext: srv.DialContext,
	}, "cern")
	if err != nil {
		t.Fatal(err)
	}
	bustest.Run(t, agent)

	conn := svc.Conns()[0]
	job := tour.Job{ID: 7, Command: []string{"true"}, Priority: "normal"}
	if err := tour.Hand(t.Context(), conn, job); err != nil {
		t.Errorf("hand a job over: %v", err)
	}
	job.ID = 0
	if err := tour.Hand(t.Context(), conn, job); bus.CodeOf(err) != bus.CodeInvalidMessage {
		t.Errorf("a job that breaks the contract: got %v, want %v", err, bus.CodeInvalidMessage)
	}
	if err := tour.Finish(t.Context(), agent, 7); err != nil {
		t.Errorf("finish: %v", err)
	}
	if err := tour.Tell(t.Context(), svc, "cern", "hello"); err != nil {
		t.Errorf("tell: %v", err)
	}
	if got := svc.Group("cern").Conns(); len(got) != 1 || got[0] != conn {
		t.Errorf("group: got %v, want the one connection", got)
	}
}

func TestRefusedWithoutSite(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, tour.NewService())
	err := srv.Client(msgclient.Config{}).Connect(t.Context())
	if bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("got %v, want %v", err, bus.CodeInvalidArgument)
	}
}
