package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// dialersAtOnce is how many connections a client opens at a time.
	dialersAtOnce = 16
	// dialTimeout bounds the opening of one connection.
	dialTimeout = 60 * time.Second
	// endTimeout bounds how long what is on its way when a measurement ends may
	// take to arrive.
	endTimeout = 30 * time.Second
)

// metrics are the figures of one measurement, by name.
type metrics map[string]float64

// A clientSide is what a contender's clients are measured with, in a process of
// its own.
type clientSide struct {
	role
	contender *contender
	pki       *pki

	held []conn       // by hold: they live as long as the process
	lost atomic.Int64 // pings that failed
	back *storm
}

func (c *clientSide) operations() map[string]operation {
	return withProfiles(map[string]operation{
		"ping-pong":  operationOf(c.pingPong),
		"flow":       operationOf(c.flow),
		"fan-out":    operationOf(c.fanOut),
		"hold":       operationOf(c.hold),
		"still-held": operationOf(c.stillHeld),
		"handshakes": operationOf(c.handshakes),
		"storm":      operationOf(c.gatherStorm),
		"storm-over": operationOf(c.stormOver),
		"calls":      operationOf(c.calls),
	})
}

// options are what client i connects with, with a certificate of its own.
func (c *clientSide) options(i int, receive func([]byte) []byte) (dialOptions, error) {
	cert, err := c.pki.client(fmt.Sprintf("client-%d", i))
	if err != nil {
		return dialOptions{}, err
	}
	return c.optionsWith(i, c.pki.clientTLS(cert, nil, func() {}), receive), nil
}

func (c *clientSide) optionsWith(i int, conf *tls.Config, receive func([]byte) []byte) dialOptions {
	return dialOptions{Client: i, Address: c.Address, TLS: conf, Dial: dialerOf(i), KeepAlive: c.KeepAlive, Receive: receive}
}

// dialAll opens n connections, of clients with numbers from first on, each with
// a certificate of its own. receiverOf says what takes the messages of one.
func (c *clientSide) dialAll(first, n int, receiverOf func(i int) func([]byte) []byte) ([]conn, error) {
	options := make([]dialOptions, n)
	for i := range options {
		var err error
		if options[i], err = c.options(first+i, receiverOf(i)); err != nil {
			return nil, err
		}
	}
	conns := make([]conn, n)
	err := inParallel(n, dialersAtOnce, func(i int) error {
		var err error
		conns[i], err = c.dial(options[i])
		return err
	})
	return conns, err
}

func (c *clientSide) dial(o dialOptions) (conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	k, err := c.contender.dial(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("client %d: %w", o.Client, err)
	}
	return k, nil
}

// inParallel runs fn for 0 to n-1, some at a time, and returns the first error;
// after that it begins no more.
func inParallel(n, atOnce int, fn func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var work sync.WaitGroup
	for range min(n, atOnce) {
		work.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := fn(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	work.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// A span is when to measure: after Warm, for Measure.
type span struct {
	Warm    time.Duration `json:"warm"`
	Measure time.Duration `json:"measure"`
}

// warm waits until what runs has run for a while.
func (s span) warm(count func() uint64) error {
	if err := waitFor("the first message", func() bool { return count() > 0 }); err != nil {
		return err
	}
	time.Sleep(s.Warm)
	return nil
}

// measure looks at what runs, and is warm: how much is counted in the span, and
// what server and client use for each.
func (c *clientSide) measure(s span, count func() uint64) (metrics, error) {
	before, err := usageOf(c.Server)
	if err != nil {
		return nil, err
	}
	began := count()
	time.Sleep(s.Measure)
	err = waitFor("a message while it is measured", func() bool { return count() > began })
	if err != nil {
		return nil, err
	}
	n := count() - began
	after, err := usageOf(c.Server)
	if err != nil {
		return nil, err
	}
	each := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / float64(n) }
	server, client := after.server-before.server, after.client-before.client
	return metrics{
		"rate":       float64(n) / after.at.Sub(before.at).Seconds(),
		"cpu":        each(server + client),
		"cpu_server": each(server),
		"cpu_client": each(client),
		"io":         float64(after.io-before.io) / float64(n),
	}, nil
}

// waitFor waits until something is so, in turn with others: for what has no
// other way to tell.
func waitFor(what string, is func() bool) error {
	for deadline := time.Now().Add(endTimeout); !is(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s", what, endTimeout)
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	return nil
}
