package proxy

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A flow is one direction of a connection: what is held, and what is to happen
// to it. It has no goroutine and no socket: pump.go moves the bytes.
type flow struct {
	// Fixed at creation.
	direction Direction
	wake      chan struct{} // holds one when something changed for who writes
	room      chan struct{} // the same for who reads

	mu sync.Mutex
	// Guarded by mu.
	rand    *rand.Rand
	line    Line
	stalled bool
	told    bool      // that this stall withheld something
	queue   []segment // in order
	held    int       // bytes in queue
	source  source    // what the sender did
	gone    bool      // nobody reads from the sender any more
	endDue  time.Time // when its end may be passed on
	free    time.Time // when the line may carry the next piece
	last    time.Time // when the last that came is due
	waited  bool      // the next piece had to
	closed  bool      // nothing is delivered any more: the rest is discarded
	plan    []planned // by offset
	count   Count
}

// A segment is what one read gave.
type segment struct {
	data []byte
	due  time.Time
}

// source is the state of a flow's sender.
type source uint8

const (
	open  source = iota
	ended        // it sent a FIN
	reset        // it sent a RST, or is gone without one
)

// planned is a fault at an offset.
type planned struct {
	at  int64
	end End // 0: the byte is corrupted
}

// A step is what is to be done next for a flow.
type step struct {
	verb verb
	data []byte        // to write
	wait time.Duration // less than 0: until something changes
	end  End           // of a cut
	// events happened with it. They carry no connection yet.
	events []Event
}

type verb uint8

const (
	wait   verb = iota // and ask again
	write              // data
	cut                // the connection, by end
	finish             // the stream, and be done
	abort              // reset the connection, and be done
	done               // nothing will come any more
)

func newFlow(d Direction, line Line, stalled bool, r *rand.Rand) *flow {
	return &flow{
		direction: d, line: line, stalled: stalled, rand: r,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// change changes the flow under its lock and tells who waits.
func (f *flow) change(how func()) {
	f.mu.Lock()
	how()
	f.mu.Unlock()
	signal(f.wake)
	signal(f.room)
}

// signal leaves word for one who waits, or will.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// push takes what came from the sender.
func (f *flow) push(data []byte, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.Read += int64(len(data))
	if f.closed {
		f.count.Discarded += int64(len(data))
		return
	}
	f.queue = append(f.queue, segment{slices.Clone(data), f.dueLocked(now)})
	f.held += len(data)
	signal(f.wake)
}

// dueLocked says when what came now may be passed on.
func (f *flow) dueLocked(now time.Time) time.Time {
	due := now.Add(f.line.Latency)
	if f.line.Jitter > 0 {
		due = due.Add(time.Duration(f.rand.Int64N(2*int64(f.line.Jitter)+1)) - f.line.Jitter)
	}
	if due.Before(f.last) {
		due = f.last // order is kept
	}
	f.last = due
	return due
}

// sourceIs takes note of how the sender ended; nothing more is pushed. It
// reports whether that is passed on: not if the receiver has been told of an
// end before.
func (f *flow) sourceIs(s source, now time.Time) (passed bool) {
	f.change(func() {
		f.gone, passed = true, !f.closed
		if f.source = max(f.source, s); passed {
			f.endDue = f.dueLocked(now)
		}
	})
	return passed
}

// receiverGone is told that the sender, in its role as the other direction's
// receiver, takes nothing any more. If somebody still reads from it, that one
// finds out by itself. It reports whether there is no way left to tell the
// other end in order.
func (f *flow) receiverGone() (untold bool) {
	f.change(func() {
		if f.gone {
			f.source, untold = reset, f.closed
		}
	})
	return untold
}

// vacancy is how many bytes may be pushed now.
func (f *flow) vacancy() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.line.window()
	}
	return f.line.window() - f.held
}

