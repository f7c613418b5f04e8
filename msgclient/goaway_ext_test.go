package msgclient_test

import (
	"context"
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

// A server that goes away hands its client over to another: what was begun is
// finished here, what was not is for the other, and the client is told nothing but
// that it is welcome there.
func TestHandOver(t *testing.T) {
	t.Parallel()
	const a, b, c = "wss://a.test/Test/Room", "wss://b.test/Test/Room", "wss://c.test/Test/Room"
	for name, tt := range map[string]struct {
		urls   []string
		target string
		window time.Duration
		want   string // host
	}{
		"to another URL of the client's":    {urls: []string{b}, want: "b.test"},
		"to a target":                       {target: c, want: "c.test"},
		"to a target, not to the other URL": {urls: []string{b}, target: c, want: "c.test"},
		"to a target of another service":    {urls: []string{b}, target: "wss://c.test/Test/Other", want: "b.test"},
		"to a target that is no URL":        {urls: []string{b}, target: "nonsense", want: "b.test"},
		"without sessions":                  {urls: []string{b}, window: -1, want: "b.test"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const first, all = 64, 101 // there is credit for 64
				var here, there, notes ids
				moving := make(chan struct{})
				services := town{}
				serve := func(host string, got *ids) *bustest.Server {
					svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
						if m.ID == 1 {
							<-moving
							time.Sleep(time.Second)
						}
						got.add(m.ID)
						return c.Send(ctx, Note{ID: m.ID})
					})
					svc.Credit, svc.Window = 4<<10, tt.window
					srv := bustest.NewServer(t, msgbus.Config{Node: host}, svc)
					services[host] = &place{}
					if host == "a.test" {
						services[host].opens(srv)
					}
					return srv
				}
				old := serve("a.test", &here)
				others := map[string]*bustest.Server{"b.test": nil, "c.test": nil}
				for host := range others {
					others[host] = serve(host, &there)
				}
				var tale story
				client := old.Client(msgclient.Config{
					URL: a, URLs: tt.urls, DialContext: services.DialContext,
					OnConnect: func(context.Context, *msgclient.Client) { tale.tell("connect") },
					OnDrop:    func(context.Context, *msgclient.Client, error) { tale.tell("drop") },
					OnError:   func(_ *msgclient.Client, err error) { t.Errorf("OnError: %v", err) },
				})
				msgclient.On(client, func(_ context.Context, _ *msgclient.Client, m Note) error { notes.add(m.ID); return nil })
				bustest.Run(t, client)
				services[tt.want].opens(others[tt.want])
				services[tt.want].onDial(sync.OnceFunc(func() { close(moving) }))

				answered := make(chan error, 1)
				for id := range int64(all) {
					if id == 10 {
						go func() {
							_, err := msgclient.Request[Pong](t.Context(), client, Ping{})
							answered <- err
						}()
						synctest.Wait()
					}
					if id == all-1 {
						var drained sync.WaitGroup
						defer drained.Wait()
						drained.Go(func() {
							if err := old.Drain(t.Context(), tt.target); err != nil {
								t.Errorf("Drain: %v", err)
							}
						})
						synctest.Wait()
					}
					send(t, client, id+1)
				}
				if err := next(t, answered, "the answer"); err != nil {
					t.Errorf("a request under way: %v", err)
				}
				time.Sleep(20 * time.Second)
				ping(t, client, 1)
				if got := here.so(); len(got) < first-1 || len(got) > first || !slices.Equal(append(got, there.so()...), upTo(all)) {
					t.Errorf("the first got %v, the next %v; want 1 to about %d, and the rest up to %d", got, there.so(), first, all)
				}
				if !slices.Equal(notes.so(), upTo(all)) {
					t.Errorf("the client got %v, want 1 to %d", notes.so(), all)
				}
				if got := tale.soFar(); !slices.Equal(got, []string{"connect", "connect"}) {
					t.Errorf("got %v, want connect, connect", got)
				}
				if r := client.Resumption(); r.Resumed || r.Lost != 0 {
					t.Errorf("got %+v, want a new session, nothing lost", r)
				}
			})
		})
	}
}

// A server that goes away, and there is no other: the client finishes what it had
// begun, is dropped, and comes back when there is a server again. What it was given
// to send meanwhile is sent then.
func TestNowhereToGo(t *testing.T) {
	t.Parallel()
	for name, window := range map[string]time.Duration{"sessions": 0, "no sessions": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got ids
				var here place
				moving := make(chan struct{})
				newServer := func() *bustest.Server {
					svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error {
						if m.ID == 1 {
							<-moving
							time.Sleep(2 * time.Second)
						}
						got.add(m.ID)
						return nil
					})
					svc.Window = window
					return bustest.NewServer(t, msgbus.Config{Node: "one"}, svc)
				}
				srv := newServer()
				here.opens(srv)
				var tale story
				c := srv.Connect(msgclient.Config{
					DialContext: here.DialContext, MaxWait: time.Second,
					OnConnect: func(context.Context, *msgclient.Client) { tale.tell("connect") },
					OnDrop:    func(_ context.Context, _ *msgclient.Client, why error) { tale.tell(bus.CodeOf(why).String()) },
					OnError:   func(_ *msgclient.Client, err error) { t.Errorf("OnError: %v", err) },
				})
				for id := range int64(10) {
					send(t, c, id+1)
				}
				answered, stopped := make(chan error, 1), make(chan struct{})
				go func() {
					_, err := msgclient.Request[Pong](t.Context(), c, Ping{})
					answered <- err
				}()
				synctest.Wait()
				here.onDial(sync.OnceFunc(func() { close(moving) }))
				go func() { srv.Stop(); close(stopped) }()
				<-moving
				time.Sleep(time.Second)
				if !c.Connected() {
					t.Error("the client has gone before all was finished")
				}
				sent := make(chan error, 1)
				go func() { sent <- c.Send(t.Context(), Job{ID: 11}) }()
				if err := next(t, answered, "the answer"); err != nil {
					t.Errorf("a request under way: %v", err)
				}
				next(t, stopped, "the end of the server")
				time.Sleep(10 * time.Second)
				if n := len(got.so()); n != 10 || c.Connected() {
					t.Errorf("the server got %d messages, want 10; connected %t", n, c.Connected())
				}
				here.opens(newServer())
				ping(t, c, 1)
				if err := next(t, sent, "the outcome of Send"); err != nil {
					t.Errorf("Send while the server goes: %v", err)
				}
				time.Sleep(time.Second)
				if want := []string{"connect", "going_away", "connect"}; !slices.Equal(tale.soFar(), want) {
					t.Errorf("got %v, want %v", tale.soFar(), want)
				}
				if !slices.Equal(got.so(), upTo(11)) {
					t.Errorf("the servers got %v, want 1 to 11", got.so())
				}
			})
		})
	}
}
