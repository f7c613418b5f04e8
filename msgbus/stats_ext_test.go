package msgbus_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

func TestStats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error {
			time.Sleep(50 * time.Millisecond)
			if m.Do == "fail" {
				return bus.Errorf(bus.CodeAborted, "no")
			}
			return nil
		})
		refuse := false
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			if refuse {
				return bus.Errorf(bus.CodePermissionDenied, "no")
			}
			return nil
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc, newPingPong())
		clients, _ := audience(t, srv, 3)
		refuse = true
		wantCode(t, "Connect", srv.Client(msgclient.Config{}).Connect(t.Context()), bus.CodePermissionDenied)
		for i := range int64(10) {
			ping(t, clients[0], i)
		}
		if err := clients[0].SendHandled(t.Context(), Job{}); err != nil {
			t.Fatal(err)
		}
		_ = clients[0].SendHandled(t.Context(), Job{Do: "fail"}) // it is counted
		for range 4 {
			if err := svc.Broadcast(t.Context(), Note{Text: "hello"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		if err := clients[2].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		all := srv.Stats()
		if len(all) != 2 || all[0].Service != "Test/Room" || all[1].Service != "Framework/PingPong" {
			t.Fatalf("got services %v", all)
		}
		s := all[0]
		if s.Conns != 2 || s.Connects != 3 || s.Dropped[bus.CodeGoingAway] != 1 || s.Refused[bus.CodePermissionDenied] != 1 || s.Queued != 0 || s.QueuedMax != 0 {
			t.Errorf("got %+v", s)
		}
		by := map[string]msgbus.MessageStats{}
		for _, m := range s.Messages {
			by[m.Message] = m
		}
		if len(by) != 7 {
			t.Errorf("got %d messages, want the contract's 7", len(by))
		}
		if m := by["Ping"]; m.In != 10 || m.Out != 0 || m.InBytes < 100 || m.Failed != 0 || m.LatencySum != 0 || m.Latency[0] != 10 {
			t.Errorf("Ping: got %+v", m)
		}
		if m := by["Pong"]; m.In != 0 || m.Out != 10 || m.OutBytes < 100 {
			t.Errorf("Pong: got %+v", m)
		}
		if m := by["Job"]; m.In != 2 || m.Failed != 1 || m.LatencySum != 100*time.Millisecond || m.Latency[4] != 2 {
			t.Errorf("Job: got %+v", m)
		}
		if m := by["Note"]; m.Out != 12 || m.OutBytes < 12*20 {
			t.Errorf("Note: got %+v", m)
		}
	})
}

// TestIdleConnectionCostsOneGoroutine counts the goroutines of 200 idle
// connections: the reader of each, at either end.
//
//nolint:paralleltest // it counts goroutines
func TestIdleConnectionCostsOneGoroutine(t *testing.T) {
	const conns = 200
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		synctest.Wait()
		before := len(goroutines())
		conf := bustest.ClientTLS(t, bustest.DefaultPeer)
		for i := range int64(conns) {
			c := srv.Client(msgclient.Config{TLS: conf})
			if err := c.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			ping(t, c, i)
		}
		time.Sleep(10 * time.Minute) // pings, pongs and acks come and go
		synctest.Wait()
		all := goroutines()
		if grown := len(all) - before; grown > 2*conns+5 {
			t.Errorf("%d connections cost %d goroutines at both ends, want %d", conns, grown, 2*conns)
		}
		served := 0
		for _, stack := range all {
			if strings.Contains(stack, "busd/msgbus.") {
				served++
			}
		}
		if served < conns || served > conns+5 {
			t.Errorf("the server has %d goroutines for %d connections", served, conns)
		}
	})
}

// goroutines are the stacks of all that there are: [runtime.NumGoroutine] may count dead
// ones too.
func goroutines() []string {
	stacks := make([]byte, 8<<20)
	return strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n")
}

// A handling begins as the one before it ended, where that ended well; after one that
// panicked, and after idle hours, it begins as it begins.
func TestHandlingTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error {
			time.Sleep(time.Millisecond)
			if m.Do == "panic" {
				panic("as meant")
			}
			return nil
		})
		svc.KeepOnError = true
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		clients, _ := audience(t, srv, 1)
		const jobs = 12
		for i := range jobs {
			job := Job{}
			if i == 6 {
				job.Do = "panic"
			}
			if err := clients[0].Send(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			if i == 4 {
				time.Sleep(time.Hour)
				_ = clients[0].SendHandled(t.Context(), Job{}) // whatever keeps connections has had its turn
			}
		}
		time.Sleep(time.Second)
		for _, m := range srv.Stats()[0].Messages {
			if m.Message == "Job" && m.LatencySum != jobs*time.Millisecond { // the panicking one is not counted, the one more is
				t.Errorf("%d handlings took %s, want %s", jobs, m.LatencySum, jobs*time.Millisecond)
			}
		}
	})
}
