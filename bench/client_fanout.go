package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// fanOutArgs say to how many connections how many messages are sent at a time.
type fanOutArgs struct {
	span
	Connections int `json:"connections"`
	Burst       int `json:"burst"`
}

// fanOut asks the server, over one connection, to send to all of them, again
// each time when the last message has arrived everywhere.
func (c *clientSide) fanOut(a fanOutArgs) (any, error) {
	all := &deliveries{each: uint64(a.Connections * a.Burst), complete: make(chan struct{}, 1)}
	conns, err := c.dialAll(0, a.Connections, func(int) func([]byte) []byte { return all.receive })
	if err != nil {
		return nil, err
	}
	if err := all.gather(conns); err != nil {
		return nil, err
	}
	var stop atomic.Bool
	failed := make(chan error, 1)
	go func() { failed <- all.ask(conns[0], a.Burst, &stop) }()
	var m metrics
	if err = a.warm(all.count.Load); err == nil {
		all.trips.start()
		m, err = c.measure(a.span, all.count.Load)
	}
	stop.Store(true)
	if asked := <-failed; asked != nil {
		return nil, errors.Join(err, asked)
	}
	if err != nil {
		return nil, err
	}
	all.trips.into(m)
	return m, nil
}

// deliveries count what arrives.
type deliveries struct {
	each     uint64 // that were asked for at once
	trips    latencies
	there    atomic.Int64 // connections that have sent something
	count    atomic.Uint64
	complete chan struct{}
}

// gather waits until the server knows of all connections: a client may be let in
// a moment before it is among those that are sent to.
func (d *deliveries) gather(conns []conn) error {
	hello := newPayload(echo, fanOutSize)
	for _, c := range conns {
		if err := c.Send(hello); err != nil {
			return err
		}
	}
	return waitFor("all connections", func() bool { return d.there.Load() == int64(len(conns)) })
}

func (d *deliveries) receive(p []byte) []byte {
	if payload(p).kind() == echo {
		d.there.Add(1)
		return nil
	}
	if d.count.Add(1)%d.each == 0 {
		d.complete <- struct{}{}
	}
	return nil
}

func (d *deliveries) ask(c conn, burst int, stop *atomic.Bool) error {
	m := newPayload(fanOut, fanOutSize)
	m.setCount(uint32(burst))
	late := time.NewTimer(endTimeout)
	defer late.Stop()
	for !stop.Load() {
		began := time.Now()
		if err := c.Send(m); err != nil {
			return err
		}
		late.Reset(endTimeout)
		select {
		case <-d.complete:
			d.trips.add(time.Since(began))
		case <-c.Done():
			return errors.New("the connection has ended")
		case <-late.C:
			return fmt.Errorf("%d of %d messages arrived within %s", d.count.Load()%d.each, d.each, endTimeout)
		}
	}
	return nil
}
