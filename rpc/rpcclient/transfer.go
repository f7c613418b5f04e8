package rpcclient

import "context"

// The methods that DIRAC's clients and servers move files by.
const (
	StreamToClient   = "streamToClient"
	StreamFromClient = "streamFromClient"
)

// pieceSize is how much of a transfer is in memory.
const pieceSize = 64 << 10

// A transfer is the moving of content, and how far it is.
type transfer struct {
	ctx      context.Context
	touch    func() // begins the time anew that may pass without a byte
	end      func()
	done     int64
	total    int64 // -1: not known
	progress func(done, total int64)
}

// transfer gives the moving of content its bounds: of time only what passes without a
// byte.
func (c *Client) transfer(ctx context.Context) *transfer {
	t := &transfer{total: -1, progress: c.progress}
	t.ctx, t.touch, t.end = c.within(ctx)
	return t
}

// moved counts what has been moved.
func (t *transfer) moved(n int) {
	t.done += int64(n)
	t.touch()
	if t.progress != nil && n > 0 {
		t.progress(t.done, t.total)
	}
}

// A readError is the failure of what was to be sent.
type readError struct{ cause error }

func (e *readError) Error() string { return e.cause.Error() }
func (e *readError) Unwrap() error { return e.cause }
