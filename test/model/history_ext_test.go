package model_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/msgbus"
)

// A history is what happens to some clients and services.
type history struct {
	t           *testing.T
	ledger      *ledger
	rng         *rand.Rand // the main goroutine's
	credentials map[string]*tls.Config

	// Fixed as it begins.
	seed        uint64
	calm        bool // nothing goes wrong: nothing may be lost
	steady      bool // servers and clients stay: only lines break
	nodes       []string
	urls        []string
	window      time.Duration
	credit      int
	pad         int
	big         bool // messages are large: buffers get full
	memory      int  // of a server for those who are away; 0: enough
	olderWins   bool // of two who want an identity
	keepOnError bool
	cutsEvery   int // steps, on average
	movesEvery  int

	agents []*agent
	over   context.Context // of what is sent
	stop   context.CancelFunc
	work   sync.WaitGroup // calls that send, and others that take their time
	quit   chan struct{}  // closed when desks may go home

	lucky sync.Mutex
	// Guarded by lucky.
	luck   *rand.Rand
	faults bool // lines break, callbacks fail

	// Guarded by the ledger's mu.
	houses   map[string]*house // that listen, by node
	all      []*house
	dials    []*dial
	draining int

	seen tally
}

func newHistory(t *testing.T, seed uint64, credentials map[string]*tls.Config) *history {
	h := &history{
		t: t, seed: seed, credentials: credentials, faults: true,
		rng: rand.New(rand.NewPCG(seed, 0)), luck: rand.New(rand.NewPCG(seed, 1)),
		ledger: &ledger{begin: time.Now(), last: map[place]int64{}}, houses: map[string]*house{},
		quit: make(chan struct{}),
	}
	h.over, h.stop = context.WithCancel(context.Background())
	h.calm = h.rng.IntN(6) == 0
	h.steady = h.rng.IntN(3) == 0
	h.nodes = []string{"a", "b"}[:1+h.rng.IntN(2)]
	for _, name := range h.nodes {
		h.urls = append(h.urls, "wss://"+name+".test:443/"+contract.Service())
	}
	h.window = []time.Duration{0, 0, 0, 2 * time.Second, 10 * time.Second, -1}[h.rng.IntN(6)]
	h.credit = []int{4 << 10, 16 << 10, 1 << 20}[h.rng.IntN(3)]
	h.pad = min(h.credit/4, 2<<10) - overhead
	if h.big = h.credit == 1<<20 && h.rng.IntN(8) == 0; h.big {
		h.pad = msgbus.DefaultMaxMessage - overhead
	}
	if h.rng.IntN(6) == 0 {
		h.memory = 16 << 10
	}
	h.olderWins = h.rng.IntN(8) == 0
	h.keepOnError = h.rng.IntN(3) == 0
	h.cutsEvery = []int{3, 8, 20}[h.rng.IntN(3)]
	h.movesEvery = []int{5, 15, 1 << 20}[h.rng.IntN(3)]
	if h.calm {
		h.window, h.memory, h.faults, h.cutsEvery, h.keepOnError = 0, 0, false, 1<<20, true
	}
	return h
}

// chance is true once in n times; for those who run beside the main goroutine.
func (h *history) chance(n int) bool { return h.dice(n) == 0 }

func (h *history) dice(n int) int {
	h.lucky.Lock()
	defer h.lucky.Unlock()
	return h.luck.IntN(n)
}

// A mood is what a callback is in.
type mood struct {
	takes, drops           time.Duration
	sends, refuses, panics bool
}

func (h *history) mood() (m mood) {
	h.lucky.Lock()
	defer h.lucky.Unlock()
	m.sends = h.luck.IntN(4) == 0
	if !h.faults {
		return m
	}
	switch h.luck.IntN(16) {
	case 0:
		m.refuses = true
	case 1:
		m.panics = h.luck.IntN(2) == 0
	case 2, 3:
		m.takes = time.Duration(h.luck.IntN(3000)) * time.Millisecond
	case 4:
		m.takes = time.Duration(h.luck.IntN(20)) * time.Second
	case 5:
		m.drops = time.Duration(h.luck.IntN(9)) * time.Second
	}
	return m
}

