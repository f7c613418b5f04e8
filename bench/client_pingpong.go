package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A pingPongArgs says how large the message is that goes to and fro.
type pingPongArgs struct {
	span
	Size int `json:"size"`
}

// pingPong has one message under way at a time, each sent where the last one
// was received, in the handler, or, if a contender can wait for answers, after
// that.
func (c *clientSide) pingPong(a pingPongArgs) (any, error) {
	b := &ball{message: newPayload(echo, a.Size), over: make(chan struct{})}
	conns, err := c.dialAll(0, 1, func(int) func([]byte) []byte { return b.receive })
	if err != nil {
		return nil, err
	}
	if r, ok := conns[0].(requester); ok {
		go b.play(r)
	} else {
		b.last = time.Now()
		if err := conns[0].Send(b.message); err != nil {
			return nil, err
		}
	}
	if err := a.warm(b.count.Load); err != nil {
		return nil, err
	}
	b.trips.start()
	m, err := c.measure(a.span, b.count.Load)
	b.stop.Store(true)
	if err != nil {
		return nil, err
	}
	select {
	case <-b.over:
	case <-conns[0].Done():
		return nil, errors.New("the connection has ended")
	case <-time.After(endTimeout):
		return nil, errors.New("the last message did not come back")
	}
	if b.err != nil {
		return nil, b.err
	}
	b.trips.into(m)
	return m, nil
}

// A ball is the message that is under way.
type ball struct {
	trips latencies
	count atomic.Uint64
	stop  atomic.Bool
	over  chan struct{}

	// Owned by whoever plays: receive or play. Others read it once over is closed.
	message payload
	last    time.Time // it was sent
	err     error
}

// arrived records a trip, and tells whether there is to be another one.
func (b *ball) arrived() bool {
	now := time.Now()
	b.trips.add(now.Sub(b.last))
	b.last = now
	b.message.setNumber(b.count.Add(1))
	if b.stop.Load() {
		close(b.over)
		return false
	}
	return true
}

func (b *ball) receive(p []byte) []byte {
	if got, want := payload(p).number(), b.message.number(); got != want && b.err == nil {
		b.err = fmt.Errorf("want number %d, got %d", want, got)
	}
	if !b.arrived() {
		return nil
	}
	return b.message
}

func (b *ball) play(r requester) {
	b.last = time.Now()
	for {
		if b.err = r.Request(b.message); b.err != nil {
			close(b.over)
			return
		}
		if !b.arrived() {
			return
		}
	}
}
