package msgclient

import (
	"context"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/mtls"
	"busd/internal/wire"
	"busd/schema"
)

// A Client is an identity: its connections come and go, it does not. Its
// methods may be called concurrently, also inside handlers, but for Close,
// which waits for them.
type Client struct {
	// Fixed at creation.
	cfg   Config
	log   *zap.Logger
	creds *mtls.Credentials // nil: cfg.TLS is used

	handlers subscriptions
	urls     addresses
	ignored  atomic.Uint64
	connects atomic.Uint64
	serving  sync.WaitGroup  // one for each connection
	dialing  chan struct{}   // holds a token while nobody dials
	turn     turn            // a handler's while it runs
	life     context.Context // done when ended is set
	endLife  context.CancelFunc
	// sending is the session, unless nothing more is taken: what mu guards, to be read
	// without it by who sends.
	sending atomic.Pointer[clientSession]

	mu sync.Mutex
	// Guarded by mu.
	current *connection    // nil: not connected
	session *clientSession // nil: there was none yet
	name    bus.Identity   // as of the last welcome
	known   *wire.Contract // the contract last received
	changed chan struct{}  // closed when current or ended changes, then replaced
	running bool
	keeping bool  // Run makes another connection when this one ends
	closing error // why nothing more is taken
	ended   error // why there will be no connection any more

	resumption Resumption // as of the last welcome
	lost       int        // how many messages ever were
}

// New makes a client. It starts nothing and does no I/O; the error says what
// is wrong with the Config.
func New(cfg Config) (*Client, error) {
	urls, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, log: cfg.Logger.Named("msgclient"),
		changed: make(chan struct{}), dialing: make(chan struct{}, 1), turn: newTurn(),
	}
	c.urls.init(urls, cfg.MinWait)
	c.dialing <- struct{}{}
	c.life, c.endLife = context.WithCancel(context.Background())
	if cfg.TLS == nil {
		c.creds = &mtls.Credentials{CertFile: cfg.CertFile, KeyFile: cfg.KeyFile, CAFiles: cfg.CAFiles}
	}
	return c, nil
}

// Connect makes one attempt to connect, with each URL in turn, and returns its
// outcome: nil once the service has welcomed the client and OnConnect has
// returned. It is not needed before [Client.Run], and does not keep the client
// connected. A client that is connected gets [bus.CodeAlreadyExists]. It may be
// called inside OnDrop, by a client that does not Run.
func (c *Client) Connect(ctx context.Context) error {
	select {
	case <-c.dialing:
		defer func() { c.dialing <- struct{}{} }()
	case <-ctx.Done():
		return bus.Wrap(bus.CodeOf(ctx.Err()), context.Cause(ctx), "another attempt to connect is under way")
	}
	if err := c.vacate(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	if ended != nil {
		return ended
	}
	var err error
	for _, target := range c.urls.round() {
		if err = c.attempt(ctx, target); err == nil || ctx.Err() != nil || c.life.Err() != nil || isFinal(err) {
			break
		}
	}
	return err
}

// errConnected is why Connect does nothing.
var errConnected = bus.Errorf(bus.CodeAlreadyExists, "the client is connected already")

// vacate makes room for the next connection: what the last one brought must have
// been handled, or wait for the next.
func (c *Client) vacate(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.current
	if last == nil || c.ended != nil {
		return nil
	}
	if last.link.Cause() == nil {
		return errConnected
	}
	over := last.over // OnDrop of a client that does not Run may connect
	if c.keeping {
		over = last.gone
	}
	c.mu.Unlock()
	select {
	case <-over:
	case <-ctx.Done():
	}
	c.mu.Lock()
	if ctx.Err() != nil {
		return bus.Wrap(bus.CodeOf(ctx.Err()), context.Cause(ctx), "handlers of the last connection still run")
	}
	if c.current == last {
		c.current = nil
	}
	return nil
}

// Run keeps the client connected, and returns why it no longer is: the
// context's cause, once the service has been told and handlers have returned;
// the error of a service that refuses for good; or that the client was closed.
// Meanwhile it looks at the certificate's files every 10 s, and moves, as
// [Client.Reconnect] does, when the certificate was renewed. A client runs once.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running || c.ended != nil {
		defer c.mu.Unlock()
		if c.ended != nil {
			return c.ended
		}
		return bus.Errorf(bus.CodeFailedPrecondition, "the client runs already")
	}
	c.running, c.keeping = true, true
	c.mu.Unlock()

	watching, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	defer watch.Wait() // it ends with the client
	watch.Go(func() { c.renew(watching) })
	err := c.keepConnected(ctx)
	stop()
	c.mu.Lock()
	c.keeping = false
	c.mu.Unlock()
	if ctx.Err() == nil {
		c.finish(err)
		return err
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := c.Close(closing); err != nil { // the context's end is the news
		c.log.Warn("closed too early", keys.Reason(err))
	}
	return context.Cause(ctx)
}

