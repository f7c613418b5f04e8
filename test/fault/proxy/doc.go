// Package proxy puts faults on TCP connections: a [Proxy] listens on loopback,
// forwards to a target, and cuts, stalls, half-closes, drips, slices, delays,
// throttles and corrupts what passes, for each connection and direction, while
// it runs. It knows bytes and no protocol, so that it faults TLS, WebSockets
// and anyone's client alike.
//
//	p := proxy.Start(t, proxy.Config{Target: server, Seed: seed})
//	p.OnConn(func(c *proxy.Conn) {
//		c.CutAfter(proxy.Up, c.Rand().Int64N(64<<10), proxy.RST)
//	})
//	dial(p.Addr())
//	err := p.Await(ctx, func(s proxy.Stats) bool { return s.Cuts >= 100 })
//
// # What is certain
//
// A direction delivers the bytes that came, in order, once, until a fault ends
// it. The end of a stream and a reset pass in order too: behind the bytes that
// came before, and not while the direction is stalled. Nothing else is promised
// of time: a delay is at least as long as it was set to, a busy machine makes it
// longer.
//
// Random choices (sizes of slices, jitter, which bit is corrupted, and those of
// [Conn.Rand]) come from the seed, the connection's number and the direction
// alone. The same seed makes the same choices in the same order; where the
// kernel cuts a stream into reads is its own affair.
//
// # Proof
//
// A test in which the fault did not happen has shown nothing. [Proxy.Stats]
// counts and [Proxy.Events] lists what did happen, not what was asked for; a
// test looks there before it believes its result.
package proxy
