package msgbus

import (
	"context"
	"time"

	"busd/bus"
)

// admit makes the connection its identity's, once nothing of the last one's
// stands in the way, and asks OnConnect.
func (g *greeting) admit(c *Conn, got claim) error {
	switch {
	case got.resumed:
		g.comeBack(got)
	case got.last != nil:
		g.supersede(got)
	}
	return g.onConnect(c)
}

// supersede ends the identity's last session.
func (g *greeting) supersede(got claim) {
	superseded := bus.Errorf(bus.CodeSuperseded, "the same identity connected again")
	if got.older != nil {
		got.older.link.Drop(superseded) // also one that was not welcomed yet
	}
	got.last.stream.End(superseded)
	if got.carrier != nil {
		time.AfterFunc(goodbyeWait, got.carrier.link.Abort) // does nothing to one that has ended
	}
	g.await(got.last.gone)
}

// comeBack ends the connections of a client that comes back on another one,
// though they may look alive: it has noticed before us that they are not.
func (g *greeting) comeBack(got claim) {
	var gone []<-chan struct{}
	if got.older != nil && got.older != got.carrier { // overtaken before its welcome
		got.older.link.Drop(cameBack())
		gone = append(gone, got.older.gone)
	}
	if !got.move { // else it carries the session meanwhile
		got.carrier.link.Drop(cameBack())
		got.carrier.link.Abort() // its goodbye would wait for somebody who has gone
		// Its handlers may wait for what only comes on the new connection.
		got.carrier.link.Pass()
		gone = append(gone, got.carrier.gone)
	}
	g.await(gone...)
}

// await waits for the callbacks of those who were there before.
func (g *greeting) await(gone ...<-chan struct{}) {
	timer := time.NewTimer(supersedeWait)
	defer timer.Stop()
	for _, each := range gone {
		select {
		case <-each:
		case <-timer.C:
			return
		case <-g.server.patience.Done():
			return
		}
	}
}

// onConnect runs the service's callback within its time. One that does not
// return is left behind: it must not hold the connection.
func (g *greeting) onConnect(c *Conn) error {
	if cause := c.link.Cause(); cause != nil {
		return cause // superseded while it waited
	}
	if g.service.OnConnect == nil {
		g.server.registry.accepts(c)
		return nil
	}
	ctx, cancel := context.WithTimeout(g.server.patience, g.server.cfg.HelloTimeout)
	defer cancel()
	if ctx.Err() != nil {
		return g.turnAway(c, g.late(c))
	}
	defer context.AfterFunc(c.link.Context(), cancel)()
	defer context.AfterFunc(c.session.stream.Context(), cancel)()
	returned := g.server.protect(g.service, "OnConnect", func() error { return g.service.OnConnect(ctx, c) })
	select {
	case came := <-returned:
		e := bus.AsError(came.err)
		if e == nil { // also a nil *bus.Error
			g.server.registry.accepts(c)
			return nil
		}
		refusal := *e
		refusal.Remote = false // whoever told OnConnect, this service tells the client
		return g.turnAway(c, &refusal)
	case <-ctx.Done():
		g.behind = true
		err := g.turnAway(c, g.late(c))
		g.server.registry.turnedAway(c)
		go g.leftBehind(c, returned) // ends with OnConnect, whose context is over
		return err
	}
}

// leftBehind sees to the end of a connection whose OnConnect did not return in
// time. It is too late; but whom it accepts all the same it sees dropped.
func (g *greeting) leftBehind(c *Conn, returned <-chan outcome) {
	if came := <-returned; bus.AsError(came.err) == nil {
		g.server.registry.accepts(c)
		g.server.onDrop(c, c.link.Cause())
	}
	g.server.registry.over(c)
	g.server.gate.leave(g.service, g.caller.Peer.Name)
}

// late says why a connection was not accepted in time.
func (g *greeting) late(c *Conn) *bus.Error {
	if ended := c.session.stream.Cause(); ended != nil {
		return bus.Wrap(bus.CodeUnavailable, ended, "the session ended meanwhile")
	}
	if g.server.patience.Err() != nil {
		return bus.Errorf(bus.CodeGoingAway, "the server is shutting down")
	}
	return bus.Errorf(bus.CodeDeadlineExceeded, "the service did not accept the connection in time")
}

// turnAway ends the link of a connection that is not welcomed, so that OnConnect
// cannot leave anything behind on it, and returns why it ended: it may have been
// superseded first.
func (g *greeting) turnAway(c *Conn, why *bus.Error) error {
	c.link.Drop(why)
	return c.link.Cause()
}