// next decides. Of what it hands out to write it takes for granted that it is
// written.
func (f *flow) next(now time.Time) step {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.plan) > 0 && f.plan[0].end != 0 && f.plan[0].at == f.count.Delivered {
		return step{verb: cut, end: f.plan[0].end}
	}
	switch {
	case f.closed:
		return step{verb: done}
	case f.stalled:
		return step{verb: wait, wait: -1, events: f.withholdLocked()}
	case len(f.queue) > 0:
		return f.carryLocked(now)
	case f.source == open:
		return step{verb: wait, wait: -1}
	case f.endDue.After(now):
		return step{verb: wait, wait: f.endDue.Sub(now)}
	}
	f.closed = true
	if f.source == reset {
		return step{verb: abort}
	}
	return step{verb: finish}
}

// withholdLocked says, once, that a stall has held something back.
func (f *flow) withholdLocked() []Event {
	if f.told || f.held == 0 && f.source == open {
		return nil
	}
	f.told = true
	return []Event{{Kind: WasStalled, Offset: f.count.Delivered}}
}

// carryLocked sends the next piece, or says when it may go.
func (f *flow) carryLocked(now time.Time) step {
	head := &f.queue[0]
	at := head.due
	if f.free.After(at) {
		at = f.free
	}
	if delay := at.Sub(now); delay > 0 {
		f.waited = true
		return step{verb: wait, wait: delay}
	}
	n := f.line.most(len(head.data))
	if f.line.Slice > 0 {
		n = min(n, 1+f.rand.IntN(f.line.Slice))
	}
	events := f.corruptLocked(head.data[:n])
	if len(f.plan) > 0 {
		n = int(min(int64(n), f.plan[0].at-f.count.Delivered)) // a cut, or what is corrupted later
	}
	piece := head.data[:n]
	if head.data = head.data[n:]; len(head.data) == 0 {
		f.queue = f.queue[1:]
	}
	f.held -= n
	f.free = now.Add(f.line.occupied(n))
	f.count.Delivered += int64(n)
	f.count.Pieces++
	if f.waited {
		f.count.Delayed++
		f.waited = false
	}
	signal(f.room)
	return step{verb: write, data: piece, events: events}
}

// corruptLocked flips a bit of each byte of the piece whose turn it is, up to
// the next cut.
func (f *flow) corruptLocked(piece []byte) []Event {
	var events []Event
	for len(f.plan) > 0 && f.plan[0].end == 0 {
		at := f.plan[0].at
		i := at - f.count.Delivered
		if i >= int64(len(piece)) {
			break
		}
		piece[i] ^= 1 << f.rand.IntN(8)
		events = append(events, Event{Kind: WasCorrupted, Offset: at})
		f.plan = f.plan[1:]
	}
	return events
}

// schedule puts a fault n bytes from here. At one offset a cut comes before
// the byte is corrupted, which then never comes; and a byte is corrupted once.
func (f *flow) schedule(n int64, end End) {
	f.change(func() {
		p := planned{at: f.count.Delivered + max(0, n), end: end}
		if f.closed || slices.Contains(f.plan, p) {
			return
		}
		i := len(f.plan)
		for i > 0 && (f.plan[i-1].at > p.at || f.plan[i-1].at == p.at && p.end != 0 && f.plan[i-1].end == 0) {
			i--
		}
		f.plan = slices.Insert(f.plan, i, p)
	})
}

// calm takes back what has not happened; what is held may go at once.
func (f *flow) calm() {
	f.change(func() {
		f.line, f.stalled, f.told, f.plan = Line{}, false, false, nil
		f.free, f.last, f.endDue = time.Time{}, time.Time{}, time.Time{}
		for i := range f.queue {
			f.queue[i].due = time.Time{}
		}
	})
}

// close discards what is held and what will come. It reports whether the flow
// was open.
func (f *flow) close() (was bool) {
	f.change(func() {
		was = !f.closed
		f.closed, f.plan = true, nil
		f.count.Discarded += int64(f.held)
		f.queue, f.held = nil, 0
	})
	return was
}

// unwritten takes back n bytes that next handed out.
func (f *flow) unwritten(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.Delivered -= int64(n)
	f.count.Discarded += int64(n)
}

// stats returns the count.
func (f *flow) stats() Count {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}