// changedLocked wakes all who wait for a connection.
func (c *Client) changedLocked() {
	if c.closing == nil && c.ended == nil {
		c.sending.Store(c.session)
	} else {
		c.sending.Store(nil)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// live waits for a session until ctx ends: for a connection, where there is none
// that a cut has only interrupted. A handler whose session has ended does not
// wait, as the next one comes after it has returned; unless the client moves, and
// leaves handlers behind that are not done in time.
func (c *Client) live(ctx context.Context) (*clientSession, error) {
	if held := c.sending.Load(); held != nil && held.stream.Context().Err() == nil {
		return held, nil
	}
	for {
		c.mu.Lock()
		held, ended, changed := c.session, c.ended, c.changed
		moves := c.movesLocked()
		if ended == nil {
			ended = c.closing
		}
		c.mu.Unlock()
		switch {
		case ended != nil:
			return nil, ended
		case held != nil && held.stream.Context().Err() == nil:
			return held, nil
		}
		h, inHandler := handlingOf(ctx)
		if inHandler && !moves && h.conn.session.stream.Cause() != nil {
			return nil, h.conn.session.stream.Cause()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, bus.Wrap(bus.CodeOf(ctx.Err()), context.Cause(ctx), "not connected")
		}
	}
}

// Connected tells whether the client is connected now.
func (c *Client) Connected() bool {
	_, ok := c.TRID()
	return ok
}

// TRID names the connection of now; false: there is none.
func (c *Client) TRID() (bus.TRID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil || c.current.link.Cause() != nil {
		return "", false
	}
	return bus.TRID(c.current.welcome.TRID), true
}

// Identity is what the service called this client in the last welcome; empty
// before the first.
func (c *Client) Identity() bus.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// Contract is the service's contract, as of the last welcome; nil before the first.
// A contract travels once: where the service has one of the same fingerprint as before,
// its documentation is still that of before.
func (c *Client) Contract() *schema.Schema {
	if known := c.contract(); known != nil {
		return known.Schema()
	}
	return nil
}

func (c *Client) contract() *wire.Contract {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// NewRecord makes an empty message of the service's contract.
func (c *Client) NewRecord(message string) (*schema.Record, error) {
	contract := c.Contract()
	if contract == nil {
		return nil, bus.Errorf(bus.CodeFailedPrecondition, "the contract is not known before the first connection")
	}
	d, ok := contract.Message(message)
	if !ok {
		return nil, bus.Errorf(bus.CodeUnimplemented, "the contract of %s has no message %s", contract.Service(), message)
	}
	return schema.NewRecord(d), nil
}

// Ignored counts the messages that came and that nobody handles.
func (c *Client) Ignored() uint64 { return c.ignored.Load() }

// Connects counts the welcomes.
func (c *Client) Connects() uint64 { return c.connects.Load() }
