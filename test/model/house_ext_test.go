package model_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/schema"
)

// A house is one life of a server: a restart makes another.
type house struct {
	h    *history
	name string // the node's, and which life
	srv  *bustest.Server
	svc  *msgbus.Service

	// Guarded by the ledger's mu.
	killed   bool // its lines were cut, and nobody comes any more
	stopping bool // it waits for nobody any more
	dropped  int  // messages of class volatile that found no room, and that nobody has asked for yet
	rolls    map[bus.Identity]*roll
}

// open makes the service, and a server that listens.
func (e *house) open() {
	h := e.h
	e.svc = &msgbus.Service{
		Schema: contract, Window: h.window, Credit: h.credit, KeepOnError: h.keepOnError,
		OnConnect: e.onConnect, OnDrop: e.onDrop, OnGone: e.onGone,
	}
	if h.olderWins {
		e.svc.Duplicate = msgbus.OlderWins
	}
	handleAt[Note](e)
	handleAt[Kept](e).KeepOnError()
	handleAt[Wide](e).AtOnce(wideAtOnce)
	handleAt[State](e)
	handleAt[Blink](e)
	handleAt[Ask](e)
	handleAt[Answer](e)
	e.srv = bustest.NewServer(h.t, msgbus.Config{Node: e.name[:1], MaxSessionMemory: h.memory}, e.svc)
}

func handleAt[M message](e *house) *msgbus.Handler {
	return msgbus.Handle(e.svc, func(ctx context.Context, c *msgbus.Conn, m M) error { return e.handle(ctx, c, Note(m)) })
}

// onConnect accepts most.
func (e *house) onConnect(ctx context.Context, c *msgbus.Conn) (err error) {
	v := e.asks(c)
	err = errors.New("OnConnect panics")
	defer func() { e.decided(c, v, err) }()
	mood := e.h.mood()
	time.Sleep(mood.takes)
	if mood.sends {
		(&host{e, c, v.session}).post(ctx, letter{kind: note}, false)
	}
	switch {
	case mood.panics:
		panic("as it was meant to be")
	case mood.refuses:
		err = bus.Errorf(bus.CodeUnavailable, "not now")
	default:
		err = nil
	}
	if err == nil {
		e.svc.Group(groupOf(c.Identity())).Add(c)
	}
	return err
}

// groupOf is the group that an identity belongs to.
func groupOf(id bus.Identity) string { return fmt.Sprint("group ", len(id)%2) }

// asks enters that a connection wants to be accepted.
func (e *house) asks(c *msgbus.Conn) *visit {
	b := e.h.ledger
	b.mu.Lock()
	defer b.mu.Unlock()
	r := e.rollLocked(c.Identity())
	number, _ := c.Args()["dial"].(int64)
	v := &visit{trid: c.TRID(), dial: e.h.dials[number]}
	known, _ := c.State().(*session)
	switch {
	case c.Resumed() != (known != nil):
		b.breachLocked("%s at %s: resumed %t, state %v", c.Identity(), e.name, c.Resumed(), known)
		fallthrough
	case known == nil:
		known = &session{house: e, identity: c.Identity(), n: len(r.sessions) + 1}
		c.SetState(known)
		r.sessions = append(r.sessions, known)
	case known.gone > 0:
		b.breachLocked("%v is resumed after OnGone", known)
	}
	v.session, v.dial.visits = known, true
	b.noteLocked("%v: OnConnect of %v, resumed %t", known, v.dial, c.Resumed())
	e.mayBeginLocked(r, v, c.Resumed())
	r.visits = append(r.visits, v)
	return v
}

// decided enters what OnConnect has said.
func (e *house) decided(c *msgbus.Conn, v *visit, err error) {
	b := e.h.ledger
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		v.stage = refused
	} else {
		s := v.session
		v.stage = welcome
		if s.conn = c; !s.accepted {
			s.accepted, s.since = true, time.Now()
		}
	}
	b.noteLocked("%v: OnConnect of %v returns %v", v.session, v.dial, err)
}

// onDrop must come once for each that was accepted.
func (e *house) onDrop(_ context.Context, c *msgbus.Conn, why error) {
	e.drops(c, why)
	if e.pretends(droppedTwice) {
		e.drops(c, why)
	}
}

// pretends is for the canaries.
func (e *house) pretends(c canary) bool {
	e.h.ledger.mu.Lock()
	defer e.h.ledger.mu.Unlock()
	return e.h.ledger.pretendsLocked(c)
}

