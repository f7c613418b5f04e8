package main

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// fanOutSize is the size of a message that goes to all connections.
const fanOutSize = 64

// A serverSide is what a contender's server is given.
type serverSide struct {
	role
	pki *pki
	app *application
}

func (s *serverSide) operations() map[string]operation {
	return withProfiles(map[string]operation{
		"memory":  operationOf(func(settle bool) (any, error) { return memoryNow(settle) }),
		"handled": operationOf(func(struct{}) (any, error) { return s.app.handled.Load(), nil }),
	})
}

// An application is what all servers do with messages. Its methods may be called
// concurrently.
type application struct {
	// broadcast sends to all connections, and may return before it is sent. Set
	// before anything is received.
	broadcast func(payload []byte) error

	handled atomic.Uint64 // one-way messages
}

func newApplication() *application {
	return &application{broadcast: func([]byte) error { return fmt.Errorf("broadcasts are not offered") }}
}

// receive takes a message and tells whether it is to be sent back. p is not
// kept.
func (a *application) receive(p []byte) (reply bool, err error) {
	if len(p) < minPayload {
		return false, fmt.Errorf("a message of %d bytes", len(p))
	}
	switch m := payload(p); m.kind() {
	case oneWay:
		a.handled.Add(1)
		return false, nil
	case echo:
		return true, nil
	case fanOut:
		out := newPayload(delivered, fanOutSize)
		for range m.count() {
			if err := a.broadcast(out); err != nil {
				return false, err
			}
		}
		return false, nil
	default:
		return false, fmt.Errorf("a message of kind %d", m.kind())
	}
}

// A sender sends messages on one connection. It does not keep them.
type sender interface {
	Send(payload []byte) error
}

// A crowd is the connections of a server whose library keeps no list of them.
// Its methods may be called concurrently.
type crowd struct {
	mu  sync.Mutex
	all map[sender]struct{}
}

func newCrowd() *crowd { return &crowd{all: map[sender]struct{}{}} }

func (c *crowd) add(s sender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[s] = struct{}{}
}

func (c *crowd) remove(s sender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, s)
}

// members returns the connections of now.
func (c *crowd) members() []sender {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]sender, 0, len(c.all))
	for s := range c.all {
		list = append(list, s)
	}
	return list
}

// broadcast sends to all, one after the other. Who cannot be reached finds out
// by himself.
func (c *crowd) broadcast(payload []byte) error {
	for _, s := range c.members() {
		_ = s.Send(payload)
	}
	return nil
}
