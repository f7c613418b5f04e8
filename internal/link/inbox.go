package link

import (
	"context"
	"sort"
	"sync"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// An Incoming is a message or a call from the peer on its way to the handler.
type Incoming struct {
	Kind    wire.Kind
	N       uint64        // its number
	Message *wire.Message // nil: the contract has no such message, or it is a call
	Name    string        // of the message, or of the method
	// Body is the message's attributes, checked, or a call's arguments.
	Body []byte
	// Size is the frame's length on the wire, in bytes.
	Size    int
	Timeout time.Duration
	Arrived time.Time
	// Fault says why it must not be handled.
	Fault *bus.Error

	from, to int // of Body, in the inbox's bytes

	// Of a request or a call; guarded by the stream's mu.
	withdraw context.CancelCauseFunc // nil: it is not handled yet
	canceled bool
	answered bool
}

// asks tells whether the peer waits for an answer.
func (in *Incoming) asks() bool { return in.Kind == wire.Request || in.Kind == wire.Call }

// inbox holds what waits for the deliverer: all but calls. Its bytes are bounded by the
// credit that this end granted. It is guarded by the stream's mu.
type inbox struct {
	waiting *batch // nil while nothing waits
	taken   *batch // that the deliverer took; nil: none
	at      int    // the next of its frames
	shared  bool   // somebody beside the deliverer reads it

	delivering bool
	running    int // handlers that run beside the deliverer
	closed     bool
	failures   []*bus.Error // one-way messages of ours that the peer could not take, to be reported
	reporting  bool
	limit      *time.Timer
}

// A batch is what the deliverer takes at once.
type batch struct {
	frames []Incoming
	bytes  []byte // that their bodies are in
}

// batches are shared, so that an idle stream holds none. Measured: a batch of its
// own for each time was two thirds of what a link allocates.
var batches = sync.Pool{New: func() any { return new(batch) }}

// What is kept of a batch for another.
const (
	maxKept       = 256 << 10
	maxKeptFrames = 1 << 10
)

// empty tells whether nothing waits.
func (q *inbox) empty() bool { return q.waiting == nil && q.taken == nil }

// idle tells whether nothing waits and nothing is handled.
func (q *inbox) idle() bool { return q.empty() && !q.delivering && q.running == 0 }

// memory returns how many bytes it takes.
func (q *inbox) memory() (n int) {
	for _, b := range [2]*batch{q.waiting, q.taken} {
		if b != nil {
			n += cap(b.bytes) + cap(b.frames)*incomingSize
		}
	}
	return n
}

// incomingSize is about what an Incoming takes, in bytes.
const incomingSize = 160

// push copies a frame: its bytes belong to the reader.
func (q *inbox) push(f *wire.Frame) {
	if q.closed {
		return
	}
	if q.waiting == nil {
		q.waiting = batches.Get().(*batch) // the pool holds nothing else
	}
	b := q.waiting
	in := Incoming{
		Kind: f.Kind, N: f.N, Message: f.Message,
		Size: f.Size, Timeout: f.Timeout, Fault: f.Fault, from: len(b.bytes),
	}
	if f.Message != nil {
		in.Name = f.Message.Name()
	} else {
		in.Name = string(f.Name)
	}
	if in.Fault == nil {
		b.bytes = append(b.bytes, f.Body...)
	}
	in.to = len(b.bytes)
	if in.asks() {
		in.Arrived = time.Now() // its time runs while it waits
	}
	b.frames = append(b.frames, in)
}

// next returns the oldest frame that waits, or nil; it waits on until at is moved.
// Once all of a batch has been handled, its memory is used again, unless somebody
// reads it still.
func (q *inbox) next() *Incoming {
	if q.taken != nil && q.at == len(q.taken.frames) {
		if b := q.taken; !q.shared && cap(b.bytes) <= maxKept && cap(b.frames) <= maxKeptFrames {
			clear(b.frames)
			b.frames, b.bytes = b.frames[:0], b.bytes[:0]
			batches.Put(b)
		}
		q.taken = nil
	}
	if q.taken == nil {
		if q.waiting == nil {
			return nil
		}
		q.taken, q.waiting, q.at, q.shared = q.waiting, nil, 0, false
	}
	in := &q.taken.frames[q.at]
	in.Body = q.taken.bytes[in.from:in.to:in.to]
	return in
}

// cancel marks a request that still waits, here or with the deliverer.
func (q *inbox) cancel(n uint64) {
	for _, b := range [2]*batch{q.taken, q.waiting} {
		if b == nil {
			continue
		}
		frames := b.frames
		// By their numbers, which rise.
		i := sort.Search(len(frames), func(i int) bool { return frames[i].N >= n })
		if i < len(frames) && frames[i].N == n {
			frames[i].canceled = true
		}
	}
}

// clear throws away what waits, now and later.
func (q *inbox) clear() {
	q.closed, q.waiting, q.taken = true, nil, nil
}

// fail takes the peer's word that a one-way message failed. It is reported also
// when what else has arrived must wait, or is thrown away: it is why the link ends.
func (q *inbox) fail(why *bus.Error) {
	if len(q.failures) < maxFailures {
		q.failures = append(q.failures, why)
	}
}

// reports tells whether a failure is still to be reported.
func (q *inbox) reports() bool { return len(q.failures) > 0 || q.reporting }

// maxFailures bounds the failures that wait to be reported: they consume no
// credit. Those beyond it are not reported.
const maxFailures = 64
