package tour_test

import (
	"context"
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

// What the pages say of a cut: the agent's state, its group and what it was sent
// are there when it is back.
func TestTourGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	svc := tour.NewService()
	back := make(chan bool, 2)
	onConnect := svc.OnConnect
	svc.OnConnect = func(ctx context.Context, c *msgbus.Conn) error {
		defer func() { back <- c.Resumed() }()
		return onConnect(ctx, c)
	}
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	agent, err := tour.NewAgent(msgclient.Config{
		URL: srv.URL(), TLS: bustest.ClientTLS(t, "agent-7"), DialContext: srv.DialContext, MinWait: 1,
	}, "cern")
	if err != nil {
		t.Fatal(err)
	}
	bustest.Run(t, agent)
	if <-back {
		t.Error("the first connection was resumed")
	}
	conn := svc.Conns()[0]
	srv.Cut()
	job := tour.Job{ID: 7, Command: []string{"true"}, Priority: "normal"}
	if err := tour.Hand(t.Context(), conn, job); err != nil { // waits until it is back
		t.Errorf("hand a job over: %v", err)
	}
	if !<-back {
		t.Error("the second connection was not resumed")
	}
	if got := svc.Conns()[0].State(); got != "cern" {
		t.Errorf("state: got %v, want cern", got)
	}
	if got := len(svc.Group("cern").Conns()); got != 1 {
		t.Errorf("group: got %d members, want 1", got)
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
