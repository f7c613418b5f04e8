package rpcclient

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/internal/bounded"
	"busd/msgclient"
	"busd/rpc"
	"busd/rpc/jencode"
)

// A stable is a client's stable connection, for a URL with wss.
type stable struct {
	// Fixed at creation.
	core   *core
	client *msgclient.Client
	turn   chan struct{}  // holds a token while nobody opens
	run    sync.WaitGroup // the client's Run

	opened atomic.Bool               // Run keeps it
	why    atomic.Pointer[bus.Error] // why there was no connection, the last time there was none

	mu sync.Mutex
	// Guarded by mu.
	flights []*flight // the calls that are under way
	closed  bool
	quiet   chan struct{} // closed when it is closed and no call is under way
}

// A flight is a call that is under way, and its context, which ends with the client.
type flight struct {
	bounded.Context

	at int // among flights
}

func newStable(c *core, all []*address) (*stable, error) {
	cfg := c.cfg
	if cfg.Token != "" || cfg.TokenSource != nil {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "a token needs https://: a stable connection is opened with a certificate")
	}
	s := &stable{core: c, turn: make(chan struct{}, 1), quiet: make(chan struct{})}
	s.turn <- struct{}{}
	under := msgclient.Config{
		CertFile: cfg.CertFile, KeyFile: cfg.KeyFile, CAFiles: cfg.CAFiles,
		DialContext: cfg.DialContext, Name: cfg.Name, Version: cfg.Version, Logger: cfg.Logger,
		OnRetry: func(_ *msgclient.Client, why error, _ time.Duration) { s.why.Store(bus.AsError(why)) },
	}
	for _, a := range all {
		under.URLs = append(under.URLs, a.url.String())
	}
	if cfg.Group != "" {
		under.Args = map[string]any{"group": cfg.Group}
	}
	var err error
	if under.TLS, err = c.upgradeTLS(); err != nil {
		return nil, err
	}
	if s.client, err = msgclient.New(under); err != nil {
		return nil, err
	}
	return s, nil
}

// upgradeTLS is for the upgrade to a WebSocket, which is HTTP/1.1; nil: files are
// used.
func (c *core) upgradeTLS() (*tls.Config, error) {
	conf := c.cfg.TLS
	if conf == nil {
		if c.creds.Certificate == nil && len(c.creds.CAs) == 0 {
			return nil, nil
		}
		made, err := c.creds.TLS("")
		if err != nil {
			return nil, err
		}
		conf = made
	}
	conf = conf.Clone()
	conf.NextProtos = []string{"http/1.1"}
	return conf, nil
}

// asHTTPS returns addresses as they are called over https.
func asHTTPS(all []*address) []*address {
	same := make([]*address, len(all))
	for i, a := range all {
		u := *a.url
		u.Scheme = "https"
		same[i] = &address{url: &u, failover: a.failover}
	}
	return same
}

// open opens the connection, if that has not been done yet; from then on it is kept,
// and opened again when it breaks.
func (s *stable) open(ctx context.Context) error {
	if s.opened.Load() {
		return nil
	}
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return ended(ctx, false)
	}
	if s.opened.Load() {
		return nil
	}
	if err := s.client.Connect(ctx); err != nil {
		if ctx.Err() != nil {
			return ended(ctx, false)
		}
		return unsent(err)
	}
	s.opened.Store(true)
	s.run.Go(func() {
		_ = s.client.Run(context.Background()) // close ends it; calls hear of other ends
	})
	return nil
}

// call makes a call over the connection.
func (s *stable) call(given context.Context, c *Client, k *call, into any) *Error {
	f := new(flight)
	if !s.enter(given, f) {
		return unsent(errClosed())
	}
	defer s.leave(f)
	ctx := context.Context(f)
	if err := s.open(ctx); err != nil {
		return asError(err)
	}
	if _, has := ctx.Deadline(); !has { // else it would have that of package msgclient
		after := s.core.cfg.Timeout
		limited, cancel := context.WithTimeoutCause(ctx, after, timeoutError{after})
		defer cancel()
		ctx = limited
	}
	for {
		value, err := s.client.Call(ctx, k.method, k.args)
		if err == nil {
			return decode(value, into, jencode.DIRAC)
		}
		var e *bus.Error
		switch errors.As(err, &e); {
		case e == nil || ctx.Err() != nil:
			return s.ended(ctx)
		case e.Code == bus.CodeOutOfRange && !e.Remote:
			return c.post(ctx, k, into) // too large for a message, and not for a request
		case e.Code == bus.CodeSessionLost && c.idempotent:
			continue // in the next session
		}
		return explainStable(e)
	}
}

// ended is the error of a call whose context has ended.
func (s *stable) ended(ctx context.Context) *Error {
	f := ended(ctx, true)
	if why := s.why.Load(); why != nil && f.Err.Code == bus.CodeDeadlineExceeded && !s.client.Connected() {
		f.Err = bus.Wrap(f.Err.Code, errors.Join(context.DeadlineExceeded, why), "there was no connection in time")
	}
	return f
}

// explainStable makes an error of one of package msgclient.
func explainStable(e *bus.Error) *Error {
	if e.Remote && !errors.Is(e, bus.ErrDropped) {
		told := rpc.ErrorOf(e)
		f := &Error{Err: e, Errno: told.Errno, Message: told.Message}
		if e.Code == bus.CodeUnauthenticated {
			f.Errno = 13 // as over https
		}
		return f
	}
	f := failed(e)
	// A session that ended before anything was written is waited for: one that
	// will not come has ended for good.
	f.notExecuted = e.Code == bus.CodeUnimplemented || errors.Is(e, bus.ErrDropped) && e.Code != bus.CodeSessionLost
	return f
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return unsent(err)
}

// enter begins a call with the context that it was given; false: no more are made.
func (s *stable) enter(ctx context.Context, f *flight) bool {
	f.Begin(ctx, time.Time{}, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	f.at = len(s.flights)
	s.flights = append(s.flights, f)
	return true
}

func (s *stable) leave(f *flight) {
	f.Cancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.flights) - 1
	moved := s.flights[last]
	s.flights[f.at], moved.at = moved, f.at
	s.flights[last] = nil
	if s.flights = s.flights[:last]; s.closed && last == 0 {
		close(s.quiet)
	}
}

// stop lets no more calls in, and takes back those that are under way.
func (s *stable) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, f := range s.flights {
		f.Cancel(errClosed())
	}
	if len(s.flights) == 0 {
		close(s.quiet)
	}
}

// close says goodbye, once the calls that are under way have been taken back, and
// waits for what runs.
func (s *stable) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	s.stop()
	select {
	case <-s.quiet:
	case <-ctx.Done():
	}
	err := s.client.Close(ctx)
	<-s.turn // nobody opens any more
	s.turn <- struct{}{}
	s.run.Wait()
	return err
}
