package bustest

import (
	"context"
	"net"
	"sync"
)

// address is what both ends of a pipe call themselves.
type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }

// listener accepts pipes.
type listener struct {
	incoming chan net.Conn
	done     chan struct{}
	once     sync.Once

	mu sync.Mutex
	// Guarded by mu.
	open map[net.Conn]struct{} // the serving ends
}

func newListener() *listener {
	return &listener{incoming: make(chan net.Conn), done: make(chan struct{}), open: map[net.Conn]struct{}{}}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return address(Host + ":443") }

func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	client, server := pipe(address("127.0.0.1:40000"), l.Addr())
	tracked := &served{Conn: server, listener: l}
	l.mu.Lock()
	l.open[tracked] = struct{}{}
	l.mu.Unlock()
	select {
	case l.incoming <- tracked:
		return client, nil
	case <-l.done:
		_ = tracked.Close() // nobody has it
		return nil, net.ErrClosed
	case <-ctx.Done():
		_ = tracked.Close() // as above
		return nil, ctx.Err()
	}
}

// cut breaks all connections.
func (l *listener) cut() {
	l.mu.Lock()
	all := l.open
	l.open = map[net.Conn]struct{}{}
	l.mu.Unlock()
	for c := range all {
		e := c.(*served).Conn.(*end) // dial puts nothing else there
		e.in.end(true)
		e.out.end(true)
	}
}

// served is the serving end of a pipe, forgotten once it is closed.
type served struct {
	net.Conn
	listener *listener
}

func (s *served) Close() error {
	s.listener.mu.Lock()
	delete(s.listener.open, s)
	s.listener.mu.Unlock()
	return s.Conn.Close()
}
