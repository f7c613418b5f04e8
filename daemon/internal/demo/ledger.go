package demo

import (
	"sync"

	"busd/bus"
)

// A ledger is what the service has handled, of each agent, whichever server it
// came to. It finds out what was lost on the way there, and what was doubled.
type ledger struct {
	mu    sync.Mutex
	pages map[bus.Identity]*page // guarded by mu
}

func newLedger() *ledger { return &ledger{pages: map[bus.Identity]*page{}} }

// of returns the page of an agent, which it keeps from one connection to the
// next.
func (l *ledger) of(agent bus.Identity) *page {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pages[agent]
	if p == nil {
		p = new(page)
		l.pages[agent] = p
	}
	return p
}

// A page is a count of messages that are numbered from 1 on, in the order in
// which they are handled.
type page struct {
	mu sync.Mutex
	// Guarded by mu.
	last, missed, doubled int64
}

func (p *page) handled(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id <= p.last {
		p.doubled++
		return
	}
	p.missed += id - p.last - 1
	p.last = id
}

// count returns how many of the messages from 1 to sent never came, and how many
// came twice, or after one that was sent later.
func (p *page) count(sent int64) (lost, doubled int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.missed + max(0, sent-p.last), p.doubled
}
