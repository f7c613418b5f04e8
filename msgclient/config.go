package msgclient

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/url"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/link"
	"busd/schema"
)

// Defaults; docs/protocol.md states what the peer sees of them.
const (
	// DefaultMinWait and DefaultMaxWait bound the pause between two attempts
	// to connect.
	DefaultMinWait = 500 * time.Millisecond
	DefaultMaxWait = 30 * time.Second
	// DefaultTimeout bounds a request, or the wait for an ack, whose context
	// has no deadline.
	DefaultTimeout = link.DefaultTimeout
	// DefaultCredit is what the service is granted, in bytes.
	DefaultCredit = 1 << 20

	// dialTimeout bounds TCP, TLS and the upgrade together.
	dialTimeout = 20 * time.Second
	// welcomeTimeout bounds the wait for an answer to the hello: the service
	// may wait 5 s for the last connection to be gone, and OnConnect 10 s.
	welcomeTimeout = 30 * time.Second
	// pongTimeout is how long a ping may stay unanswered.
	pongTimeout = 15 * time.Second
	// silence ends a connection on which nothing came at all; pings find that
	// out first.
	silence = 5 * time.Minute
	// minPing and maxPing bound what the welcome says of how often to ping.
	minPing = time.Second
	maxPing = 24 * time.Hour
	// closeTimeout bounds how long the end of Run's context may take to reach
	// the service.
	closeTimeout = 5 * time.Second
	// maxBatch bounds a WebSocket message from the service, maxWelcome the
	// first, which holds the contract.
	maxBatch   = 1 << 20
	maxWelcome = 4 << 20
	// maxMessage bounds a message, whatever the welcome allows: a WebSocket
	// message holds one beside what was queued with it.
	maxMessage = maxBatch / 2
)

// Config is what a [Client] needs to know. URL is required; the zero values of
// everything else work.
type Config struct {
	// URL is the service's address: wss://host:port/System/Component. Without
	// a port it is 8443.
	URL string
	// URLs are further addresses of the same service. All are tried, in random
	// order; one that failed, or whose connection ended, goes to the end, and
	// one that answers with Retry-After is left alone for that time while
	// others are tried.
	URLs []string

	// CertFile and KeyFile are the client's certificate and key, CAFiles the
	// CAs that may have signed the service's; PEM. They are read anew for each
	// attempt to connect, and every 10 s by a client that runs: when the
	// certificate was renewed it moves to a connection that shows the new one (see
	// [Client.Reconnect]). As long as they cannot be used together, it stays.
	CertFile, KeyFile string
	CAFiles           []string
	// TLS is used instead of files if it is set, and nothing is looked at.
	// ServerName is filled in.
	TLS *tls.Config

	// Instance tells the clients of one certificate apart: 1 to 64 bytes of
	// [A-Za-z0-9._-]. Empty: the client makes one and keeps it as long as it
	// lives.
	Instance string
	// Group is the group to act in, if the service has such; empty: the user's
	// default. It travels as the connect argument "group", which Args must not have
	// then.
	Group string
	// Args are the connect arguments: nil, bool, numbers, strings, bytes,
	// lists and maps of such, at most about 16 KiB encoded. They are sent with
	// each connection, and must not be changed.
	Args map[string]any

	// Schema is the contract that the program was built with, if it has one.
	// A service whose contract would break it is not connected to: the attempt
	// fails with [bus.CodeSchemaMismatch]. nil: only the types of handlers are
	// compared.
	Schema *schema.Schema
	// Strict treats a message that nobody handles as an error. Otherwise it is
	// ignored, and counted.
	Strict bool
	// KeepOnError keeps the connection when a one-way message fails here.
	KeepOnError bool
	// Credit is what the service is granted, in bytes: it bounds what may wait
	// for the handlers. 0 is 1 MiB; at least 4 KiB.
	Credit int

	// OnConnect runs after each welcome, before any message is handled. It may
	// send and make requests, and should do so with ctx (see [Client.Send]),
	// which ends with the connection.
	OnConnect func(ctx context.Context, c *Client)
	// OnDrop runs once for each connection that ended otherwise than by a move,
	// [Client.Close] or the end of Run's context: the client is left without one.
	// It runs after the last handler has returned, or, where the session outlives
	// the connection, while those that had begun go on. why matches
	// [bus.ErrDropped]. The next connection comes after it has returned. What it
	// sends with ctx, which ends with the client, is queued in the session, or
	// fails at once if that has ended (see [Client.Send]).
	OnDrop func(ctx context.Context, c *Client, why error)
	// OnRetry is told, by Run, why there is no connection and how long it
	// waits before the next attempt: after each attempt that failed, and after
	// OnDrop.
	OnRetry func(c *Client, why error, wait time.Duration)
	// OnError is told of one-way messages that failed at the service, before
	// the drop that mostly follows, and of handlers that failed here.
	OnError func(c *Client, err error)

	// RetrySuperseded keeps trying when another client took the identity. Two
	// clients that both do so fight for ever.
	RetrySuperseded bool
	// GiveUpAfter ends Run when the client was not connected for so long, and
	// the attempt under way with it; 0 is never.
	GiveUpAfter time.Duration
	// MinWait and MaxWait bound the pause between attempts; 0 is 0.5 s and
	// 30 s.
	MinWait, MaxWait time.Duration

	// DialContext opens the TCP connection; nil is the network. Tests need no
	// port with it.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Name and Version are what the program says of itself in the hello.
	Name, Version string
	// Logger gets a line for each connection, its end and each failed attempt.
	// nil is silence.
	Logger *zap.Logger
}

