package link

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// What a letter is sent as.
const (
	oneWay uint8 = iota
	parallel
	latest
	volatile
	acked
	asked
	called
	kinds
)

// What the handler of a letter does.
const (
	nothing   uint8 = iota
	fail            // returns an error
	replies         // answers with the letter's ID
	sendsBack       // sends a letter of its own
	asksBack        // makes a request of its own
	waits           // until it is canceled
	deeds
)

// A letter is what a party sends, with what the model knows of it. It is guarded
// by the party's mu, but for what does not change.
type letter struct {
	id      int64
	kind    uint8
	deed    uint8
	desk    int // whose letters are in order; -1: none
	takes   time.Duration
	key     int64 // of class latest
	padding int

	returned bool  // the call that sent it
	err      error // what it returned
	handled  int   // how often
}

const (
	desks       = 2     // of a party, each of which sends one letter after the other
	handlerDesk = desks // of what handlers send
	stateKeys   = 3
	wideAtOnce  = 3
	askTimeout  = 5 * time.Second // of a handler that asks
)

// A party is one of the two at the ends of a session: what it does, and what it
// has seen.
type party struct {
	name  string
	other *party
	e     *end
	work  sync.WaitGroup // calls that send
	jobs  [desks]chan func()
	told  atomic.Int64 // by Grew

	mu        sync.Mutex
	letters   []*letter
	order     [desks + 1]int64 // the last letter of each of the other's desks that was handled
	states    [stateKeys]int64 // and of each key
	begun     int              // handlers that ever began
	running   int              // handlers that run one at a time
	beside    int              // handlers that run beside each other
	calls     int              // those of calls
	failed    int              // one-way letters of the other's that failed here
	breaches  []string
	slowMeant bool // it sends what may end the session
	unsent    map[int64]bool

	// The driver's: after which link nothing carried the session, and how many
	// handlers had begun then.
	cutLink *Link
	cutAt   int
}

func (p *party) breach(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.breachLocked(format, args...)
}

func (p *party) breachLocked(format string, args ...any) {
	p.breaches = append(p.breaches, p.name+": "+fmt.Sprintf(format, args...))
}

// write makes a letter.
func (p *party) write(l letter) *letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.id = int64(len(p.letters)) + 1
	p.letters = append(p.letters, &l)
	return &l
}

func (p *party) frame(l *letter) []byte {
	text := strconv.FormatInt(l.id, 10) + " " + strings.Repeat("x", l.padding)
	switch l.kind {
	case parallel:
		return must(wire.AppendData(nil, msg("Wide"), wide{ID: l.id}, wire.DataOptions{}))
	case latest:
		return stateFrame(l.key, text)
	case volatile:
		return blinkFrame(l.id)
	case acked:
		return must(wire.AppendData(nil, msg("Note"), note{ID: l.id, Text: text}, wire.DataOptions{AckAtOnce: true}))
	case asked:
		return requestFrame(l.id, text)
	case called:
		return wire.AppendCall(nil, "letter", []byte(text), 0)
	}
	return dataFrame(l.id, text)
}

