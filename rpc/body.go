package rpc

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"busd/bus"
)

// The pace of bodies, either way: what is slower costs its own request. The
// deadlines of the http.Server give way to it.
const (
	// PaceBytes must pass in each PaceTime.
	PaceBytes = 16 << 10
	PaceTime  = 10 * time.Second
)

// What bodies may hold in memory.
const (
	// freeBody is what the body of every call may hold: small calls never wait for
	// room.
	freeBody = 16 << 10
	// MaxHeld is what the larger bodies of a service's calls may hold together, in
	// bytes, from the reading to the answer, and a quarter of it those of one peer, or
	// of all whom nobody knows; beyond it 503. One that is larger has it to itself.
	MaxHeld = 64 << 20
	// zippedState is what it takes to decompress a body, of any size, in bytes.
	zippedState = 48 << 10
)

// A body is what comes of a request's body: decompressed, within a bound, at a
// pace. It has one user at a time.
type body struct {
	// Fixed by open.
	raw     io.Reader
	control *http.ResponseController
	zipped  *decompressor // nil: it is not compressed
	room    *room
	peer    string // whose it is; empty: nobody's
	// stopped: nobody waits any more for what is read. It may be set at any time.
	stopped atomic.Bool
	// clocked: a deadline that passes ends the body also while nobody reads, as in
	// HTTP/2.
	clocked bool

	limit  int64         // of what comes, in bytes; after decompression
	advice string        // for who sends more
	in     int64         // what came before decompression
	n      int64         // what came
	pace   int64         // bytes until the next deadline
	left   time.Duration // time for them, spent reading
	now    time.Time     // if it is known: it is asked for often
	held   int64         // what it took of the room
	ended  bool          // raw has been read to its end
	// fault is why reading ended before its time; nil: it has not.
	fault  *bus.Error
	status int // of fault
}

// zipSlop is how much longer than its limit a body may be that is compressed: what
// gzip adds to what it cannot compress.
const zipSlop = 4 << 10

// open readies the reading of a request's body, which begins now. Nothing is read
// yet. Whose the body is was set before.
func (b *body) open(r *http.Request, now time.Time, control *http.ResponseController, room *room) *bus.Error {
	b.raw, b.now, b.control, b.room, b.clocked = r.Body, now, control, room, r.ProtoMajor > 1
	b.ended = r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0
	codings := r.Header["Content-Encoding"]
	switch {
	case len(codings) == 0:
		return nil
	case len(codings) > 1:
	case strings.EqualFold(codings[0], "gzip"), strings.EqualFold(codings[0], "x-gzip"):
		if err := b.hold(zippedState); err != nil {
			return err
		}
		b.zipped = decompressors.Get().(*decompressor)
		return nil
	case codings[0] == "", strings.EqualFold(codings[0], "identity"):
		return nil
	}
	b.fail(http.StatusUnsupportedMediaType, bus.CodeInvalidArgument, "the body's Content-Encoding is not known: want gzip, or none")
	return b.fault
}

// within sets the bound. A body that is longer already, or says that it will be, is
// refused.
func (b *body) within(limit, announced int64) *bus.Error {
	b.limit = limit
	if b.zipped != nil {
		announced -= zipSlop
	}
	if announced > limit || b.n > limit {
		return b.tooLarge()
	}
	return b.fault
}

func (b *body) tooLarge() *bus.Error {
	b.fail(http.StatusRequestEntityTooLarge, bus.CodeOutOfRange, "the body has more than %d bytes%s", b.limit, b.advice)
	return b.fault
}

// fail notes the first fault; it ends the reading.
func (b *body) fail(status int, c bus.Code, format string, a ...any) {
	if b.fault == nil {
		b.status, b.fault = status, bus.Errorf(c, format, a...)
	}
}

// Read reads what comes. Its error is io.EOF or the body's fault.
func (b *body) Read(p []byte) (int, error) {
	if b.fault != nil {
		return 0, b.fault
	}
	n, err := b.source(p)
	if b.n += int64(n); b.n > b.limit {
		n -= int(b.n - b.limit)
		err = b.tooLarge()
	}
	switch {
	case err == nil || errors.Is(err, io.EOF):
	case b.fault != nil:
		err = b.fault
	default:
		b.broken(err)
		err = b.fault
	}
	return n, err
}

