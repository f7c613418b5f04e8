package msgbus_test

import (
	"context"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// The story of a connection is two lines with its TRID; a refusal and a failed
// message are one each. No line shows contents.
func TestLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error {
			if m.Do == "panic" {
				panic("ouch")
			}
			return bus.Errorf(bus.CodeAborted, "no")
		})
		svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
			if c.Args()["refuse"] == true {
				return bus.Errorf(bus.CodeFailedPrecondition, "not now")
			}
			return nil
		}
		srv := bustest.NewServer(t, msgbus.Config{Logger: zap.New(core)}, svc)
		c := srv.Client(msgclient.Config{Name: "pilot"})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		trid, _ := c.TRID()
		ping(t, c, 1)
		_ = c.SendHandled(t.Context(), Job{Do: "secret"}) // they are logged
		_ = c.SendHandled(t.Context(), Job{Do: "panic"})
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "Connect", srv.Client(msgclient.Config{Args: map[string]any{"refuse": true}}).Connect(t.Context()), bus.CodeFailedPrecondition)
		synctest.Wait()

		want := []struct {
			message string
			fields  map[string]any
		}{
			{"connection opened", map[string]any{"service": "Test/Room", "trid": string(trid), "identity": string(c.Identity()), "peer": "dns:agent", "client": "pilot"}},
			{"message failed", map[string]any{"trid": string(trid), "message": "Job", "code": "aborted"}},
			{"handler panicked", map[string]any{"trid": string(trid), "message": "Job", "code": "internal"}},
			{"connection dropped", map[string]any{"trid": string(trid), "code": "going_away", "in": uint64(3), "out": uint64(1)}},
			{"connection refused", map[string]any{"service": "Test/Room", "peer": "dns:agent", "code": "failed_precondition"}},
		}
		got := logs.All()
		if len(got) != len(want) {
			t.Fatalf("got %d lines, want %d: %v", len(got), len(want), got)
		}
		for i, w := range want {
			if got[i].Message != w.message || got[i].LoggerName != "msgbus" {
				t.Errorf("line %d: got %s of %s, want %s", i, got[i].Message, got[i].LoggerName, w.message)
			}
			fields := got[i].ContextMap()
			for key, value := range w.fields {
				if fields[key] != value {
					t.Errorf("line %d: got %s=%v, want %v", i, key, fields[key], value)
				}
			}
			for key, value := range fields {
				if value == "secret" {
					t.Errorf("line %d shows contents in %s", i, key)
				}
			}
		}
	})
}