// weather says what will happen to a line.
func (h *history) weather(l *line) {
	h.lucky.Lock()
	defer h.lucky.Unlock()
	if h.luck.IntN(3) == 0 {
		l.ways[up].piece, l.ways[down].piece = 1+h.luck.IntN(300), 1+h.luck.IntN(300)
		if h.luck.IntN(10) == 0 && !h.big {
			l.ways[h.luck.IntN(2)].piece = 1
		}
	}
	if !h.faults {
		return
	}
	t := &l.ways[h.luck.IntN(2)]
	switch h.luck.IntN(3 * h.cutsEvery) {
	case 0:
		t.left, t.how = 1+h.luck.Int64N(3000), cut(h.luck.IntN(int(cuts))) // from the handshake on
	case 1, 2:
		t.left, t.how = 1+h.luck.Int64N(10000), cut(h.luck.IntN(int(cuts)))
	case 3:
		t.spoil = 1 + h.luck.Int64N(6000)
	case 4:
		t.stalled = time.Now().Add(time.Duration(h.luck.IntN(20_000)) * time.Millisecond)
	}
}

// newDesk makes a desk, which sends one letter after the other.
func (h *history) newDesk(name string) *desk {
	d := &desk{name: name, jobs: make(chan func(), 1000)}
	go func() {
		for {
			select {
			case job := <-d.jobs:
				job()
			case <-h.quit:
				return
			}
		}
	}()
	return d
}

// play plays the history to its end.
func (h *history) play() {
	for _, name := range h.nodes {
		h.startHouse(name)
	}
	for i := range 1 + h.rng.IntN(4) {
		h.addAgent(fmt.Sprint("p", h.rng.IntN(2)), fmt.Sprint("i", i))
	}
	for range 15 + h.rng.IntN(40) {
		h.step()
		h.happen()
		h.pause()
	}
	h.settle()
	h.end()
}

func (h *history) addAgent(peer, instance string) {
	h.agents = append(h.agents, newAgent(h, peer, instance))
}

// startHouse lets a node listen, with nothing of an earlier life.
func (h *history) startHouse(name string) *house {
	h.ledger.mu.Lock()
	e := &house{h: h, name: fmt.Sprintf("%s%d", name, len(h.all)+1), rolls: map[bus.Identity]*roll{}}
	h.all = append(h.all, e)
	h.ledger.mu.Unlock()
	e.open()
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	h.houses[name] = e
	h.ledger.noteLocked("%s listens", e.name)
	return e
}

// pause lets some time pass.
func (h *history) pause() {
	switch h.rng.IntN(5) {
	case 0:
		synctest.Wait()
	case 1:
		time.Sleep(time.Duration(h.rng.IntN(5000)) * time.Microsecond)
	case 2:
		time.Sleep(time.Duration(h.rng.IntN(2000)) * time.Millisecond)
	case 3:
		if h.rng.IntN(5) == 0 {
			time.Sleep(time.Duration(h.rng.IntN(100)) * time.Second)
		}
	}
}

// step has somebody send something.
func (h *history) step() {
	for range 1 + h.rng.IntN(4) {
		switch h.rng.IntN(12) {
		case 0:
			if e := h.someHouse(); e != nil {
				h.broadcast(e)
			}
		case 1, 2, 3, 4:
			if e := h.someHouse(); e != nil {
				h.sendFrom(e)
			}
		default:
			a := h.agents[h.rng.IntN(len(h.agents))]
			l := h.letter()
			l.from = a.desks[h.deskOf(l)]
			h.put(l.from, func(ctx context.Context) { a.send(ctx, l) })
		}
	}
}

