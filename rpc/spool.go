package rpc

import (
	"bufio"
	"io"
	"os"

	"busd/bus"
)

// Large forms pass through a file, so that a call whose last argument is a stream
// costs the same memory whatever its size.
const (
	// SpoolFrom is the size of a body, in bytes, above which a form's large parts go
	// to a temporary file.
	SpoolFrom = 1 << 20
	// MaxSpools is how many such files a service has at a time, and a quarter of it
	// one peer, or all whom nobody knows; beyond it 503.
	MaxSpools = 32
	// spoolWindow is what is read and written at a time.
	spoolWindow = 32 << 10
)

// A spool is what was written to it, in a file that nobody else sees.
type spool struct {
	file *os.File
	to   *bufio.Writer
	size int64
	room *room // for all that there are
	peer string
}

// newSpool makes an empty one for a peer, unless there are as many as there may be.
func newSpool(room *room, peer string) (*spool, *bus.Error) {
	if !room.take(peer, 1, 1) {
		return nil, bus.Errorf(bus.CodeUnavailable, "too many large uploads at a time").WithRetry(bus.Retry{After: RetryPause})
	}
	f, err := os.CreateTemp("", "busd-upload-*")
	if err == nil {
		// Without a name it goes when it is closed, and when the process dies.
		if err = os.Remove(f.Name()); err != nil {
			_ = f.Close() // nothing was written
		}
	}
	if err != nil {
		room.give(peer, 1)
		return nil, noSpool(err)
	}
	return &spool{file: f, to: bufio.NewWriterSize(f, spoolWindow), room: room, peer: peer}, nil
}

// noSpool is what a client is told when the disk fails.
func noSpool(err error) *bus.Error {
	return bus.Wrap(bus.CodeUnavailable, err, "large uploads cannot be kept now").WithRetry(bus.Retry{After: RetryPause})
}

// Write appends p. Its error is a *bus.Error.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.size += int64(n)
	if err != nil {
		return n, noSpool(err)
	}
	return n, nil
}

// empty throws away what was written.
func (s *spool) empty() *bus.Error {
	s.to.Reset(s.file)
	s.size = 0
	_, err := s.file.Seek(0, io.SeekStart)
	if err == nil {
		err = s.file.Truncate(0)
	}
	if err != nil {
		return noSpool(err)
	}
	return nil
}

// flush ends the writing; what was written can be read then.
func (s *spool) flush() *bus.Error {
	if err := s.to.Flush(); err != nil {
		return noSpool(err)
	}
	return nil
}

// read fills p from a place that was written.
func (s *spool) read(p []byte, at int64) *bus.Error {
	if n, err := s.file.ReadAt(p, at); n < len(p) {
		return noSpool(err)
	}
	return nil
}

// close gives it up.
func (s *spool) close() {
	_ = s.file.Close() // nobody wants it any more
	s.room.give(s.peer, 1)
}
