package link

import (
	"testing/synctest"

	"busd/bus"
)

// A dial is a connection that the client opens.
type dial struct {
	client, server *pipe
	seen, told     uint64
	accepted       bool // the server's link carries the session
	old            end  // the server's, before
}

// line makes a line that breaks after some bytes, or never.
func (h *history) line() [2]*pipe {
	a, b := Pipe(h.t, 1+h.rng.IntN(20))
	for _, p := range []*pipe{a, b} {
		p.split, p.lossy = h.rng.IntN(2) == 0, h.rng.IntN(2) == 0
		if h.rng.IntN(h.cutsEvery) < 3 {
			p.budget.Store(1 + h.rng.Int64N(3000))
		}
	}
	return [2]*pipe{a, b}
}

// network has something happen to the line.
func (h *history) network() {
	client, server := h.parties[0].e, h.parties[1].e
	lost := client.Cause() != nil
	switch {
	case h.sessionOver():
	case h.dial != nil:
		if h.rng.IntN(2) == 0 {
			h.advance()
		}
	case lost && h.rng.IntN(2) == 0, !lost && h.rng.IntN(h.movesEvery) == 0:
		pipes := h.line()
		h.dial = &dial{client: pipes[0], server: pipes[1], seen: client.Seen()}
		if !lost {
			h.moves++
		}
	case !lost && h.rng.IntN(h.cutsEvery) == 0:
		[]*end{client, server}[h.rng.IntN(2)].pipe.Abort()
		h.cuts++
	}
}

// advance brings a dial one step further.
func (h *history) advance() {
	client, d := h.parties[0].e, h.dial
	switch {
	case h.rng.IntN(8) == 0: // the line broke before the client has its welcome
		d.client.Abort()
		if d.accepted { // it cannot know
			client.Drop(bus.Errorf(bus.CodeUnavailable, "a move failed half-way"))
			client.pipe.Abort()
		}
		h.dial = nil
		h.abandoned++
	case !d.accepted:
		h.accept(client.Cause() == nil)
		if h.rng.IntN(2) == 0 { // the old line is closed by either end
			d.old.link.Drop(bus.Errorf(bus.CodeUnavailable, "the client has moved"))
		}
	default:
		h.dial = nil
		was := *client
		err := client.resume(d.client, d.seen, d.told)
		was.link.Pass()
		was.Drop(bus.Errorf(bus.CodeGoingAway, "moved"))
		h.resumed(client, err)
	}
}

// accept has the server take the client's hello.
func (h *history) accept(move bool) {
	server, d := h.parties[1].e, h.dial
	d.old, d.accepted = *server, true
	if !move && h.rng.IntN(2) == 0 { // the server has not noticed yet
		server.link.Drop(bus.Errorf(bus.CodeUnavailable, "the client came back on another connection"))
		server.link.Abort()
	}
	var err *bus.Error
	d.told, err = server.accept(d.server, d.seen)
	if h.rng.IntN(2) == 0 || move {
		d.old.link.Pass()
	}
	h.resumed(server, err)
}

func (h *history) resumed(e *end, err *bus.Error) {
	h.resumes++
	if err != nil && e.Stream.Cause() == nil {
		h.parties[0].breach("the session cannot be resumed: %v", err)
	}
	if err != nil { // nobody runs it
		e.ran = &ran{over: make(chan struct{})}
		close(e.ran.over)
		e.pipe.Abort()
	}
}

// rejoin makes a line that holds, if there is none.
func (h *history) rejoin() {
	for h.dial != nil {
		h.advance()
	}
	client, server := h.parties[0].e, h.parties[1].e
	if client.Cause() == nil && server.Cause() == nil && client.pipe.peer == server.pipe &&
		client.pipe.budget.Load() <= 0 && server.pipe.budget.Load() <= 0 || h.sessionOver() {
		return
	}
	client.pipe.Abort()
	server.pipe.Abort()
	synctest.Wait()
	if h.sessionOver() {
		return
	}
	h.cutsEvery = 1 << 20
	pipes := h.line()
	for _, p := range pipes {
		p.budget.Store(0)
	}
	h.dial = &dial{client: pipes[0], server: pipes[1], seen: client.Seen()}
	h.accept(false)
	if d := h.dial; !h.sessionOver() {
		h.resumed(client, client.resume(d.client, d.seen, d.told))
	}
	h.dial = nil
}
