package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
)

const (
	// floorBuffer is the size of the floor's read buffer: a record of TLS.
	floorBuffer = 16 << 10
	// floorQueue bounds what waits to be written.
	floorQueue = 256 << 10
)

// A floorConn carries messages over a net.Conn with a length before each, and
// writes together what waits to be written. It is the least that anybody has to
// do. Send may be called concurrently.
type floorConn struct {
	conn net.Conn
	in   *bufio.Reader // owned by read
	done chan struct{} // closed by read

	mu       sync.Mutex
	room     *sync.Cond // pending was taken, or writing failed
	pending  []byte
	spare    []byte // what was written last, for reuse
	corked   bool   // the reader has messages in hand, and flushes before it reads on
	flushing bool   // somebody writes
	err      error
}

func newFloorConn(c net.Conn) *floorConn {
	f := &floorConn{conn: c, done: make(chan struct{})}
	f.room = sync.NewCond(&f.mu)
	f.in = bufio.NewReaderSize(corkedReader{f}, floorBuffer)
	return f
}

// Done is closed when the connection has ended.
func (f *floorConn) Done() <-chan struct{} { return f.done }

// Send queues a message, and waits for room.
func (f *floorConn) Send(payload []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending) >= floorQueue && f.err == nil {
		if f.flushing {
			f.room.Wait()
		} else {
			f.flushLocked() // the reader may be who asks: nobody else would do it
		}
	}
	if f.err != nil {
		return f.err
	}
	f.pending = binary.BigEndian.AppendUint32(f.pending, uint32(len(payload)))
	f.pending = append(f.pending, payload...)
	if !f.corked && !f.flushing {
		f.flushing = true
		go f.flush()
	}
	return nil
}

// flush writes until nothing waits. It has claimed flushing.
func (f *floorConn) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushing = false
	f.flushLocked()
}

func (f *floorConn) flushLocked() {
	f.flushing = true
	for len(f.pending) > 0 && f.err == nil {
		out := f.pending
		f.pending, f.spare = f.spare[:0], nil
		f.room.Broadcast()
		f.mu.Unlock()
		_, err := f.conn.Write(out)
		f.mu.Lock()
		f.spare, f.err = out, err
	}
	f.flushing = false
	f.room.Broadcast()
}

// read hands each message to handle and sends what that returns, until reading
// fails.
func (f *floorConn) read(handle func(payload []byte) (reply []byte, err error)) error {
	defer close(f.done)
	defer f.conn.Close()
	for {
		message, err := f.next()
		if err != nil {
			return err
		}
		reply, err := handle(message[4:])
		if err == nil && reply != nil {
			err = f.Send(reply)
		}
		if err != nil {
			return err
		}
		if _, err := f.in.Discard(len(message)); err != nil {
			return err
		}
	}
}

// next returns the next message behind its length, both still in the buffer.
func (f *floorConn) next() ([]byte, error) {
	head, err := f.in.Peek(4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > floorBuffer-4 {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	return f.in.Peek(4 + int(size))
}

// corkedReader reads from the connection after it has written what waits: as
// long as the reader has messages in hand, their answers are collected.
type corkedReader struct{ f *floorConn }

// Read reads.
func (r corkedReader) Read(p []byte) (int, error) {
	f := r.f
	f.mu.Lock()
	f.corked = false
	if !f.flushing && len(f.pending) > 0 {
		f.flushLocked()
	}
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return 0, errors.Join(errors.New("writing failed"), err)
	}
	n, err := f.conn.Read(p)
	if n > 0 {
		f.mu.Lock()
		f.corked = true
		f.mu.Unlock()
	}
	return n, err
}
