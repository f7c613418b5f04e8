package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A scale says how much is done of everything.
type scale struct {
	Rounds     int           `json:"rounds"`
	Span       span          `json:"span"` // of what runs as fast as it can
	FanOut     int           `json:"fan_out"`
	Idle       int           `json:"idle"`
	IdleWindow time.Duration `json:"idle_window"`
	KeepAlive  time.Duration `json:"keep_alive"` // while idle
	Settle     time.Duration `json:"settle"`     // before memory is measured
	Handshakes int           `json:"handshakes"`
	Storm      int           `json:"storm"`
	Probes     int           `json:"probes"`
	Codec      time.Duration `json:"codec"` // for each benchmark
}

// The scales: for the record, for two minutes, and for tests.
var (
	fullScale = scale{
		Rounds: 5, Span: span{500 * time.Millisecond, 2 * time.Second},
		FanOut: 1000, Idle: 10_000, IdleWindow: 33 * time.Second, KeepAlive: 30 * time.Second, Settle: 2 * time.Second,
		Handshakes: 3000, Storm: 5000, Probes: 20, Codec: time.Second,
	}
	quickScale = scale{
		Rounds: 1, Span: span{200 * time.Millisecond, 500 * time.Millisecond},
		FanOut: 300, Idle: 300, IdleWindow: time.Second, KeepAlive: 10 * time.Second, Settle: 200 * time.Millisecond,
		Handshakes: 200, Storm: 200, Probes: 10, Codec: 50 * time.Millisecond,
	}
	tinyScale = scale{
		Rounds: 1, Span: span{5 * time.Millisecond, 20 * time.Millisecond},
		FanOut: 10, Idle: 20, IdleWindow: 50 * time.Millisecond, KeepAlive: 10 * time.Second, Settle: time.Millisecond,
		Handshakes: 20, Storm: 10, Probes: 2, Codec: time.Millisecond,
	}
)

// A work is what contenders are measured with.
type work struct {
	name    string // in results, and for -only
	title   string
	about   string
	columns []column // the first is what it is about
	// takes tells whether a contender takes part.
	takes func(c *contender) bool
	// run measures a contender once.
	run func(ctx context.Context, b *bench, c *contender) (metrics, error)
	// quick: it is part of the quick scale.
	quick bool
	// rounds bounds them, if it is not 0: one takes long.
	rounds int
}

// A column is a metric as tables have it.
type column struct {
	metric string
	head   string
	unit   unit
}

// The columns that several works have.
var (
	rateColumn      = column{"rate", "messages/s", perSecond}
	cpuColumn       = column{"cpu", "CPU of both, µs each", micros}
	cpuServerColumn = column{"cpu_server", "CPU of the server, µs each", micros}
	cpuClientColumn = column{"cpu_client", "CPU of the client, µs each", micros}
	ioColumn        = column{"io", "reads and writes each", plainNumber}
	p50Column       = column{"p50", "p50", latency}
	p99Column       = column{"p99", "p99", latency}
	maxColumn       = column{"max", "slowest", latency}
)

// The sizes and numbers of connections that flow works are made for.
const (
	tinyMessage   = 16
	smallMessage  = 256
	mediumMessage = 4096
	manyConns     = 16
	windowSize    = 256
	burstSize     = 40
)

// works are all of them, in the order of the report.
func works() []*work {
	list := []*work{pingPongWork()}
	for _, conns := range []int{1, manyConns} {
		for _, size := range []int{tinyMessage, smallMessage, mediumMessage} {
			list = append(list, echoWork(conns, size))
		}
	}
	for _, conns := range []int{1, manyConns} {
		for _, size := range []int{tinyMessage, smallMessage, mediumMessage} {
			list = append(list, oneWayWork(conns, size))
		}
	}
	return append(list, fanOutWork(1), fanOutWork(burstSize), idleWork(), handshakeWork(false), handshakeWork(true),
		stormWork(), callsWork(), codecWork())
}

// moves tells whether a contender moves messages, and is not made for other
// works only.
func moves(c *contender) bool { return c.dial != nil && c.only == nil }

// isOneOf returns what takes the named contenders.
func isOneOf(names ...string) func(c *contender) bool {
	return func(c *contender) bool { return slices.Contains(names, c.name) }
}

// oneOperation is a work for which the harness has nothing to do but to ask a
// client.
func oneOperation(op string, args func(s scale) any) func(context.Context, *bench, *contender) (metrics, error) {
	return func(ctx context.Context, b *bench, c *contender) (metrics, error) {
		p, err := b.startPair(ctx, c)
		if err != nil {
			return nil, err
		}
		defer p.stop()
		var m metrics
		return m, p.client.ask(op, args(b.scale), &m)
	}
}

