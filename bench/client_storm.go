package main

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// firstWait and lastWait bound the pause of a client before it tries again; full
	// jitter, as msgclient has it.
	firstWait = 500 * time.Millisecond
	lastWait  = 30 * time.Second
	// probePause is how long a probe rests between two messages.
	probePause = 20 * time.Millisecond
	// probeAnswers is how many answers a probe may find that it has given up.
	probeAnswers = 4
	// stormTimeout bounds how long all may take to come back.
	stormTimeout = 3 * time.Minute
)

// stormArgs say how many clients there are, and how many of them are at work.
type stormArgs struct {
	Clients int `json:"clients"`
	Probes  int `json:"probes"`
}

// A storm is clients that come back, all at the same time.
type storm struct {
	full  atomic.Int64 // handshakes
	trips latencies

	mu   sync.Mutex
	ups  []time.Time // when each client was connected last
	seen []int       // how often
}

// gatherStorm connects clients that come back when they are cut off. The first
// ones are probes: they have a message under way whenever they are connected.
func (c *clientSide) gatherStorm(a stormArgs) (any, error) {
	s := &storm{ups: make([]time.Time, a.Clients), seen: make([]int, a.Clients)}
	c.back = s
	options := make([]dialOptions, a.Clients)
	probes := make([]*probe, a.Clients)
	for i := range options {
		cert, err := c.pki.client(fmt.Sprintf("client-%d", i))
		if err != nil {
			return nil, err
		}
		receive := func([]byte) []byte { return nil }
		if i < a.Probes {
			probes[i] = newProbe(s, i)
			receive = probes[i].receive
		}
		conf := c.pki.clientTLS(cert, tls.NewLRUClientSessionCache(1), func() { s.full.Add(1) })
		options[i] = c.optionsWith(i, conf, receive)
		options[i].Up = func() {
			s.up(i)
			if probes[i] != nil {
				leaveWord(probes[i].again)
			}
		}
	}
	err := inParallel(a.Clients, dialersAtOnce, func(i int) error {
		k, err := c.dial(options[i])
		if err != nil {
			return err
		}
		if probes[i] != nil {
			probes[i].use(k)
			go probes[i].work() // as long as the process lives
		}
		if !c.contender.returns {
			options[i].Up()
			go c.comeBack(options[i], k, probes[i])
		}
		return nil
	})
	s.full.Store(0)
	return nil, err
}

// comeBack keeps a client connected whose library does not.
func (c *clientSide) comeBack(o dialOptions, k conn, p *probe) {
	for {
		<-k.Done()
		for wait := firstWait; ; wait = min(2*wait, lastWait) {
			time.Sleep(rand.N(wait)) //nolint:gosec // G404: a pause, no secret
			again, err := c.dial(o)
			if err == nil {
				k = again
				break
			}
		}
		if p != nil {
			p.use(k)
		}
		o.Up()
	}
}

// up is told that a client is connected.
func (s *storm) up(client int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ups[client] = time.Now()
	s.seen[client]++
}

// returned tells since when a client is connected, and whether it was cut off
// and came back.
func (s *storm) returned(client int) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ups[client], s.seen[client] > 1
}

// stormOver waits until all clients are back, and tells how long that took since
// a moment, the server's restart, in nanoseconds of the clock.
func (c *clientSide) stormOver(restart int64) (any, error) {
	s, began := c.back, time.Unix(0, restart)
	s.trips.start()
	if err := s.wait(); err != nil {
		return nil, err
	}
	took := make([]time.Duration, len(s.ups))
	for i := range took {
		at, _ := s.returned(i)
		took[i] = at.Sub(began)
	}
	slices.Sort(took)
	m := metrics{
		"half": percentile(took, 0.5).Seconds(), "all": percentile(took, 1).Seconds(),
		"resumed": 100 * (1 - float64(s.full.Load())/float64(len(took))),
	}
	s.trips.into(m)
	return m, nil
}

func (s *storm) wait() error {
	for deadline := time.Now().Add(stormTimeout); ; time.Sleep(5 * time.Millisecond) {
		away := 0
		for i := range s.ups {
			if _, back := s.returned(i); !back {
				away++
			}
		}
		switch {
		case away == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%d of %d clients are not back after %s", away, len(s.ups), stormTimeout)
		}
	}
}

// A probe is a client that works while others come back: its round trips say
// how much it notices of them.
type probe struct {
	storm  *storm
	client int
	answer chan uint64   // the number of a message that came back
	again  chan struct{} // the client was connected again

	mu   sync.Mutex
	conn conn
}

func newProbe(s *storm, client int) *probe {
	return &probe{storm: s, client: client, answer: make(chan uint64, probeAnswers), again: make(chan struct{}, 1)}
}

func (p *probe) use(c conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = c
}

func (p *probe) current() conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

func (p *probe) receive(m []byte) []byte {
	select {
	case p.answer <- payload(m).number():
	default: // nobody has waited for the last ones
	}
	return nil
}

// work sends a message, waits for it to come back and rests, again and again.
func (p *probe) work() {
	m := newPayload(echo, fanOutSize)
	for n := uint64(1); ; n++ {
		m.setNumber(n)
		p.trip(m)
		time.Sleep(probePause)
	}
}

// trip counts if it begins after the client has come back.
func (p *probe) trip(m payload) {
	_, counts := p.storm.returned(p.client)
	began := time.Now()
	if p.current().Send(m) != nil {
		return
	}
	late := time.NewTimer(endTimeout)
	defer late.Stop()
	for over := false; !over; {
		select {
		case n := <-p.answer:
			over = n == m.number() // and not one that was given up
		case <-p.again: // it went with the last connection
			return
		case <-late.C: // no better than that
			over = true
		}
	}
	if counts {
		p.storm.trips.add(time.Since(began))
	}
}

// leaveWord leaves word for who waits, or will.
func leaveWord(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is there
	}
}
