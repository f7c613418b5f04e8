package model_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"busd/bus"
	"busd/schema"
)

// A deed is what the handler of a letter does.
type deed uint8

const (
	nothing   deed = iota
	replies        // answers with the letter's ID
	fails          // returns an error
	panics         // as it says
	exits          // ends its goroutine
	sendsBack      // sends a letter of its own
	asksBack       // makes a request of its own
	waits          // until it is canceled
	deeds
)

// handlerTimeout bounds what handlers send and ask.
const handlerTimeout = 5 * time.Second

// A letter is a message with what the ledger knows of it.
type letter struct {
	// Fixed before it is sent.
	id    int64
	kind  kind
	acked bool // the sender waits for the ack
	deed  deed
	takes time.Duration // the handler, whatever its context says
	key   string        // of class latest
	pad   int
	from  *desk // nil: it has no place in an order
	agent *agent
	house *house       // of a service
	in    *session     // that a service sends it in; nil: it does not know
	to    bus.Identity // of a service; empty: to all, or to a group
	begun time.Time

	// Guarded by the ledger's mu.
	returned bool  // the call that sent it
	err      error // what it returned
	ended    time.Time
	runs     []*run
	told     int // how often its sender was told that it failed
}

// A run is one of a handler.
type run struct {
	at    any // the session, or the agent
	began time.Time
	over  bool
}

// A desk sends one letter after the other.
type desk struct {
	name string
	jobs chan func()
}

// A place is where the letters of a desk come in order; those of class latest have
// an order for each key.
type place struct {
	from *desk
	at   any
	key  string
}

// A ledger has a line for everything that happens. It stands outside of what is
// tested: it is told what was sent, and by handlers what came.
type ledger struct {
	traced bool
	begin  time.Time
	canary canary

	mu sync.Mutex
	// Guarded by mu.
	sung     bool // the canary
	letters  []*letter
	last     map[place]int64
	breaches []string
	story    []string
}

// note adds a line to the story of a history that is replayed.
func (b *ledger) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noteLocked(format, args...)
}

func (b *ledger) noteLocked(format string, args ...any) {
	if b.traced {
		b.story = append(b.story, fmt.Sprintf("%9.3f ", time.Since(b.begin).Seconds())+fmt.Sprintf(format, args...))
	}
}

func (b *ledger) breach(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.breachLocked(format, args...)
}

func (b *ledger) breachLocked(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	b.breaches = append(b.breaches, fmt.Sprintf("%.3f s: %s", time.Since(b.begin).Seconds(), what))
	b.noteLocked("BREACH: %s", what)
}

// write enters a letter that is about to be sent.
func (b *ledger) write(l letter) *letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.id, l.begun = int64(len(b.letters))+1, time.Now()
	b.letters = append(b.letters, &l)
	b.noteLocked("%v is sent", &l)
	return &l
}

// sent enters what the call that sent a letter returned.
func (b *ledger) sent(l *letter, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.returned, l.err, l.ended = true, err, time.Now()
	b.noteLocked("%v was sent: %v", l, err)
}

// find returns the letter of a message that came, or nil.
func (b *ledger) find(id int64) *letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id < 1 || id > int64(len(b.letters)) {
		b.breachLocked("there is no letter %d", id)
		return nil
	}
	return b.letters[id-1]
}

// enterLocked enters that a handler runs.
func (b *ledger) enterLocked(l *letter, at any) *run {
	r := &run{at: at, began: time.Now()}
	l.runs = append(l.runs, r)
	if l.runs[0] == r && b.pretendsLocked(handledTwice) {
		l.runs = append(l.runs, r)
	}
	b.noteLocked("%v is handled at %v", l, at)
	if l.from == nil || l.kind == wide {
		return r
	}
	p := place{from: l.from, at: at}
	if l.kind == state {
		p.key = l.key
	}
	if b.last[p] >= l.id || (b.last[p] > 0 && b.pretendsLocked(outOfOrder)) {
		b.breachLocked("%v is handled at %v after letter %d", l, at, b.last[p])
	}
	b.last[p] = l.id
	return r
}

func (b *ledger) leave(r *run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.over = true
}

// String names a letter.
func (l *letter) String() string {
	sender := "nobody"
	switch {
	case l.from != nil:
		sender = l.from.name
	case l.agent != nil:
		sender = l.agent.name
	case l.house != nil:
		sender = l.house.name
	}
	how := [kinds]string{"note", "kept", "wide", "state", "blink", "ask"}[l.kind]
	if l.acked {
		how += " (acked)"
	}
	done := [deeds]string{"", ", replies", ", fails", ", panics", ", exits", ", sends back", ", asks back", ", waits"}[l.deed]
	to := ""
	if l.house != nil {
		to = " to " + string(l.to)
	}
	return fmt.Sprintf("%s %d of %s%s (takes %s%s)", how, l.id, sender, to, l.takes, done)
}

// A party is what a handler acts for.
type party interface {
	// reply answers the message in hand.
	reply(ctx context.Context, m schema.Message) error
	// post sends a letter as handlers do; order is whether they do so one at a
	// time.
	post(ctx context.Context, l letter, order bool)
}

// act does what the handler of a letter is to do.
func act(ctx context.Context, l *letter, p party) error {
	time.Sleep(l.takes)
	limit, stop := context.WithTimeout(ctx, handlerTimeout)
	defer stop()
	switch l.deed {
	case replies:
		if l.kind == ask {
			return p.reply(ctx, Answer{ID: l.id})
		}
	case fails:
		return bus.Errorf(bus.CodeAborted, meantToFail, l.id)
	case panics:
		panic("as it was meant to be")
	case exits:
		runtime.Goexit()
	case sendsBack:
		p.post(limit, letter{kind: note}, l.kind != wide)
	case asksBack:
		p.post(limit, letter{kind: ask, deed: replies}, l.kind != wide)
	case waits:
		if l.kind == ask {
			<-ctx.Done()
			return ctx.Err()
		}
	}
	return nil
}

// meantToFail is the reason of a letter's failure.
const meantToFail = "letter %d was meant to fail"

// failed is told of an error that a sender was told of. That of a handler of his own
// may have the same reason, where it failed because the letter ended its session.
func (b *ledger) failed(err error) {
	e := bus.AsError(err)
	if e == nil || !e.Remote || errors.Is(err, bus.ErrDropped) {
		return
	}
	var id int64
	if n, _ := fmt.Sscanf(e.Reason, meantToFail, &id); n != 1 {
		return
	}
	if l := b.find(id); l != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		l.told++
	}
}
