package model_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// TestEveryOffset plays one small conversation again and again, from the first
// byte of the handshake to the goodbye: three messages each way, and a request
// each way. Its first line is cut after each byte of either direction, in each
// way that a line can be. Whatever was said comes once and in order.
func TestEveryOffset(t *testing.T) {
	stride := offsetStride
	if testing.Short() {
		stride = 101
	}
	certs := newCredentials(t)
	for w, name := range []string{"up", "down"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				talks := newTalks(t)
				n, whole := 1, false
				for ; !whole && !t.Failed(); n += stride {
					whole = talks.hold(certs["p0"], way(w), n)
				}
				talks.end()
				if n < 1000 {
					t.Errorf("only %d bytes were cut after", n)
				}
				t.Logf("%d bytes", n)
			})
		})
	}
}

// talks are conversations with one service.
type talks struct {
	t   *testing.T
	srv *bustest.Server

	mu  sync.Mutex
	all []*talk // guarded by mu
}

// A talk is one conversation.
type talk struct {
	line      *line // the first
	atService []int64
	atClient  []int64
	asked     [2]int // requests that were handled at the service, at the client
	accepted  int    // sessions
	gone      int
}

// longEnough is how long anybody waits: a line that is a hole is found out sooner.
const longEnough = 5 * time.Minute

// said is what each side says, before its request.
var said = []int64{1, 2, 3}

func newTalks(t *testing.T) *talks {
	ts := &talks{t: t}
	svc := &msgbus.Service{Schema: contract, OnConnect: ts.onConnect, OnGone: func(_ context.Context, id bus.Identity, _ error) {
		ts.at(id, func(one *talk) { one.gone++ })
	}}
	msgbus.Handle(svc, func(_ context.Context, c *msgbus.Conn, m Note) error {
		ts.at(c.Identity(), func(one *talk) { one.atService = append(one.atService, m.ID) })
		return nil
	})
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ask) error {
		ts.at(c.Identity(), func(one *talk) { one.asked[0]++ })
		return c.Reply(ctx, Answer(m))
	})
	ts.srv = bustest.NewServer(t, msgbus.Config{}, svc)
	return ts
}

// at changes the talk with an identity, which may be over: a client that is closed
// while it connects again leaves a session behind that it never hears of.
func (ts *talks) at(id bus.Identity, how func(one *talk)) {
	var n int
	if _, err := fmt.Sscanf(string(id), "dns:p0/%d", &n); err != nil {
		ts.t.Error(err)
		return
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	how(ts.all[n])
}

// onConnect says the service's part to each new session.
func (ts *talks) onConnect(_ context.Context, c *msgbus.Conn) error {
	if c.Resumed() {
		return nil
	}
	ts.at(c.Identity(), func(one *talk) { one.accepted++ })
	go func() { // ends with the session at the latest
		ctx, stop := context.WithTimeout(context.Background(), longEnough)
		defer stop()
		for _, id := range said {
			if c.Send(ctx, Note{ID: id}) != nil {
				return // the client asked for another
			}
		}
		if err := c.SendHandled(ctx, Ask{}); err != nil && bus.CodeOf(err) != bus.CodeSessionLost && bus.CodeOf(err) != bus.CodeSuperseded {
			ts.t.Errorf("the service's request: %v", err)
		}
	}()
	return nil
}

// hold plays the conversation on a line that is cut after n bytes one way. It
// returns true if the line held.
func (ts *talks) hold(conf *tls.Config, w way, n int) bool {
	now := &talk{}
	ts.mu.Lock()
	number := len(ts.all)
	ts.all = append(ts.all, now)
	ts.mu.Unlock()
	conf = conf.Clone()
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1) // the second handshake is a short one
	how := cut(n % int(cuts))
	c := ts.srv.Client(msgclient.Config{
		TLS: conf, Instance: fmt.Sprint(number), MinWait: time.Millisecond,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			below, err := ts.srv.DialContext(ctx, network, address)
			if err != nil || now.line != nil {
				return below, err
			}
			now.line = newLine(below)
			now.line.cutAfter(w, int64(n), how)
			return now.line, nil
		},
	})
	heard := make(chan struct{}, 1)
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		now.atClient = append(now.atClient, m.ID)
		return nil
	})
	msgclient.On(c, func(context.Context, *msgclient.Client, Ask) error {
		ts.mu.Lock()
		now.asked[1]++
		ts.mu.Unlock()
		heard <- struct{}{}
		return nil
	})
	ctx, stop := context.WithTimeout(context.Background(), longEnough)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	err := speak(ctx, c)
	select {
	case <-heard:
	case <-ctx.Done():
	}
	if err == nil {
		err = c.Close(ctx)
	}
	if err != nil {
		ts.t.Errorf("%v", err)
	}
	<-ran
	ts.judge(now, fmt.Sprintf("cut %d after %d bytes, way %d", how, n, w))
	return !now.line.isBroken()
}

// speak is the client's part.
func speak(ctx context.Context, c *msgclient.Client) error {
	for _, id := range said {
		if err := c.Send(ctx, Note{ID: id}); err != nil {
			return fmt.Errorf("send %d: %w", id, err)
		}
	}
	a, err := msgclient.Request[Answer](ctx, c, Ask{ID: 7})
	if err == nil && a.ID != 7 {
		return fmt.Errorf("answered with %d", a.ID)
	}
	return err
}

func (ts *talks) judge(now *talk, when string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch {
	case !slices.Equal(now.atService, said) || !slices.Equal(now.atClient, said):
		ts.t.Errorf("%s: at the service %v, at the client %v", when, now.atService, now.atClient)
	case now.asked != [2]int{1, 1}:
		ts.t.Errorf("%s: requests were handled %d times at the service, %d times at the client", when, now.asked[0], now.asked[1])
	}
}

// end looks whether all sessions end.
func (ts *talks) end() {
	time.Sleep(msgbus.DefaultWindow + 2*msgbus.DefaultIdle)
	synctest.Wait()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for n, talk := range ts.all {
		if talk.gone != talk.accepted {
			ts.t.Errorf("talk %d: %d sessions, %d are gone", n, talk.accepted, talk.gone)
		}
	}
	if st := ts.srv.Stats()[0]; st.Conns+st.Sessions+st.Queued > 0 {
		ts.t.Errorf("at rest: %d connections, %d sessions, %d bytes", st.Conns, st.Sessions, st.Queued)
	}
}