// send sends a letter, and notes what came of it.
func (p *party) send(ctx context.Context, l *letter, now bool) {
	frame := p.frame(l)
	var err error
	switch {
	case l.kind == acked:
		err = p.e.SendAcked(ctx, frame)
	case l.awaits():
		var answer Answer
		answer, err = p.e.Request(ctx, frame)
		if id := answered(l, answer); err == nil && l.deed == replies && id != l.id {
			p.breach("letter %d is answered with %d", l.id, id)
		}
		if l.deed == fail && bus.CodeOf(err) == bus.CodeAborted {
			err = nil // as it was meant to be
		}
	default:
		name := [...]string{oneWay: "Note", parallel: "Wide", latest: "State", volatile: "Blink"}[l.kind]
		d := wire.DeliveryOf(msg(name), frame)
		if now {
			err = p.e.Stream.SendNow(frame, d)
		} else {
			err = p.e.Stream.Send(ctx, frame, d)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.returned, l.err = true, err
}

// awaits tells whether a letter has an answer.
func (l *letter) awaits() bool { return l.kind == asked || l.kind == called }

// answered returns the ID in the answer to a letter.
func answered(l *letter, a Answer) int64 {
	if l.kind == called {
		id, _ := strconv.ParseInt(string(a.Body), 10, 64)
		return id
	}
	if a.Message == nil { // an error, or nothing but that it was handled
		return 0
	}
	m, _ := unpackNote(a.Body)
	return m.ID
}

// idOf returns the ID of the letter in a message, or in a call, which has no
// message.
func idOf(m *wire.Message, body []byte) (int64, error) {
	if m == nil {
		id, _, _ := strings.Cut(string(body), " ")
		return strconv.ParseInt(id, 10, 64)
	}
	in := Incoming{Message: m, Body: body}
	switch m.Name() {
	case "Wide":
		var w wide
		err := unpackInto(&in, &w)
		return w.ID, err
	case "Blink":
		var b blink
		err := unpackInto(&in, &b)
		return b.ID, err
	case "State":
		var s state
		if err := unpackInto(&in, &s); err != nil {
			return 0, err
		}
		id, _, _ := strings.Cut(s.Text, " ")
		return strconv.ParseInt(id, 10, 64)
	}
	n, err := unpackNote(body)
	return n.ID, err
}

// letterIn finds the other's letter in what came.
func (p *party) letterIn(in *Incoming) (*letter, error) {
	id, err := idOf(in.Message, in.Body)
	if err != nil {
		return nil, err
	}
	p.other.mu.Lock()
	defer p.other.mu.Unlock()
	if id < 1 || id > int64(len(p.other.letters)) {
		return nil, fmt.Errorf("there is no letter %d", id)
	}
	l := p.other.letters[id-1]
	if l.handled++; l.handled > 1 {
		p.other.breachLocked("letter %d is handled for the %d. time", id, l.handled)
	}
	if l.returned && l.err != nil && !l.awaits() && l.kind != acked {
		p.other.breachLocked("letter %d is handled, though it was not taken: %v", id, l.err)
	}
	return l, nil
}

// handle is the party's handler.
func (p *party) handle(ctx context.Context, e *end, in *Incoming) error {
	l, err := p.letterIn(in)
	if err != nil {
		p.breach("%v", err)
		return err
	}
	p.enter(ctx, l)
	defer p.leave(l)
	time.Sleep(l.takes)
	if !l.awaits() && ctx.Err() != nil && e.Stream.Cause() == nil {
		p.breach("the context of letter %d ended before the session", l.id)
	}
	switch l.deed {
	case fail:
		return bus.Errorf(bus.CodeAborted, "as it was meant to be")
	case replies:
		if l.awaits() {
			return p.answer(ctx, in, l)
		}
	case sendsBack:
		limit, stop := context.WithTimeout(ctx, askTimeout)
		defer stop()
		p.send(limit, p.write(letter{kind: oneWay, desk: p.deskOf(l)}), false)
	case asksBack:
		limit, stop := context.WithTimeout(ctx, askTimeout)
		defer stop()
		p.send(limit, p.write(letter{kind: asked, deed: replies, desk: -1}), false)
	case waits:
		if l.awaits() {
			<-ctx.Done()
		}
	}
	return nil
}

// deskOf is where a handler sends from: those that run beside each other have no
// order.
func (p *party) deskOf(l *letter) int {
	if l.kind == parallel || l.kind == called {
		return -1
	}
	return handlerDesk
}

func (p *party) answer(ctx context.Context, in *Incoming, l *letter) error {
	frame := must(wire.AppendAnswer(nil, in.N, msg("Note"), note{ID: l.id}))
	if l.kind == called {
		frame = wire.AppendResult(nil, in.N, strconv.AppendInt(nil, l.id, 10))
	}
	err := p.e.Reply(ctx, in.N, frame)
	if err != nil && ctx.Err() == nil && !errors.Is(err, bus.ErrDropped) {
		p.breach("the reply to letter %d: %v", l.id, err)
	}
	return err
}

// enter checks order, and that no more run than may.
func (p *party) enter(ctx context.Context, l *letter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun++
	switch l.kind {
	case parallel:
		if p.beside++; p.beside > wideAtOnce {
			p.breachLocked("%d handlers run beside each other, want at most %d", p.beside, wideAtOnce)
		}
	case called:
		if p.calls++; p.calls > CallsAtOnce {
			p.breachLocked("%d calls run at a time, want at most %d", p.calls, CallsAtOnce)
		}
	default:
		if p.running++; p.running > 1 {
			p.breachLocked("letter %d begins while another is handled", l.id)
		}
	}
	last := &p.order[max(l.desk, 0)]
	if l.kind == latest {
		last = &p.states[l.key]
	}
	if l.kind == latest || (l.desk >= 0 && l.kind != parallel) {
		if *last > l.id {
			p.breachLocked("letter %d is handled after letter %d", l.id, *last)
		}
		*last = l.id
	}
	if l.deed == fail && !l.awaits() && ctx.Err() == nil {
		p.failed++
	}
}

func (p *party) leave(l *letter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch l.kind {
	case parallel:
		p.beside--
	case called:
		p.calls--
	default:
		p.running--
	}
}

// handlers is what its links call.
func (p *party) handlers() *handlers {
	return &handlers{handle: p.handle, atOnce: wideAtOnce}
}
