package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/url"
	"strings"
	"time"

	"busd/bus"
	"busd/internal/mtls"
	"busd/msgclient"
	"busd/rpc/jencode"
	"busd/rpc/rpcclient"
	"busd/schema"
)

// prepareTimeout bounds what happens before anything is measured.
const prepareTimeout = 15 * time.Second

// An Unreached error says that there was no connection at all.
type Unreached struct{ Err error }

// Error returns the reason.
func (e *Unreached) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *Unreached) Unwrap() error { return e.Err }

// A Refused error says that the service answered the message, or every call, with
// an error.
type Refused struct {
	What string // was refused
	Err  error
}

// Error returns what was refused, and why.
func (e *Refused) Error() string { return e.What + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *Refused) Unwrap() error { return e.Err }

// prepare connects once, makes the message, and tries everything that will be
// measured.
func (b *bench) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, prepareTimeout,
		bus.Errorf(bus.CodeDeadlineExceeded, "nothing could be measured after %s", prepareTimeout))
	defer cancel()
	var err error
	if b.tls, err = b.material(); err != nil {
		return &Unreached{err}
	}
	instance := string(bus.NewTRID()) // another bench may run with the same certificate
	cfg := b.config(&tally{})
	cfg.Instance = instance
	first, err := msgclient.New(cfg)
	if err != nil {
		return err
	}
	defer farewell([]*msgclient.Client{first})
	if err := first.Connect(ctx); err != nil {
		return &Unreached{err}
	}
	peer, several := strings.CutSuffix(string(first.Identity()), "/"+instance)
	b.report.Service, b.report.Peer, b.one = first.Contract().Service(), peer, !several
	if err := b.prepareMessage(ctx, first); err != nil {
		return err
	}
	return b.prepareCalls(ctx, first)
}

// material reads the certificate once: connections to come do not.
func (b *bench) material() (*tls.Config, error) {
	o := &b.options.Client
	if o.TLS != nil {
		return o.TLS.Clone(), nil
	}
	creds := &mtls.Credentials{CertFile: o.CertFile, KeyFile: o.KeyFile, CAFiles: o.CAFiles}
	return creds.TLS("")
}

// prepareMessage makes the message and sends it once, as a request.
func (b *bench) prepareMessage(ctx context.Context, c *msgclient.Client) error {
	if b.options.Message == nil {
		return nil
	}
	m, err := b.options.Message(c)
	if err != nil {
		return err
	}
	if err := c.SendHandled(ctx, m); err != nil {
		return &Refused{m.MessageName(), err}
	}
	b.message = m
	return nil
}

// prepareCalls tries the method echo both ways. It is an error only if there is
// nothing else to measure.
func (b *bench) prepareCalls(ctx context.Context, c *msgclient.Client) error {
	if !b.wants(Latency) && !b.wants(Throughput) {
		return nil
	}
	b.echo = jencode.Raw(`["` + strings.Repeat("x", b.options.Size) + `"]`)
	answer, err := c.Call(ctx, echoMethod, b.echo)
	b.noStable = echoed(b.echo, answer, err)
	web, err := b.web()
	if err != nil {
		return err
	}
	defer func() { _ = web.Close() }() // nothing is under way any more
	raw, err := web.CallRaw(ctx, echoMethod, b.echo)
	b.noHTTPS = echoed(b.echo, raw, err)
	if b.noHTTPS == nil {
		b.report.ServerVersion = versionOf(ctx, web)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	only := len(b.options.Only) == 1 || !b.wants(Connections) && !b.wants(Reconnect)
	if b.noStable != nil && b.noHTTPS != nil && b.message == nil && only {
		return &Refused{"calls of echo", b.noStable}
	}
	return nil
}

// echoMethod is a method of every service, which returns what it was given.
const echoMethod = "echo"

// echoed checks an answer: a service may have an echo of its own.
func echoed(args, answer []byte, err error) error {
	if err == nil && !bytes.Equal(answer, args[1:len(args)-1]) {
		return bus.Errorf(bus.CodeUnimplemented, "the method echo of this service does not return what it was given")
	}
	return err
}

// versionOf asks a service for its program's version; empty: it does not say.
func versionOf(ctx context.Context, c *rpcclient.Client) string {
	answer, err := rpcclient.Call[map[string]any](ctx, c, "ping")
	if err != nil {
		return ""
	}
	version, _ := answer["version"].(string)
	return version
}

// web makes a client that calls over HTTPS, with HTTP/1.1: one connection for each
// call that is under way.
func (b *bench) web() (*rpcclient.Client, error) {
	o := &b.options.Client
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, bus.Wrap(bus.CodeInvalidArgument, err, "the URL cannot be read")
	}
	u.Scheme = "https"
	conf := b.tls.Clone()
	conf.NextProtos = []string{"http/1.1"}
	group := o.Group
	if group == "" {
		group, _ = o.Args["group"].(string)
	}
	return rpcclient.New(rpcclient.Config{
		URL: u.String(), TLS: conf, Group: group, DialContext: o.DialContext, Name: o.Name, Version: o.Version, Logger: o.Logger,
	})
}

// messageName is the name of a message, or empty for none.
func messageName(m *schema.Record) string {
	if m == nil {
		return ""
	}
	return m.MessageName()
}
