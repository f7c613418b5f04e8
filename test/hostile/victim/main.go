// Command victim is a busd with services that are worth an attack. What may never
// be handled, the id 666, it counts.
package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"busd/access"
	"busd/daemon"
	"busd/msgbus"
	"busd/rpc"
	"busd/schema"
)

func main() { daemon.Main(newPingPong(), newBytes(), &msgbus.Service{Methods: newCalls()}) }

// forbidden is the id of messages and calls that no handler may ever see.
const forbidden = 666

// handled counts those that one did see.
var handled atomic.Int64

func note(id int64) {
	if id == forbidden {
		handled.Add(1)
	}
}

type ping struct {
	ID int64 `bus:"id"`
}

func (ping) MessageName() string { return "Ping" }

type pong struct {
	ID int64 `bus:"id"`
}

func (pong) MessageName() string { return "Pong" }

func newPingPong() *msgbus.Service {
	methods := rpc.NewService("Framework/PingPong")
	methods.Allow = access.Authenticated
	rpc.Export(methods, "add", func(a, b int64) int64 { note(a); return a + b }).Named("a", "b")

	svc := &msgbus.Service{
		Schema: schema.MustNew("Framework/PingPong", schema.Of[ping](schema.FromClient), schema.Of[pong](schema.FromService)),
		Allow:  access.Authenticated, Methods: methods,
	}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m ping) error {
		note(m.ID)
		return c.Reply(ctx, pong(m))
	})
	return svc
}

// everything has an attribute of every kind that bytes can be wrong in. All are
// optional, so that a script need not name the others.
type everything struct {
	Small *int8             `bus:"small"`
	Float *float64          `bus:"float"`
	Text  *string           `bus:"text"`
	Bytes []byte            `bus:"bytes,optional"`
	List  []int64           `bus:"list,optional"`
	Map   map[string]string `bus:"map,optional"`
	Any   any               `bus:"any,optional"`
	Time  *time.Time        `bus:"time"`
}

func (everything) MessageName() string { return "Everything" }

// stay is handled until it is canceled.
type stay struct{}

func (stay) MessageName() string { return "Stay" }

// panics is handled by a mistake.
type panics struct {
	Text string `bus:"text"`
}

func (panics) MessageName() string { return "Panic" }

// guarded is for who has a property that nobody has.
type guarded struct{}

func (guarded) MessageName() string { return "Guarded" }

// flooded is answered by as many noises.
type flooded struct {
	Count int64 `bus:"count"`
}

func (flooded) MessageName() string { return "Flood" }

type noise struct {
	Pad []byte `bus:"pad"`
}

func (noise) MessageName() string { return "Noise" }

func newBytes() *msgbus.Service {
	svc := &msgbus.Service{
		Schema: schema.MustNew("Test/Bytes", schema.Of[everything](schema.FromClient), schema.Of[stay](schema.FromClient),
			schema.Of[panics](schema.FromClient), schema.Of[guarded](schema.FromClient), schema.Of[flooded](schema.FromClient),
			schema.Of[ping](schema.FromClient), schema.Of[pong](schema.FromService), schema.Of[noise](schema.FromService)),
		Allow: access.Authenticated,
		Rules: map[string]access.Rule{"Guarded": access.MustRule("Unheard")},
	}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m ping) error {
		note(m.ID)
		return c.Reply(ctx, pong(m))
	})
	msgbus.Handle(svc, func(context.Context, *msgbus.Conn, everything) error { return nil })
	msgbus.Handle(svc, func(ctx context.Context, _ *msgbus.Conn, _ stay) error {
		<-ctx.Done()
		return nil
	})
	msgbus.Handle(svc, func(_ context.Context, _ *msgbus.Conn, m panics) error { panic(errors.New("a mistake")) })
	msgbus.Handle(svc, func(context.Context, *msgbus.Conn, guarded) error { note(forbidden); return nil })
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m flooded) error {
		for range m.Count {
			if err := c.Send(ctx, noise{Pad: make([]byte, 16<<10)}); err != nil {
				return err
			}
		}
		return nil
	})
	return svc
}

// state is what the test asks for when all is over.
type state struct {
	Goroutines int64 `bus:"goroutines"`
	Heap       int64 `bus:"heap"`      // bytes in use, after a collection
	Forbidden  int64 `bus:"forbidden"` // messages and calls that must not have been handled
}

// newCalls are methods that strangers may not call, but shout and gauge, which they
// may.
func newCalls() *rpc.Service {
	svc := rpc.NewService("Test/Calls")
	svc.Allow = access.Authenticated
	rpc.Export(svc, "add", func(a, b int64) int64 { note(a); return a + b }).Named("a", "b")
	rpc.Export(svc, "shout", func(text string) string { return strings.ToUpper(text) }).Named("text").Allow = access.Any
	rpc.Export(svc, "secret", func() { note(forbidden) }).Allow = access.MustRule("Unheard")
	rpc.Export(svc, "admin", func() { note(forbidden) }).Allow = access.MustRule("Operator")
	rpc.Export(svc, "fail", func() { panic(errors.New("a mistake")) })
	rpc.Export(svc, "stay", func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	rpc.Export(svc, "fetch", func() io.Reader { return io.LimitReader(zeros{}, 1<<30) })
	rpc.Export(svc, "store", func(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }).MaxBody = 1 << 40
	rpc.Export(svc, "gauge", func() state {
		debug.FreeOSMemory()
		debug.FreeOSMemory() // what pools keep goes at the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return state{Goroutines: int64(runtime.NumGoroutine()), Heap: int64(m.HeapAlloc), Forbidden: handled.Load()}
	}).Allow = access.Any
	return svc
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
