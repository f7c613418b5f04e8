package model_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"busd/bus"
	"busd/msgclient"
	"busd/schema"
)

// An agent is a client.
type agent struct {
	h        *history
	name     string
	identity bus.Identity
	c        *msgclient.Client
	args     map[string]any // Config.Args
	desks    []*desk
	handlers *desk // what its handlers send
	stop     context.CancelFunc
	over     chan struct{} // closed once Run has returned

	// Guarded by the ledger's mu.
	epochs   []epoch
	open     bool      // OnConnect was last, not OnDrop
	mayMove  bool      // since the last OnConnect
	moving   int       // calls of Reconnect
	lastEnd  time.Time // of the last OnDrop
	dialed   time.Time // last
	lostTold bool      // OnError was told of a lost session since the last OnConnect
	running  int
	final    error // what Run returned
	isOver   bool
	closing  time.Time // when Close was first called
	closed   error     // what it returned
	isClosed bool
}

// String names an agent.
func (a *agent) String() string { return a.name }

// An epoch begins when a client's session is not resumed: what was written before,
// and the service may not have, is reported as lost.
type epoch struct {
	at     time.Time
	dialed time.Time // the connection that it began with
	ended  time.Time // the last connection before
	reason string
	lost   int
}

// A dial is an attempt to connect.
type dial struct {
	n     int64
	agent *agent
	began time.Time
	move  bool // from a connection that may be there still
	house *house
	// Guarded by the ledger's mu.
	line   *line
	visits bool // it has come to OnConnect
}

// String names a dial.
func (d *dial) String() string { return fmt.Sprintf("dial %d of %s", d.n, d.agent.name) }