func (e *house) drops(c *msgbus.Conn, why error) {
	if e.pretends(goneBeforeDrop) {
		e.goes(c.Identity(), why)
	}
	b := e.h.ledger
	b.mu.Lock()
	var v *visit
	for _, o := range e.rollLocked(c.Identity()).visits {
		if o.trid == c.TRID() {
			v = o
		}
	}
	switch {
	case v == nil || v.stage != welcome:
		b.breachLocked("OnDrop of %s at %s, which was not accepted, or has been dropped", c.Identity(), e.name)
	case v.session.gone > 0:
		b.breachLocked("OnDrop of %v after OnGone of %v", v.dial, v.session)
	case !errors.Is(why, bus.ErrDropped):
		b.breachLocked("OnDrop of %v: why is %v", v.dial, why)
	}
	if v != nil {
		v.stage = leaving
		b.noteLocked("%v: OnDrop of %v: %v", v.session, v.dial, why)
	}
	b.mu.Unlock()
	time.Sleep(e.h.mood().drops)
	b.mu.Lock()
	defer b.mu.Unlock()
	if v != nil {
		v.stage = left
		b.noteLocked("%v: OnDrop of %v returns", v.session, v.dial)
	}
}

// onGone must come once for each session, after its last OnDrop.
func (e *house) onGone(_ context.Context, id bus.Identity, why error) {
	if e.pretends(neverGone) {
		return
	}
	e.goes(id, why)
	if e.pretends(goneTwice) {
		e.goes(id, why)
	}
}

func (e *house) goes(id bus.Identity, why error) {
	b := e.h.ledger
	b.mu.Lock()
	defer b.mu.Unlock()
	s := e.rollLocked(id).overLocked()
	if s == nil {
		b.breachLocked("OnGone of %s at %s, which has no session that is over: %v", id, e.name, why)
		return
	}
	s.gone++
	s.goneAt, s.why = time.Now(), why
	b.noteLocked("%v: OnGone: %v", s, why)
	if !errors.Is(why, bus.ErrDropped) {
		b.breachLocked("OnGone of %v: why is %v", s, why)
	}
	if s.running+s.beside > 0 {
		b.breachLocked("OnGone of %v while %d handlers run", s, s.running+s.beside)
	}
}

// handle is the handler of everything.
func (e *house) handle(ctx context.Context, c *msgbus.Conn, m Note) error {
	if m.ID == 0 { // of no letter: see reach
		return nil
	}
	b := e.h.ledger
	l := b.find(m.ID)
	s, _ := c.State().(*session)
	if l == nil || s == nil {
		return bus.Errorf(bus.CodeInternal, "the ledger does not know this")
	}
	b.mu.Lock()
	r := b.enterLocked(l, s)
	running, most := &s.running, 1
	if l.kind == wide {
		running, most = &s.beside, wideAtOnce
	}
	if *running++; *running > most {
		b.breachLocked("%d handlers of %v run at a time", *running, s)
	}
	if s.gone > 0 || !s.accepted {
		b.breachLocked("%v is handled at %v: accepted %t, gone %d", l, s, s.accepted, s.gone)
	}
	b.mu.Unlock()
	defer func() {
		b.leave(r)
		b.mu.Lock()
		defer b.mu.Unlock()
		*running--
	}()
	return act(ctx, l, &host{e, c, s})
}

// A host is a house's end of a session.
type host struct {
	house   *house
	conn    *msgbus.Conn
	session *session
}

func (p *host) reply(ctx context.Context, m schema.Message) error { return p.conn.Reply(ctx, m) }

func (p *host) post(ctx context.Context, l letter, order bool) {
	if order {
		b := p.house.h.ledger
		b.mu.Lock()
		l.from = p.house.rollLocked(p.session.identity).handlers
		b.mu.Unlock()
	}
	p.send(ctx, l)
}

// send sends a letter on the connection.
func (p *host) send(ctx context.Context, letter letter) {
	letter.house, letter.in, letter.to = p.house, p.session, p.session.identity
	b := p.house.h.ledger
	l := b.write(letter)
	var err error
	switch {
	case l.kind == ask && l.deed == replies:
		var a Answer
		if a, err = msgbus.Request[Answer](ctx, p.conn, l.message()); err == nil && !b.answersTo(l, a) {
			b.breach("%v is answered with %d", l, a.ID)
		}
	case l.kind == ask:
		err = p.conn.SendHandled(ctx, l.message())
	case l.acked:
		err = p.conn.SendAcked(ctx, l.message())
	default:
		err = p.conn.Send(ctx, l.message())
	}
	b.sent(l, err)
}

// sendTo sends a letter to whoever has the identity.
func (e *house) sendTo(ctx context.Context, l letter, id bus.Identity) {
	l.house, l.to = e, id
	sent := e.h.ledger.write(l)
	e.h.ledger.sent(sent, e.svc.SendTo(ctx, id, sent.message()))
}

// broadcast sends a letter to all, or to a group.
func (e *house) broadcast(ctx context.Context, l letter, group string) {
	l.house, l.key = e, group
	sent := e.h.ledger.write(l)
	if group == "" {
		e.h.ledger.sent(sent, e.svc.Broadcast(ctx, sent.message()))
	} else {
		e.h.ledger.sent(sent, e.svc.Group(group).Broadcast(ctx, sent.message()))
	}
}
