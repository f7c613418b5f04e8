package rpcclient

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/mtls"
	"busd/rpc/jencode"
)

// closeTimeout bounds the end of a stable connection.
const closeTimeout = 5 * time.Second

// A Client calls the methods of one service. Its methods may be called concurrently.
//
// [Client.Idempotent], [Client.For] and [Client.Watch] return views of it: clients with
// the same connections whose calls are made differently.
type Client struct {
	*core

	// Of the view.
	idempotent bool
	claim      jencode.Raw // extraCredentials; empty: none
	forwards   bool        // the claim is another one than a stable connection made
	progress   func(done, total int64)
}

// A core is what the views of a client share.
type core struct {
	// Fixed at creation.
	cfg     Config
	service string // System/Component
	log     *zap.Logger
	urls    *addresses
	creds   *mtls.Credentials // nil: cfg.TLS is used
	http    *http.Transport
	agent   []string        // User-Agent
	stable  *stable         // nil: calls are made over https
	life    context.Context // done when the client was closed
	end     context.CancelCauseFunc
}

// New makes a client. It starts nothing and does no I/O; the error says what is wrong
// with the Config.
func New(cfg Config) (*Client, error) {
	all, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	creds, err := cfg.credentials()
	if err != nil {
		return nil, err
	}
	c := &core{
		cfg: cfg, service: all[0].url.Path[1:], log: cfg.Logger.Named("rpcclient"), creds: creds,
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	c.http = c.newTransport()
	c.agent = []string{c.userAgent()}
	if all[0].url.Scheme == "wss" {
		if c.stable, err = newStable(c, all); err != nil {
			return nil, err
		}
	}
	c.urls = newAddresses(asHTTPS(all))
	view := &Client{core: c}
	if view.claim, err = cfg.claim(cfg.Forward); err != nil {
		return nil, err
	}
	return view, nil
}

// Dial makes a client for a service's URL, which goes before those of cfg: https://
// for a request for each call, or wss:// for a stable connection, which it opens: the
// error is the outcome of that, with each URL tried. Over https it does no I/O.
func Dial(ctx context.Context, url string, cfg Config) (*Client, error) {
	if cfg.URL != "" {
		cfg.URLs = append([]string{cfg.URL}, cfg.URLs...)
	}
	cfg.URL = url
	c, err := New(cfg)
	if err != nil || c.stable == nil {
		return c, err
	}
	if err := c.stable.open(ctx); err != nil {
		_ = c.Close() // there is no connection that could not be closed well
		return nil, err
	}
	return c, nil
}

// Service is the name of the service, System/Component.
func (c *Client) Service() string { return c.service }

// Idempotent returns a view whose calls may be executed more than once: they are tried
// again also when they may have been executed.
func (c *Client) Idempotent() *Client {
	view := *c
	view.idempotent = true
	return &view
}

// For returns a view whose calls are made for somebody else. The service believes that
// only of a host that it trusts. Calls are made over https, whatever the client's URL.
func (c *Client) For(who Forward) (*Client, error) {
	if who.DN == "" || who.Group == "" {
		return nil, errForward()
	}
	claim, err := c.cfg.claim(&who)
	if err != nil {
		return nil, err
	}
	view := *c
	view.claim, view.forwards = claim, true
	return &view, nil
}

// Watch returns a view whose transfers report how far they are: after each piece, with
// how many bytes are done and how many there are, -1 if that is not known. The function
// is called by the goroutine that moves the bytes, and should return soon.
func (c *Client) Watch(progress func(done, total int64)) *Client {
	view := *c
	view.progress = progress
	return &view
}

// Close ends the client, all its views, and calls that are under way, with
// [bus.CodeGoingAway]. A second call does nothing. It must not be called inside what
// the client calls.
func (c *Client) Close() error {
	c.end(errClosed())
	var err error
	if c.stable != nil {
		err = c.stable.close()
	}
	c.http.CloseIdleConnections()
	return err
}

// within gives a call its bounds: the end of the client, and the client's Timeout if
// ctx has no deadline. touch begins that time anew.
func (c *core) within(ctx context.Context) (bounded context.Context, touch, cancel func()) {
	bounded, give := context.WithCancelCause(ctx)
	end := func() { give(context.Cause(c.life)) }
	if c.life.Err() != nil {
		end()
	}
	stop := context.AfterFunc(c.life, end)
	if _, has := ctx.Deadline(); has {
		return bounded, func() {}, func() { stop(); give(nil) }
	}
	after := c.cfg.Timeout
	timer := time.AfterFunc(after, func() { give(timeoutError{after}) })
	return bounded, func() { timer.Reset(after) }, func() { timer.Stop(); stop(); give(nil) }
}

// token is the bearer token for a request; empty: there is none.
func (c *core) token(ctx context.Context) (string, error) {
	token := c.cfg.Token
	if c.cfg.TokenSource != nil {
		var err error
		if token, err = c.cfg.TokenSource(ctx); err != nil {
			return "", bus.Wrap(bus.CodeUnauthenticated, err, "there is no token")
		}
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", bus.Errorf(bus.CodeInvalidArgument, "the token is none: byte %d is no visible ASCII", i)
		}
	}
	return token, nil
}
