package msgclient_test

import (
	"context"
	"fmt"
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
		want   string
	}{
		"to another URL of the client's": {urls: []string{b}, want: "b.test"},
		"to a target":                    {target: c, want: "c.test"},
		"to a target, not to the URL":    {urls: []string{b}, target: c, want: "c.test"},
		"to a target of another service": {urls: []string{b}, target: "wss://c.test/Test/Other", want: "b.test"},
		"to a target that is no URL":     {urls: []string{b}, target: "nonsense", want: "b.test"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := town{}
				var where sync.Map // by the number of the Job
				var got, notes ids
				for _, host := range []string{"a.test", "b.test", "c.test"} {
					svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
						if host == "a.test" {
							time.Sleep(10 * time.Millisecond)
						}
						where.Store(m.ID, host)
						got.add(m.ID)
						return c.Send(ctx, Note{ID: m.ID})
					})
					svc.Credit = 4 << 10 // for 64 messages
					all[host] = &place{srv: bustest.NewServer(t, msgbus.Config{Node: host}, svc)}
				}
				var tale story
				old := all["a.test"].srv
				all["b.test"].opens(nil) // it begins at a.test
				srvB := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
				_ = srvB
				client := old.Client(msgclient.Config{
					URL: a, URLs: tt.urls, DialContext: all.DialContext,
					OnConnect: func(_ context.Context, c *msgclient.Client) { tale.tell("connect") },
					OnDrop:    func(_ context.Context, _ *msgclient.Client, why error) { tale.tell("drop") },
					OnError:   func(_ *msgclient.Client, err error) { t.Errorf("OnError: %v", err) },
				})
				_ = client
				_ = fmt.Sprint
				_ = slices.Equal[[]int64]
				_ = notes
				_ = tt
				_ = bus.CodeGoingAway
			})
		})
	}
}