// put lets a desk send a letter, mostly with patience.
func (h *history) put(d *desk, send func(ctx context.Context)) {
	ctx, stop := h.over, context.CancelFunc(func() {})
	if !h.calm && h.rng.IntN(4) == 0 {
		ctx, stop = context.WithTimeout(ctx, time.Duration(h.rng.IntN(3_000_000))*time.Microsecond)
	}
	h.work.Add(1)
	d.jobs <- func() {
		defer h.work.Done()
		defer stop()
		send(ctx)
	}
}

// deskOf says who sends a letter: all of a key are sent by one.
func (h *history) deskOf(l letter) int {
	if l.kind == state {
		return len(l.key) % desksOfAgent
	}
	return h.rng.IntN(desksOfAgent)
}

// letter makes one up.
func (h *history) letter() letter {
	l := letter{kind: kind(h.rng.IntN(int(kinds))), pad: h.rng.IntN(h.pad), key: []string{"x", "xx"}[h.rng.IntN(2)]}
	switch {
	case h.big:
		l.pad = h.pad - l.pad/2
	case h.rng.IntN(2) == 0:
		l.pad = 0
	}
	if l.kind < state && h.rng.IntN(4) == 0 {
		l.acked = true
	}
	if l.kind == ask && h.rng.IntN(2) == 0 {
		l.deed = replies
	} else if h.rng.IntN(4) == 0 {
		l.deed = deed(h.rng.IntN(int(deeds)))
	}
	if (l.deed == fails || l.deed == panics || l.deed == exits) && l.kind != kept && (h.calm || h.rng.IntN(4) > 0) {
		l.deed = nothing
	}
	switch h.rng.IntN(20) {
	case 0:
		l.takes = time.Duration(h.rng.IntN(3000)) * time.Millisecond
	case 1, 2, 3, 4:
		l.takes = time.Duration(h.rng.IntN(3000)) * time.Microsecond
	case 5:
		if h.rng.IntN(3) == 0 {
			l.takes = time.Duration(h.rng.IntN(20)) * time.Second
		}
	}
	if h.calm {
		l.takes /= 20
		if l.deed == waits {
			l.deed = nothing
		}
	}
	return l
}

// someHouse returns one that listens, or nil.
func (h *history) someHouse() *house {
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	return h.houses[h.nodes[h.rng.IntN(len(h.nodes))]]
}

// sendFrom has a service send a letter to somebody who has been there.
func (h *history) sendFrom(e *house) {
	id := h.agents[h.rng.IntN(len(h.agents))].identity
	l := h.letter()
	if h.calm && l.deed == asksBack {
		l.deed = nothing // two handlers that ask each other wait for each other
	}
	h.ledger.mu.Lock()
	r := e.rollLocked(id)
	var to *session
	for _, s := range r.sessions {
		if s.accepted {
			to = s
		}
	}
	h.ledger.mu.Unlock()
	if to == nil {
		return
	}
	l.from = r.desk
	if l.kind != ask && !l.acked && h.rng.IntN(4) == 0 {
		h.put(r.desk, func(ctx context.Context) { e.sendTo(ctx, l, id) })
		return
	}
	h.ledger.mu.Lock()
	c := to.conn
	h.ledger.mu.Unlock()
	h.put(r.desk, func(ctx context.Context) { (&host{e, c, to}).send(ctx, l) })
}

// broadcast has a service send a letter to many.
func (h *history) broadcast(e *house) {
	l := letter{kind: []kind{note, kept}[h.rng.IntN(2)], pad: h.rng.IntN(h.pad)}
	group := ""
	if h.rng.IntN(2) == 0 {
		group = groupOf(h.agents[h.rng.IntN(len(h.agents))].identity)
	}
	e.broadcast(h.over, l, group)
}

// options says what kind of a history it is.
func (h *history) options() string {
	return fmt.Sprintf("calm %t, steady %t, nodes %v, window %s, credit %d, big %t, memory %d, older wins %t, cuts every %d, moves every %d, keep on error %t",
		h.calm, h.steady, h.nodes, h.window, h.credit, h.big, h.memory, h.olderWins, h.cutsEvery, h.movesEvery, h.keepOnError)
}
