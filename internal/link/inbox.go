package link

import (
	"sort"
	"sync"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// An Incoming is a message from the peer on its way to the handler.
type Incoming struct {
	Kind    wire.Kind
	N       uint64 // its number
	Message *wire.Message
	Name    string
	// Body is the message's attributes, checked.
	Body []byte
	// Size is the frame's length on the wire, in bytes.
	Size    int
	Timeout time.Duration
	Arrived time.Time
	// Fault says why it must not be handled.
	Fault *bus.Error

	canceled bool // guarded by the link's mu
	from, to int  // of Body, in the inbox's bytes
}

// asks tells whether the peer waits for an answer.
func (in *Incoming) asks() bool { return in.Kind == wire.Request || in.Kind == wire.Call }

// inbox holds what waits for the deliverer. Its bytes are bounded by the
// credit that this end granted. It is guarded by the link's mu.
type inbox struct {
	waiting *batch     // nil while nothing waits
	taken   []Incoming // the deliverer's batch in hand

	delivering bool
	running    int // handlers that run beside the deliverer
	errors     int // error frames among what waits
	closed     bool
	limit      *time.Timer
}

// A batch is what the deliverer takes at once.
type batch struct {
	frames []Incoming
	bytes  []byte // that their bodies are in
}

// batches are shared, so that an idle link holds none. Measured: a batch of its
// own for each time was two thirds of what a link allocates.
var batches = sync.Pool{New: func() any { return new(batch) }}

// What is kept of a batch for another.
const (
	maxKept       = 256 << 10
	maxKeptFrames = 1 << 10
)

// idle tells whether nothing waits and nothing is handled.
func (q *inbox) idle() bool { return q.waiting == nil && !q.delivering && q.running == 0 }

// push copies a frame: its bytes belong to the reader.
func (q *inbox) push(f *wire.Frame) {
	if q.closed {
		return
	}
	if f.Kind == wire.Error {
		if q.errors == maxErrors {
			return
		}
		q.errors++
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

// take hands over all that waits.
func (q *inbox) take() *batch {
	b := q.waiting
	q.waiting, q.taken = nil, b.frames
	return b
}

// giveBack ends the batch in hand. Unless somebody reads it still, it is used
// again.
func (q *inbox) giveBack(b *batch, shared bool) {
	q.taken = nil
	if !shared && cap(b.bytes) <= maxKept && cap(b.frames) <= maxKeptFrames {
		clear(b.frames)
		b.frames, b.bytes = b.frames[:0], b.bytes[:0]
		batches.Put(b)
	}
}

// cancel marks a request that still waits, here or with the deliverer.
func (q *inbox) cancel(n uint64) {
	all := [2][]Incoming{q.taken}
	if q.waiting != nil {
		all[1] = q.waiting.frames
	}
	for _, frames := range all {
		// By their numbers, which rise; the rest of a taken one is the deliverer's.
		i := sort.Search(len(frames), func(i int) bool { return frames[i].N >= n })
		if i < len(frames) && frames[i].N == n {
			frames[i].canceled = true
		}
	}
}

// clear throws away what waits, now and later.
func (q *inbox) clear() {
	q.closed, q.waiting = true, nil
}

// maxErrors bounds the error frames that wait to be reported: they consume no
// credit. Those beyond it are not reported.
const maxErrors = 64
