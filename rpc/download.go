package rpc

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"busd/internal/keys"
)

// downloadWindow is what is read and sent of a download at a time, in bytes.
const downloadWindow = 32 << 10

var windows = sync.Pool{New: func() any { return new([downloadWindow]byte) }}

// download answers with a stream, to its end. An error before its first byte is
// answered by status; a later one cuts the connection, so that nobody takes a part
// for the whole.
func (x *exchange) download(value any) {
	defer func() { _ = x.guard(x.call.done) }() // it closes the stream
	stream, ok := value.(*Stream)
	if !ok {
		stream = &Stream{Reader: value.(io.Reader)} // do says that it is one of the two
	}
	window := windows.Get().(*[downloadWindow]byte)
	defer windows.Put(window)
	from, size := io.Reader(nil), int64(-1)
	n, err := 0, x.guard(func() { from, size = measured(stream) })
	if err == nil {
		from = guardedReader{x, from}
		n, err = readFirst(from, window[:], size)
	}
	ended := err == io.EOF //nolint:errorlint // an error about an end is an error
	switch {
	case err != nil && !ended:
	case size >= 0 && (int64(n) > size || ended && int64(n) < size):
		err = errWrongSize
	default:
		if ended {
			size = int64(n)
		}
		x.beginDownload(stream, size)
		x.sendStream(from, window[:], n, err, size)
		return
	}
	if crash := (*refusal)(nil); errors.As(err, &crash) {
		x.refuse(crash.Err)
		return
	}
	x.answerError(answerOf(err, x.request.ID))
}

// guard runs what the method has left behind: a panic in it, or the end of the
// goroutine (runtime.Goexit), is a crash of the method, and the error a *refusal.
func (x *exchange) guard(run func()) (err error) {
	returned := false
	defer func() {
		if !returned {
			err = x.crash(recover())
		}
	}()
	run()
	returned = true
	return nil
}

func (x *exchange) crash(value any) error {
	if value == nil {
		value = "runtime.Goexit was called"
	}
	x.binding.cfg.Logger.Error("download panicked", keys.Service(x.service.name), zap.String("method", x.call.method.name),
		zap.String("request", x.request.ID), zap.String("reason", fmt.Sprint(value)), keys.Stack(debug.Stack()))
	crash := x.service.crashed(&x.request, errPanicked)
	x.err = crash // Goexit comes back to nobody
	return crash
}

// A guardedReader reads what a method has given.
type guardedReader struct {
	x    *exchange
	from io.Reader
}

func (g guardedReader) Read(p []byte) (n int, err error) {
	crash := g.x.guard(func() {
		n, err = g.from.Read(p)
		_ = p[:n:len(p)] // a count that cannot be panics here
	})
	if crash != nil {
		return 0, crash
	}
	return n, err
}

var errWrongSize = errors.New("the stream is not as long as it was said to be")

// readFirst reads what can still be answered by status: of a stream whose size is
// known as much as there is place for, of any other what there is.
func readFirst(r io.Reader, p []byte, size int64) (n int, err error) {
	for err == nil && n < len(p) && (n == 0 || size >= 0) {
		var more int
		more, err = readSome(r, p[n:])
		n += more
	}
	return n, err
}

// readSome reads until there is something, or the end, or an error.
func readSome(r io.Reader, p []byte) (int, error) {
	for range maxEmptyReads {
		if n, err := r.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// maxEmptyReads is how often a reader may return nothing.
const maxEmptyReads = 100

// measured returns what a stream is read from, and how long that is; below 0: not
// known.
func measured(s *Stream) (io.Reader, int64) {
	if s.Size > 0 {
		return s.Reader, s.Size
	}
	switch r := s.Reader.(type) {
	case interface{ Len() int }: // those of bytes and strings
		return s.Reader, int64(r.Len())
	case *os.File:
		info, err := r.Stat()
		at, seekErr := r.Seek(0, io.SeekCurrent)
		if err == nil && seekErr == nil && info.Mode().IsRegular() {
			size := max(info.Size()-at, 0)
			return io.LimitReader(r, size), size // it may grow
		}
	}
	return s.Reader, -1
}

func (x *exchange) beginDownload(s *Stream, size int64) {
	h := x.w.Header()
	h["Content-Type"] = typeBytes
	if s.ContentType != "" {
		h.Set("Content-Type", s.ContentType)
	}
	h["X-Content-Type-Options"] = headerNosniff
	h["X-Request-Id"] = x.id[:]
	if size >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	}
	switch {
	case s.Name != "":
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": s.Name}))
	case s.ContentType != "": // else JSON would be taken for an answer that is none of a file's
		h.Set("Content-Disposition", "attachment")
	}
	x.status = http.StatusOK
	x.w.WriteHeader(x.status)
}

// sendStream sends n bytes of a window, and then what a stream has.
func (x *exchange) sendStream(from io.Reader, window []byte, n int, err error, size int64) {
	for {
		if size >= 0 && (x.out+int64(n) > size || err != nil && x.out+int64(n) < size) {
			x.cut(errWrongSize)
		}
		if n > 0 {
			if err := x.write(window[:n]); err != nil {
				x.lost(err)
				panic(http.ErrAbortHandler)
			}
		}
		if err == io.EOF { //nolint:errorlint // as above
			return
		}
		if err != nil {
			x.cut(err)
		}
		if size < 0 && n < len(window) {
			_ = x.control.Flush() // what is slow to come is not held back
		}
		if x.r.ProtoMajor > 1 {
			_ = x.control.SetWriteDeadline(time.Time{}) // it would pass while the stream is waited for
		}
		n, err = readSome(from, window)
	}
}

// cut ends a download in its middle.
func (x *exchange) cut(err error) {
	x.tether.abort()
	x.err = err
	if crash := (*refusal)(nil); !errors.As(err, &crash) {
		x.err = answerOf(err, x.request.ID)
	}
	panic(http.ErrAbortHandler)
}