// defaultPort is where busd listens.
const defaultPort = "8443"

// complete checks and fills in defaults, and returns all addresses.
func (c *Config) complete() ([]*url.URL, error) {
	all := c.URLs
	if c.URL != "" {
		all = append([]string{c.URL}, all...)
	}
	if len(all) == 0 {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "a URL is required: wss://host:port/System/Component")
	}
	urls := make([]*url.URL, len(all))
	for i, text := range all {
		u, err := parseURL(text)
		if err != nil {
			return nil, err
		}
		urls[i] = u
	}
	if c.Instance == "" {
		c.Instance = uuid.NewString()
	}
	if err := bus.CheckInstance(c.Instance); err != nil {
		return nil, err
	}
	if err := c.addGroup(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Credit == 0 {
		c.Credit = DefaultCredit
	}
	if c.MinWait == 0 {
		c.MinWait = DefaultMinWait
	}
	if c.MaxWait == 0 {
		c.MaxWait = max(DefaultMaxWait, c.MinWait)
	}
	if c.Credit < minCredit || c.MinWait < 0 || c.MaxWait < c.MinWait || c.GiveUpAfter < 0 {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "want Credit of at least %d bytes, 0 < MinWait <= MaxWait, GiveUpAfter >= 0", minCredit)
	}
	return urls, nil
}

// addGroup makes a connect argument of the group.
func (c *Config) addGroup() error {
	if c.Group == "" {
		return nil
	}
	if _, taken := c.Args[groupArg]; taken {
		return bus.Errorf(bus.CodeInvalidArgument, "want the group in Group or in Args, not in both")
	}
	args := maps.Clone(c.Args)
	if args == nil {
		args = map[string]any{}
	}
	args[groupArg] = c.Group
	c.Args = args
	return nil
}

// groupArg is the connect argument that names the group.
const groupArg = "group"

// minCredit is the least that lets the protocol work.
const minCredit = 4 << 10

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, bus.Wrap(bus.CodeInvalidArgument, err, "the URL cannot be read: want wss://host:port/System/Component")
	}
	if u.Scheme != "wss" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "URL %s: want wss://host:port/System/Component", u.Redacted())
	}
	if err := schema.CheckService(trimSlash(u.Path)); err != nil {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "URL %s: path: %v", u.Redacted(), err)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), defaultPort)
	}
	return u, nil
}

func trimSlash(path string) string {
	if path != "" && path[0] == '/' {
		return path[1:]
	}
	return path
}
