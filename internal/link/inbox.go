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
	Kind wire.Kind
	// Follows tells that it is handled right after the one before it was, which was
	// a one-way message.
	Follows bool
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
	first  *batch // nil while nothing waits
	at     int    // the next of its frames; while there is a run, that one's first
	shared bool   // somebody beside the deliverer reads it
	last   *batch // that takes what comes
	held   int    // bytes of all of them

	delivering bool
	running    int // handlers that run beside the deliverer
	closed     bool
	failures   []*bus.Error // one-way messages of ours that the peer could not take, to be reported
	reporting  bool
	limit      *time.Timer
}

// A batch is a part of an inbox. It never grows: what comes moves nothing that waits,
// and goes behind what is handled meanwhile.
type batch struct {
	frames []Incoming
	bytes  []byte // that their bodies are in
	class  int
	next   *batch
}

// Batches have sizes, each four times the one before: an inbox begins with the first,
// as what waits is mostly alone. What is larger than is shared has one to itself, which
// is not used again.
const (
	firstFrames  = 4
	firstBytes   = 256 // as much for each frame as it costs in credit at least
	batchClasses = 4
	// largestShared is how large a body may be that shares a batch.
	largestShared = 8 << 10
)

// batches are shared, so that an idle stream holds none. Measured: a batch of its
// own for each time was two thirds of what a link allocates.
var batches [batchClasses]sync.Pool

// newBatch returns an empty batch of a class, or a larger one if a body of size bytes
// has no room there.
func newBatch(class, size int) *batch {
	for class < batchClasses && size > firstBytes<<(2*class) {
		class++
	}
	if size > largestShared {
		class = batchClasses
	}
	if class == batchClasses {
		return &batch{class: class, frames: make([]Incoming, 0, 1), bytes: make([]byte, 0, size)}
	}
	if b, ok := batches[class].Get().(*batch); ok {
		return b
	}
	return &batch{
		class:  class,
		frames: make([]Incoming, 0, firstFrames<<(2*class)),
		bytes:  make([]byte, 0, firstBytes<<(2*class)),
	}
}

// free gives back a batch that nobody reads any more.
func (b *batch) free() {
	if b.class == batchClasses {
		return
	}
	clear(b.frames)
	b.frames, b.bytes, b.next = b.frames[:0], b.bytes[:0], nil
	batches[b.class].Put(b)
}

// takes tells whether there is room for a frame with a body of size bytes.
func (b *batch) takes(size int) bool {
	return len(b.frames) < cap(b.frames) && size <= cap(b.bytes)-len(b.bytes)
}

func (b *batch) memory() int { return cap(b.bytes) + cap(b.frames)*incomingSize }

// empty tells whether nothing waits.
func (q *inbox) empty() bool { return q.first == nil }

// several tells whether more than one waits.
func (q *inbox) several() bool {
	return q.first != nil && (q.first.next != nil || len(q.first.frames)-q.at > 1)
}

// idle tells whether nothing waits and nothing is handled.
func (q *inbox) idle() bool { return q.empty() && !q.delivering && q.running == 0 }

// memory returns how many bytes it takes.
func (q *inbox) memory() int { return q.held }

// incomingSize is what an Incoming takes, in bytes.
const incomingSize = 128

// push copies a frame: its bytes belong to the reader.
func (q *inbox) push(f *wire.Frame) {
	if q.closed {
		return
	}
	var body []byte
	if f.Fault == nil {
		body = f.Body
	}
	b := q.room(len(body))
	start := len(b.bytes)
	b.bytes = append(b.bytes, body...)
	b.frames = b.frames[:len(b.frames)+1]
	in := &b.frames[len(b.frames)-1] // it is all zero
	in.Kind, in.N, in.Message = f.Kind, f.N, f.Message
	in.Body = b.bytes[start:len(b.bytes):len(b.bytes)]
	in.Size, in.Timeout, in.Fault = f.Size, f.Timeout, f.Fault
	if f.Message != nil {
		in.Name = f.Message.Name()
	} else {
		in.Name = string(f.Name)
	}
	if in.asks() {
		in.Arrived = time.Now() // its time runs while it waits
	}
}

// room returns the last batch, which has room for a frame with a body of size bytes.
func (q *inbox) room(size int) *batch {
	if q.last != nil && q.last.takes(size) {
		return q.last
	}
	class, end := 0, &q.first
	if q.last != nil {
		class, end = min(q.last.class+1, batchClasses-1), &q.last.next
	}
	b := newBatch(class, size)
	q.held += b.memory()
	*end, q.last = b, b
	return b
}

// next returns the oldest frame that waits, or nil; it waits on until at is moved.
// Once all of a batch has been handled, its memory is used again, unless somebody
// reads it still.
func (q *inbox) next() *Incoming {
	if b := q.first; b != nil && q.at == len(b.frames) {
		q.held -= b.memory()
		if q.first = b.next; q.first == nil {
			q.last = nil
		}
		if !q.shared {
			b.free()
		}
		q.at, q.shared = 0, false
	}
	if q.first == nil {
		return nil
	}
	return &q.first.frames[q.at]
}

// cancel marks a request that still waits, here or with the deliverer.
func (q *inbox) cancel(n uint64) {
	for b := q.first; b != nil; b = b.next {
		frames := b.frames
		// By their numbers, which rise.
		i := sort.Search(len(frames), func(i int) bool { return frames[i].N >= n })
		if i < len(frames) && frames[i].N == n {
			frames[i].canceled = true
		}
	}
}

// clear throws away what waits, now and later.
func (q *inbox) clear() { q.closed, q.first, q.last, q.at, q.held = true, nil, nil, 0, 0 }

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
