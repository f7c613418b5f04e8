package rpc

import (
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"busd/bus"
)

// slowDeadline is a connection where whoever is the first to set a deadline for
// reading is held up until somebody else has set one.
type slowDeadline struct {
	http.ResponseWriter

	calls        atomic.Int32
	held, passed chan struct{}
	read         bool
}

func (d *slowDeadline) SetReadDeadline(time.Time) error {
	switch d.calls.Add(1) {
	case 1:
		close(d.held)
		<-d.passed
	case 2:
		close(d.passed)
	}
	return nil
}

func (d *slowDeadline) Read([]byte) (int, error) {
	d.read = true
	return 0, os.ErrDeadlineExceeded
}

// TestStopIsNotLost: an upload stops also where its reader is just about to set the
// deadline until which it would wait.
func TestStopIsNotLost(t *testing.T) {
	t.Parallel()
	wire := &slowDeadline{held: make(chan struct{}), passed: make(chan struct{})}
	x := &exchange{control: *http.NewResponseController(wire)}
	x.body.limit, x.body.raw, x.body.control = 100, wire, &x.control
	x.upload.from = &x.body
	heard := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(&x.upload)
		heard <- err
	}()
	<-wire.held
	x.upload.stop(x.interrupt)
	if err := <-heard; bus.CodeOf(err) != bus.CodeCanceled {
		t.Errorf("the reader got %v, want that it was stopped", err)
	}
	if wire.read {
		t.Error("it waits for the client although nobody waits for it")
	}
}
