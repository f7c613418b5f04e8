package link

import (
	"sort"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// An Incoming is a message from the peer on its way to the handler.
type Incoming struct {
	Kind    wire.Kind
	N       uint64 // its number
	Re      uint64 // the number of our message that it replies to; 0: none
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
	frames []Incoming
	bytes  []byte
	spare  []byte     // the deliverer's last batch, to be filled again
	batch  []Incoming // the same of frames
	taken  []Incoming // the deliverer's batch in hand

	delivering bool
	running    int // handlers that run beside the deliverer
	errors     int // error frames among what waits
	closed     bool
	limit      *time.Timer
}

// idle tells whether nothing waits and nothing is handled.
func (q *inbox) idle() bool { return len(q.frames) == 0 && !q.delivering && q.running == 0 }

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
	in := Incoming{
		Kind: f.Kind, N: f.N, Re: f.Re, Message: f.Message,
		Size: f.Size, Timeout: f.Timeout, Fault: f.Fault, from: len(q.bytes),
	}
	if f.Message != nil {
		in.Name = f.Message.Name()
	} else {
		in.Name = string(f.Name)
	}
	if in.Fault == nil {
		q.bytes = append(q.bytes, f.Body...)
	}
	in.to = len(q.bytes)
	if f.Kind == wire.Request {
		in.Arrived = time.Now() // its time runs while it waits
	}
	q.frames = append(q.frames, in)
}

// take hands over all that waits.
func (q *inbox) take() ([]Incoming, []byte) {
	frames, bytes := q.frames, q.bytes
	q.frames, q.bytes = q.batch[:0], q.spare[:0]
	q.batch, q.spare, q.taken = nil, nil, frames
	return frames, bytes
}

// giveBack keeps what take handed over for the next batch, if that is small:
// an idle link holds no buffers of a busy one.
func (q *inbox) giveBack(frames []Incoming, bytes []byte) {
	q.taken = nil
	if cap(bytes) <= maxKept {
		q.spare = bytes
	}
	if cap(frames) <= maxKeptFrames {
		clear(frames)
		q.batch = frames
	}
}

// release lets an idle inbox go.
func (q *inbox) release() {
	q.frames, q.bytes, q.batch, q.spare, q.taken = nil, nil, nil, nil, nil
}

// cancel marks a request that still waits, here or with the deliverer.
func (q *inbox) cancel(n uint64) {
	for _, frames := range [][]Incoming{q.taken, q.frames} {
		// By their numbers, which rise; the rest of a taken one is the deliverer's.
		i := sort.Search(len(frames), func(i int) bool { return frames[i].N >= n })
		if i < len(frames) && frames[i].N == n {
			frames[i].canceled = true
		}
	}
}

// clear throws away what waits, now and later.
func (q *inbox) clear() {
	q.closed = true
	q.release()
}

// What an inbox keeps between two batches.
const (
	maxKept       = 16 << 10
	maxKeptFrames = 64
)

// maxErrors bounds the error frames that wait to be reported: they consume no
// credit. Those beyond it are not reported.
const maxErrors = 64
