package model_test

import (
	"context"
	"errors"
	"testing/synctest"
	"time"

	"busd/bus"
)

const (
	// restLimit is how long it may take until everything has come to rest.
	restLimit = 20 * time.Minute
	// restAfter is how long nothing may be left of what has ended: idle lines are
	// found out after 75 s, sessions expire after 2 min, handlers take 20 s.
	restAfter = 4 * time.Minute
)

// settle turns all faults off and lets everything come to rest.
func (h *history) settle() {
	h.lucky.Lock()
	h.faults = false
	h.lucky.Unlock()
	h.ledger.note("all faults are off")
	h.healLines()
	h.oneOfEach()
	if !h.inTime("calls that send", h.work.Wait) {
		return
	}
	for _, name := range h.nodes {
		if h.houses[name] == nil {
			h.startHouse(name)
		}
	}
	for _, a := range h.agents {
		if !h.isOver(a) {
			h.inTime(a.name+" to be answered", func() { h.reach(a) })
		}
	}
	time.Sleep(restAfter)
	for _, e := range h.all {
		for _, c := range e.svc.Conns() {
			h.inTime("an answer of "+string(c.Identity()), func() { _ = c.SendHandled(h.over, Answer{}) }) // seen by what is left over
		}
	}
	synctest.Wait()
	h.ledger.note("everything is at rest")
}

// healLines takes away what would still happen to lines.
func (h *history) healLines() {
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	for _, d := range h.dials {
		if d.line != nil {
			d.line.heal()
		}
	}
}

// oneOfEach leaves one client of each identity: two that want it fight for ever.
func (h *history) oneOfEach() {
	last := map[bus.Identity]*agent{}
	for _, a := range h.agents {
		if before := last[a.identity]; before != nil && !h.isOver(before) {
			h.work.Go(func() {
				ctx, stop := context.WithTimeout(context.Background(), time.Second)
				defer stop()
				before.close(ctx)
			})
		}
		last[a.identity] = a
	}
}

func (h *history) isOver(a *agent) bool {
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	return a.isOver
}

// inTime waits for something that must come.
func (h *history) inTime(what string, wait func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); wait() }()
	select {
	case <-done:
		return true
	case <-time.After(restLimit):
		h.ledger.breach("no rest within %s: waits for %s", restLimit, what)
		h.stop()
		return false
	}
}

// reach has a client and its service answer each other.
func (h *history) reach(a *agent) {
	for !h.isOver(a) && h.over.Err() == nil {
		if a.c.SendHandled(h.over, Answer{}) == nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// end ends what has not ended, and looks whether all of it does.
func (h *history) end() {
	h.verdict()
	for _, a := range h.agents {
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		err := a.c.Close(ctx)
		if !h.isOver(a) && err != nil && h.over.Err() == nil {
			h.ledger.breach("%s: Close at rest: %v", a.name, err)
		}
		stop()
		h.inTime("Run of "+a.name, func() { <-a.over })
		a.stop()
	}
	for _, e := range h.all {
		h.gone(e, func() { e.stopping = true })
		e.srv.Stop()
	}
	h.stop()
	close(h.quit)
	time.Sleep(time.Minute)
	synctest.Wait()
	h.lastVerdict()
}

// lastVerdict looks at what must be over now.
func (h *history) lastVerdict() {
	b := h.ledger
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range h.all {
		for id, r := range e.rolls {
			for _, v := range r.visits {
				if v.stage != left && v.stage != refused {
					b.breachLocked("%v of %s at %s was not dropped", v.dial, id, e.name)
				}
			}
			for _, s := range r.sessions {
				if s.accepted != (s.gone == 1) {
					b.breachLocked("%v: accepted %t, gone %d times", s, s.accepted, s.gone)
				}
			}
		}
		for _, st := range e.srv.Stats() {
			if st.Conns+st.Sessions+st.Queued > 0 {
				b.breachLocked("%s has stopped and has %d connections, %d sessions, %d bytes", e.name, st.Conns, st.Sessions, st.Queued)
			}
		}
	}
	for _, a := range h.agents {
		if !a.isOver || !errors.Is(a.final, bus.ErrDropped) {
			b.breachLocked("%s: Run has returned %t: %v", a.name, a.isOver, a.final)
		}
	}
	for _, l := range b.letters {
		for _, r := range l.runs {
			if !r.over {
				b.breachLocked("%v: its handler at %v has not returned", l, r.at)
			}
		}
	}
}