func (b *body) source(p []byte) (int, error) {
	if b.zipped == nil {
		return b.fromWire(p)
	}
	if b.in == 0 {
		if err := b.zipped.begin(readerFunc(b.fromWire)); err != nil {
			return 0, unfinished(err)
		}
	}
	return b.zipped.Read(p)
}

// unfinished is io.EOF before the end: that of a body which is compressed and
// empty.
func unfinished(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// wait stops the clock until the next reading, which may be any time later.
func (b *body) wait() {
	b.now = time.Time{}
	if b.clocked {
		_ = b.control.SetReadDeadline(time.Time{})
	}
}

// fromWire reads what the client sent.
func (b *body) fromWire(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	if b.pace <= 0 {
		b.pace, b.left = PaceBytes, PaceTime
	}
	// Only the time counts in which somebody waits for the client. A server that
	// cannot be given deadlines (a test's) has none.
	began := b.now
	if began.IsZero() {
		began = time.Now()
	}
	_ = b.control.SetReadDeadline(began.Add(b.left))
	if b.stopped.Load() { // and the deadline that was to say so is overwritten
		b.fail(statusGone, bus.CodeCanceled, "the call has ended")
		return 0, b.fault
	}
	n, err := b.raw.Read(p)
	b.pace -= int64(n)
	b.in += int64(n)
	if b.ended = err == io.EOF; !b.ended {
		b.left -= time.Since(began)
	}
	b.wait()
	if b.zipped != nil && b.in > b.limit+zipSlop {
		return 0, b.tooLarge()
	}
	return n, err
}

// broken notes why a body cannot be read.
func (b *body) broken(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.fail(http.StatusRequestTimeout, bus.CodeDeadlineExceeded, "the body came too slowly: want %d bytes in each %v", PaceBytes, PaceTime)
	case b.zipped != nil && b.in > 0:
		b.fail(http.StatusBadRequest, bus.CodeInvalidArgument, "the body cannot be decompressed, or is cut off")
	default:
		b.fail(http.StatusBadRequest, bus.CodeInvalidArgument, "the body is cut off, or not framed as HTTP wants")
	}
}

// readAll appends to p what comes, until its end, but at most what makes it most
// bytes long; whole tells whether that was the end. announced is how much is
// expected; below 0: not known.
func (b *body) readAll(p []byte, most, announced int64) (all []byte, whole bool, err *bus.Error) {
	if b.zipped != nil {
		announced = -1
	}
	for int64(len(p)) < most {
		if len(p) == cap(p) {
			if p, err = b.grow(p, most, announced); err != nil {
				return nil, false, err
			}
		}
		n, readErr := b.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		if readErr != nil {
			return p, b.fault == nil, b.fault
		}
	}
	return p, false, nil
}

// firstRead is the size of the first buffer of a body whose length is not known.
const firstRead = 1 << 10

// grow makes place for more. Nobody gets place for what he has only announced: the
// buffer doubles as it fills.
func (b *body) grow(p []byte, most, announced int64) ([]byte, *bus.Error) {
	size := max(2*int64(cap(p)), firstRead)
	if announced >= int64(cap(p)) {
		// One byte more shows that there is nothing more.
		size = min(announced+1, max(size, freeBody))
	}
	size = min(size, most)
	if over := max(size, freeBody) - max(int64(cap(p)), freeBody); over > 0 {
		if err := b.hold(over); err != nil {
			return nil, err
		}
	}
	return slices.Grow(p, int(size)-len(p))[:len(p):size], nil
}

// hold takes room for n bytes.
func (b *body) hold(n int64) *bus.Error {
	if !b.room.take(b.peer, n, b.held+n) {
		b.fail(http.StatusServiceUnavailable, bus.CodeUnavailable, "no room for this body now")
		b.fault = b.fault.WithRetry(bus.Retry{After: RetryPause})
		return b.fault
	}
	b.held += n
	return nil
}

// close gives back what the body holds. Nothing may be read of it afterwards.
func (b *body) close() {
	if b.held > 0 {
		b.room.give(b.peer, b.held)
		b.held = 0
	}
	if b.zipped != nil {
		b.zipped.end()
		b.zipped = nil
	}
	if b.fault == nil {
		b.fault = errStopped
	}
}
