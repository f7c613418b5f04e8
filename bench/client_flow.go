package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// flowArgs say what flows: messages of Size bytes on each connection, of which
// one in Every comes back; Window of these may be under way.
type flowArgs struct {
	span
	Connections int `json:"connections"`
	Size        int `json:"size"`
	Window      int `json:"window"`
	Every       int `json:"every"` // 1: each is an echo
}

// flow sends on some connections as fast as they take it.
func (c *clientSide) flow(a flowArgs) (any, error) {
	flows := make([]*flow, a.Connections)
	conns, err := c.dialAll(0, a.Connections, func(i int) func([]byte) []byte {
		flows[i] = newFlow(a)
		return flows[i].receive
	})
	if err != nil {
		return nil, err
	}
	var stop atomic.Bool
	var work sync.WaitGroup
	for i, f := range flows {
		work.Go(func() { f.send(conns[i], &stop) })
	}
	received := func() (n uint64) {
		for _, f := range flows {
			n += f.received.Load() * f.every
		}
		return n
	}
	var m metrics
	if err = a.warm(received); err == nil {
		m, err = c.measure(a.span, received)
	}
	stop.Store(true)
	for _, f := range flows {
		leaveWord(f.wake)
	}
	work.Wait()
	if err != nil {
		return nil, errors.Join(err, flows[0].err)
	}
	sent := uint64(0)
	for _, f := range flows {
		if err := f.finish(); err != nil {
			return nil, err
		}
		sent += f.sent * (f.every - 1)
	}
	m["one_way"] = float64(sent) // for the harness to compare
	return m, nil
}

// A flow is what goes over one connection: rounds of messages, the last of which
// comes back.
type flow struct {
	// Fixed at creation.
	window, every uint64
	size          int

	// Owned by send, and after it by finish.
	sent uint64 // rounds
	err  error

	received atomic.Uint64          // rounds
	disorder atomic.Pointer[string] // the first thing that was wrong
	waiting  atomic.Bool            // send waits for wake
	wake     chan struct{}
}

func newFlow(a flowArgs) *flow {
	return &flow{window: uint64(a.Window), every: uint64(a.Every), size: a.Size, wake: make(chan struct{}, 1)}
}

// receive takes what comes back, which must come in order.
func (f *flow) receive(p []byte) []byte {
	n := f.received.Load()
	if m := payload(p); len(m) != max(f.size, minPayload) || m.kind() != echo || m.number() != n {
		what := fmt.Sprintf("want echo %d of %d bytes, got kind %d, number %d, of %d bytes", n, f.size, m.kind(), m.number(), len(m))
		f.disorder.CompareAndSwap(nil, &what)
	}
	f.received.Store(n + 1)
	if f.waiting.Load() {
		leaveWord(f.wake)
	}
	return nil
}

// send sends rounds until it is stopped.
func (f *flow) send(c conn, stop *atomic.Bool) {
	back, away := newPayload(echo, f.size), newPayload(oneWay, f.size)
	for !stop.Load() && f.err == nil {
		if f.sent-f.received.Load() >= f.window {
			f.wait(c)
			continue
		}
		for range f.every - 1 {
			away.setNumber(f.sent)
			if f.err = c.Send(away); f.err != nil {
				return
			}
		}
		back.setNumber(f.sent)
		f.err = c.Send(back)
		f.sent++
	}
}

// wait waits until there is room in the window, or it was woken for another
// reason.
func (f *flow) wait(c conn) {
	f.waiting.Store(true)
	defer f.waiting.Store(false)
	if f.sent-f.received.Load() < f.window {
		return
	}
	select {
	case <-f.wake:
	case <-c.Done():
		f.err = errors.New("the connection has ended")
	}
}

// finish waits for what is under way, and tells what was wrong.
func (f *flow) finish() error {
	if f.err != nil {
		return f.err
	}
	if err := waitFor("what was under way", func() bool { return f.received.Load() >= f.sent }); err != nil {
		return err
	}
	if what := f.disorder.Load(); what != nil {
		return errors.New(*what)
	}
	return nil
}
