package model_test

import (
	"context"
	"fmt"
	"time"
)

// buffer is how much each end keeps for the other.
const buffer = 1 << 20

// happen has something happen, or nothing, which nobody has asked for.
func (h *history) happen() {
	if h.rng.IntN(h.movesEvery) == 0 {
		h.move()
	}
	if h.rng.IntN(25) == 0 && !h.steady {
		h.drain()
	}
	if h.calm {
		return
	}
	if h.rng.IntN(h.cutsEvery) == 0 {
		h.strike()
	}
	if h.big && h.rng.IntN(6) == 0 {
		h.burst()
	}
	if h.steady {
		return
	}
	switch h.rng.IntN(60) {
	case 0:
		h.kill()
	case 1:
		h.leave()
	case 2:
		a := h.agents[h.rng.IntN(len(h.agents))]
		h.clone(a)
	}
}

// move has a client go to another connection.
func (h *history) move() {
	a := h.agents[h.rng.IntN(len(h.agents))]
	limit := time.Minute
	if !h.calm {
		limit = time.Duration(h.rng.IntN(60_000)) * time.Millisecond
	}
	h.seen.moves++
	h.work.Go(func() {
		ctx, stop := context.WithTimeout(h.over, limit)
		defer stop()
		a.reconnect(ctx)
	})
}

// strike has something happen to a line.
func (h *history) strike() {
	l := h.someLine()
	if l == nil {
		return
	}
	h.seen.cuts++
	w := way(h.rng.IntN(2))
	switch h.rng.IntN(8) {
	case 0:
		l.stall(w, time.Duration(h.rng.IntN(20_000))*time.Millisecond)
	case 1, 2, 3:
		l.cutAfter(w, 1+h.rng.Int64N(1000), cut(h.rng.IntN(int(cuts))))
	default:
		l.cut(cut(h.rng.IntN(int(cuts))))
	}
}

// burst has a service send more than there is room for.
func (h *history) burst() {
	e := h.someHouse()
	if e == nil {
		return
	}
	id := h.agents[h.rng.IntN(len(h.agents))].identity
	h.ledger.mu.Lock()
	d := e.rollLocked(id).desk
	h.ledger.mu.Unlock()
	l := letter{kind: []kind{blink, state}[h.rng.IntN(2)], key: "burst", pad: h.pad, from: d}
	for range 2 * buffer / h.pad {
		h.put(d, func(ctx context.Context) { e.sendTo(ctx, l, id) })
	}
}

// someLine returns one that is there, or nil.
func (h *history) someLine() *line {
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	var lines []*line
	for _, d := range h.dials {
		if d.line != nil && !d.line.isBroken() && !d.line.isClosed() {
			lines = append(lines, d.line)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return lines[h.rng.IntN(len(lines))]
}

// kill ends a server as kill -9 does, and starts another, now or later.
func (h *history) kill() {
	e := h.someHouse()
	if e == nil {
		return
	}
	h.seen.kills++
	h.gone(e, func() { e.killed = true })
	e.srv.Cut()
	h.restart(e.name[:1], time.Duration(h.rng.IntN(2)*h.rng.IntN(20_000))*time.Millisecond)
}

// gone takes note that a house does not listen any more.
func (h *history) gone(e *house, how func()) {
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	if h.houses[e.name[:1]] == e {
		h.houses[e.name[:1]] = nil
	}
	how()
	h.ledger.noteLocked("%s does not listen any more", e.name)
}

// restart lets a node listen again after a while.
func (h *history) restart(name string, after time.Duration) {
	if after == 0 {
		h.startHouse(name)
		return
	}
	h.work.Go(func() {
		time.Sleep(after)
		h.startHouse(name)
	})
}

// drain has a server send its clients away, one at a time.
func (h *history) drain() {
	e := h.someHouse()
	h.ledger.mu.Lock()
	busy := h.draining > 0
	h.ledger.mu.Unlock()
	if e == nil || busy {
		return
	}
	target := ""
	if h.rng.IntN(2) == 0 {
		target = h.urls[h.rng.IntN(len(h.urls))]
	}
	h.seen.drains++
	h.ledger.mu.Lock()
	h.draining++
	for _, a := range h.agents {
		a.mayMove = true
	}
	h.ledger.noteLocked("%s is drained to %q", e.name, target)
	h.ledger.mu.Unlock()
	atOnce := h.rng.IntN(2) == 0 // the next life begins while this one is drained
	if atOnce {
		h.gone(e, func() {})
		h.startHouse(e.name[:1])
	}
	h.work.Go(func() {
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		err := e.srv.Drain(ctx, target)
		h.ledger.mu.Lock()
		h.draining--
		e.stopping = e.stopping || err != nil
		h.ledger.noteLocked("%s: Drain returns %v", e.name, err)
		h.ledger.mu.Unlock()
		if !atOnce {
			h.gone(e, func() {})
			h.startHouse(e.name[:1])
		}
	})
}

// leave closes a client, which may come back as another.
func (h *history) leave() {
	i := h.rng.IntN(len(h.agents))
	a := h.agents[i]
	limit := time.Duration(1+h.rng.IntN(30_000)) * time.Millisecond
	h.seen.closes++
	h.work.Go(func() {
		ctx, stop := context.WithTimeout(context.Background(), limit)
		defer stop()
		a.close(ctx)
	})
	if h.rng.IntN(2) == 0 {
		h.clone(a)
	}
}

// clone makes another client of the same identity.
func (h *history) clone(a *agent) {
	var peer, instance string
	if _, err := fmt.Sscanf(string(a.identity), "dns:%2s/%s", &peer, &instance); err != nil {
		h.t.Fatal(err)
	}
	h.seen.clones++
	h.addAgent(peer, instance)
}
