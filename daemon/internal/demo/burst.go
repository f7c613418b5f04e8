package demo

import (
	"context"
	"sync"

	"busd/examples/pingpong"
)

const (
	// burstSize is how many messages an agent sends at once before its line is
	// cut, and burstCut after how many bytes of their answers that is, of some
	// 40,000: then many are on their way.
	burstSize = 2000
	burstCut  = 25_000
)

// A burst are pings that are no requests: their answers come as messages of
// their own.
type burst struct {
	mu sync.Mutex
	// Guarded by mu.
	page        page  // of the answers, counted from 1
	first, last int64 // pings; 0: there was none yet
	over        chan struct{}
}

// begin says which pings come next, and returns what is closed when the last
// answer has come.
func (b *burst) begin(first int64) (over <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first, b.last = first, first+burstSize-1
	b.over = make(chan struct{})
	return b.over
}

// answered takes note of an answer.
func (b *burst) answered(id int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.page.handled(id - b.first + 1)
	if id == b.last && b.over != nil {
		close(b.over)
		b.over = nil // it may come again: that is what is counted
	}
}

// account returns how many answers were lost, and how many came twice or in
// another order.
func (b *burst) account() (lost, doubled int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == 0 {
		return 0, 0
	}
	return b.page.count(burstSize)
}

// cutMidstream sends a burst and has the line cut in the middle of it. repeated
// counts what the service has written again so far.
func (a *agent) cutMidstream(repeated func() uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	before := repeated()
	over := a.burst.begin(a.sent + 1)
	a.cutWithin(burstCut)
	for range burstSize {
		a.sent++
		if err := a.client.Send(ctx, pingpong.Ping{ID: a.sent}); err != nil {
			a.failed(err)
			return
		}
	}
	select {
	case <-over:
		lost, doubled := a.burst.account()
		a.say("%s: all %d answers came, %d of them written again, %d lost, %d doubled", a.name, burstSize, repeated()-before, lost, doubled)
	case <-ctx.Done():
		a.failed(context.Cause(ctx))
	}
}