func pingPongWork() *work {
	return &work{
		name: "ping-pong", title: "Ping-pong",
		about: "One message of 16 B is under way at a time; the next one is sent in the handler of the last. (busd, Request: the next one " +
			"when the answer is there.) Percentiles are of single round trips.",
		columns: []column{{"rate", "round trips/s", perSecond}, p50Column, p99Column, cpuColumn, ioColumn},
		takes:   func(c *contender) bool { return c.dial != nil },
		quick:   true,
		run: oneOperation("ping-pong", func(s scale) any {
			return pingPongArgs{span: s.Span, Size: tinyMessage}
		}),
	}
}

func echoWork(conns, size int) *work {
	return &work{
		name: fmt.Sprintf("echo-%s-%d", sizeName(size), conns), title: fmt.Sprintf("Echo, %s, %s", sizeText(size), connsText(conns)),
		about: fmt.Sprintf("Messages of %s on %s, up to %d under way on each; the server's handler sends each back. A message is one that came back.",
			sizeText(size), connsText(conns), windowSize),
		columns: []column{rateColumn, cpuColumn, cpuServerColumn, cpuClientColumn, ioColumn},
		takes:   moves,
		quick:   conns == 1 && size == tinyMessage || conns == manyConns && size == smallMessage,
		run: oneOperation("flow", func(s scale) any {
			return flowArgs{span: s.Span, Connections: conns, Size: size, Window: windowSize, Every: 1}
		}),
	}
}

const (
	// oneWayBatch is how many bytes go one way for each message that comes back,
	// oneWayMost how many messages at most.
	oneWayBatch = 256 << 10
	oneWayMost  = 1024
	// oneWayWindow is how many of those that come back may be under way.
	oneWayWindow = 8
)

func oneWayWork(conns, size int) *work {
	every := min(oneWayMost, oneWayBatch/size)
	return &work{
		name: fmt.Sprintf("one-way-%s-%d", sizeName(size), conns), title: fmt.Sprintf("One way, %s, %s", sizeText(size), connsText(conns)),
		about: fmt.Sprintf("Messages of %s on %s, from client to server, as fast as they are taken. One in %d comes back, and at most %d of these are under way: "+
			"that counts what has arrived, and bounds what waits.", sizeText(size), connsText(conns), every, oneWayWindow),
		columns: []column{rateColumn, cpuColumn, cpuServerColumn, cpuClientColumn, ioColumn},
		takes:   moves,
		quick:   conns == 1 && size != tinyMessage,
		run: func(ctx context.Context, b *bench, c *contender) (metrics, error) {
			p, err := b.startPair(ctx, c)
			if err != nil {
				return nil, err
			}
			defer p.stop()
			var m metrics
			if err := p.client.ask("flow", flowArgs{span: b.scale.Span, Connections: conns, Size: size, Window: oneWayWindow, Every: every}, &m); err != nil {
				return nil, err
			}
			var handled uint64
			if err := p.server.ask("handled", struct{}{}, &handled); err != nil {
				return nil, err
			}
			if sent := uint64(m["one_way"]); handled != sent {
				return nil, fmt.Errorf("%d messages were sent, and %d handled", sent, handled)
			}
			return m, nil
		},
	}
}

func fanOutWork(burst int) *work {
	w := &work{
		name: fmt.Sprintf("fan-out-%d", burst), title: "Fan-out, single messages",
		about: "The server sends a message of 64 B to 1,000 connections, and again when the last one has it. Times are from the asking to the last " +
			"delivery; rates and CPU are of deliveries.",
		columns: []column{{"rate", "deliveries/s", perSecond}, p50Column, p99Column, cpuServerColumn, cpuClientColumn, ioColumn},
		takes:   moves,
		quick:   true,
		run: oneOperation("fan-out", func(s scale) any {
			return fanOutArgs{span: s.Span, Connections: s.FanOut, Burst: burst}
		}),
	}
	if burst > 1 {
		w.title = fmt.Sprintf("Fan-out, bursts of %d", burst)
		w.about = fmt.Sprintf("The same with %d messages, one after the other, each time.", burst)
	}
	return w
}

func callsWork() *work {
	return &work{
		name: "calls", title: "Calls",
		about:   fmt.Sprintf("A method that takes a number and a text and returns both, as JSON; %d callers, each with one call under way.", maxCallers),
		columns: []column{{"rate", "calls/s", perSecond}, p50Column, p99Column, cpuServerColumn, cpuClientColumn},
		takes:   func(c *contender) bool { return c.call != nil },
		quick:   true,
		run:     oneOperation("calls", func(s scale) any { return s.Span }),
	}
}

func sizeName(size int) string {
	if size >= 1024 {
		return fmt.Sprintf("%dK", size/1024)
	}
	return fmt.Sprintf("%d", size)
}

func sizeText(size int) string {
	if size >= 1024 {
		return fmt.Sprintf("%d KiB", size/1024)
	}
	return fmt.Sprintf("%d B", size)
}

func connsText(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}