// newAgent makes a client of a certificate and an instance, and lets it run.
func newAgent(h *history, peer, instance string) *agent {
	a := &agent{h: h, args: map[string]any{}, over: make(chan struct{})}
	a.identity = bus.Identity("dns:" + peer + "/" + instance)
	a.name = fmt.Sprintf("agent %d (%s)", len(h.agents)+1, a.identity)
	conf := h.credentials[peer].Clone()
	if h.chance(2) {
		conf.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	}
	c, err := msgclient.New(msgclient.Config{
		URL: h.urls[0], URLs: h.urls[1:], TLS: conf, Instance: instance, Args: a.args, Credit: h.credit,
		DialContext: a.dial, OnConnect: a.onConnect, OnDrop: a.onDrop, OnError: a.onError,
		KeepOnError: h.keepOnError, RetrySuperseded: h.chance(3),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	a.c = c
	onAt[Note](a)
	onAt[Kept](a)
	onAt[Wide](a)
	onAt[State](a)
	onAt[Blink](a)
	onAt[Ask](a)
	onAt[Answer](a)
	for i := range desksOfAgent {
		a.desks = append(a.desks, h.newDesk(fmt.Sprintf("%s, desk %d", a.name, i+1)))
	}
	a.handlers = &desk{name: a.name + "'s handlers"}
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	go func() {
		defer close(a.over)
		err := c.Run(ctx)
		h.ledger.mu.Lock()
		defer h.ledger.mu.Unlock()
		a.final, a.isOver = err, true
		h.ledger.noteLocked("%s: Run returns %v", a.name, err)
	}()
	return a
}

const desksOfAgent = 2

func onAt[M message](a *agent) {
	msgclient.On(a.c, func(ctx context.Context, _ *msgclient.Client, m M) error { return a.handle(ctx, Note(m)) })
}

// dial is the client's DialContext. It gives the hello to come the dial's number.
func (a *agent) dial(ctx context.Context, network, address string) (net.Conn, error) {
	b := a.h.ledger
	b.mu.Lock()
	d := &dial{n: int64(len(a.h.dials)), agent: a, began: time.Now(), move: a.moving > 0 || a.mayMove}
	d.house = a.h.houses[address[:1]]
	a.h.dials, a.dialed = append(a.h.dials, d), d.began
	a.args["dial"] = d.n // a client makes one attempt after the other: nobody reads it meanwhile
	b.noteLocked("%v", d)
	b.mu.Unlock()
	if d.house == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	below, err := d.house.srv.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := newLine(below)
	a.h.weather(l)
	b.mu.Lock()
	defer b.mu.Unlock()
	d.line = l
	return l, nil
}

// onConnect must come once for each welcome.
func (a *agent) onConnect(ctx context.Context, _ *msgclient.Client) {
	r := a.c.Resumption()
	b := a.h.ledger
	b.mu.Lock()
	b.noteLocked("%s: OnConnect, %+v", a.name, r)
	switch {
	case a.open && !a.mayMove:
		b.breachLocked("%s: OnConnect without OnDrop of the last connection", a.name)
	case r.Lost > 0 && !a.lostTold:
		b.breachLocked("%s: OnConnect before OnError told that %d messages are lost", a.name, r.Lost)
	case r.Resumed && len(a.epochs) == 0:
		b.breachLocked("%s: the first connection is resumed", a.name)
	}
	if !r.Resumed {
		e := epoch{at: time.Now(), dialed: a.dialed, ended: a.lastEnd, reason: r.Reason, lost: r.Lost}
		if a.open {
			e.ended = e.at
		}
		a.epochs = append(a.epochs, e)
	}
	a.open, a.mayMove, a.lostTold = true, a.moving > 0 || a.h.draining > 0, false
	b.mu.Unlock()
	switch a.h.dice(12) {
	case 0:
		a.post(ctx, letter{kind: note}, false)
	case 1:
		a.post(ctx, letter{kind: ask, deed: replies}, false)
	}
}

// onDrop must come once for each connection that ended, unless it was moved from.
func (a *agent) onDrop(_ context.Context, _ *msgclient.Client, why error) {
	b := a.h.ledger
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noteLocked("%s: OnDrop: %v", a.name, why)
	switch {
	case !a.open:
		b.breachLocked("%s: OnDrop without OnConnect", a.name)
	case !errors.Is(why, bus.ErrDropped):
		b.breachLocked("%s: OnDrop: why is %v", a.name, why)
	}
	a.open, a.lastEnd = b.pretendsLocked(silentClient), time.Now()
}

func (a *agent) onError(_ *msgclient.Client, err error) {
	b := a.h.ledger
	b.failed(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noteLocked("%s: OnError: %v", a.name, err)
	if bus.CodeOf(err) == bus.CodeSessionLost {
		a.lostTold = true
	}
}

// handle is the handler of everything.
func (a *agent) handle(ctx context.Context, m Note) error {
	if m.ID == 0 { // of no letter: see reach
		return nil
	}
	b := a.h.ledger
	l := b.find(m.ID)
	if l == nil {
		return bus.Errorf(bus.CodeInternal, "the ledger does not know this")
	}
	b.mu.Lock()
	r := b.enterLocked(l, a)
	if a.running++; a.running > 1 {
		b.breachLocked("%d handlers of %s run at a time", a.running, a.name)
	}
	if l.to != "" && l.to != a.identity {
		b.breachLocked("%v is handled at %s", l, a.name)
	}
	b.mu.Unlock()
	defer func() {
		b.leave(r)
		b.mu.Lock()
		defer b.mu.Unlock()
		a.running--
	}()
	return act(ctx, l, a)
}

func (a *agent) reply(ctx context.Context, m schema.Message) error { return a.c.Reply(ctx, m) }

func (a *agent) post(ctx context.Context, l letter, order bool) {
	if order {
		l.from = a.handlers
	}
	a.send(ctx, l)
}

// send sends a letter.
func (a *agent) send(ctx context.Context, letter letter) {
	letter.agent = a
	b := a.h.ledger
	l := b.write(letter)
	var err error
	switch {
	case l.kind == ask && l.deed == replies:
		var answer Answer
		if answer, err = msgclient.Request[Answer](ctx, a.c, l.message()); err == nil && !b.answersTo(l, answer) {
			b.breach("%v is answered with %d", l, answer.ID)
		}
	case l.kind == ask:
		err = a.c.SendHandled(ctx, l.message())
	case l.acked:
		err = a.c.SendAcked(ctx, l.message())
	default:
		err = a.c.Send(ctx, l.message())
	}
	b.sent(l, err)
}

// answersTo tells whether a reply is that of a letter.
func (b *ledger) answersTo(l *letter, a Answer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return a.ID == l.id && !b.pretendsLocked(wrongAnswer)
}

// reconnect moves the client.
func (a *agent) reconnect(ctx context.Context) {
	b := a.h.ledger
	b.mu.Lock()
	a.moving++
	a.mayMove = true
	b.noteLocked("%s: Reconnect", a.name)
	b.mu.Unlock()
	err := a.c.Reconnect(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	a.moving--
	b.noteLocked("%s: Reconnect returns %v", a.name, err)
}

// close closes the client.
func (a *agent) close(ctx context.Context) {
	b := a.h.ledger
	b.mu.Lock()
	if a.closing.IsZero() {
		a.closing = time.Now()
	}
	b.noteLocked("%s: Close", a.name)
	b.mu.Unlock()
	err := a.c.Close(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	a.closed, a.isClosed = err, true
	b.noteLocked("%s: Close returns %v", a.name, err)
}
