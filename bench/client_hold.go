package main

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"
)

// hold opens connections and keeps them. Those that do not ping by themselves
// are pinged, evenly spread over the interval.
func (c *clientSide) hold(n int) (any, error) {
	conns, err := c.dialAll(len(c.held), n, func(int) func([]byte) []byte {
		return func([]byte) []byte { return nil }
	})
	if err != nil {
		return nil, err
	}
	c.held = append(c.held, conns...)
	if _, ok := conns[0].(pinger); ok {
		go c.pingAll(conns) // as long as the process lives
	}
	return nil, nil
}

func (c *clientSide) pingAll(conns []conn) {
	tick := time.NewTicker(c.KeepAlive / time.Duration(len(conns)))
	for i := 0; ; i++ {
		<-tick.C
		if err := conns[i%len(conns)].(pinger).Ping(); err != nil {
			c.lost.Add(1)
		}
	}
}

// stillHeld fails if a connection that hold opened has ended.
func (c *clientSide) stillHeld(struct{}) (any, error) {
	ended := int(c.lost.Load())
	for _, k := range c.held {
		select {
		case <-k.Done():
			ended++
		default:
		}
	}
	if ended > 0 {
		return nil, fmt.Errorf("%d of %d connections have ended, or could not be pinged", ended, len(c.held))
	}
	return nil, nil
}

// handshakeArgs say how many connections are opened, and how.
type handshakeArgs struct {
	Count  int  `json:"count"`
	Resume bool `json:"resume"`
}

// handshakes opens connections and keeps them open, so that nothing is measured
// but their beginning. Those that are opened by one of the openers have one
// certificate, and if they are to resume, its sessions.
func (c *clientSide) handshakes(a handshakeArgs) (any, error) {
	var full atomic.Int64
	openers := make(chan *tls.Config, dialersAtOnce)
	ignore := func([]byte) []byte { return nil }
	for i := range dialersAtOnce {
		cert, err := c.pki.client(fmt.Sprintf("opener-%d", i))
		if err != nil {
			return nil, err
		}
		var sessions tls.ClientSessionCache
		if a.Resume {
			sessions = tls.NewLRUClientSessionCache(1)
		}
		conf := c.pki.clientTLS(cert, sessions, func() { full.Add(1) })
		if _, err := c.dial(c.optionsWith(i, conf, ignore)); err != nil { // brings the first session
			return nil, err
		}
		openers <- conf
	}
	full.Store(0)
	before, err := usageOf(c.Server)
	if err != nil {
		return nil, err
	}
	err = inParallel(a.Count, dialersAtOnce, func(i int) error {
		conf := <-openers
		defer func() { openers <- conf }()
		_, err := c.dial(c.optionsWith(dialersAtOnce+i, conf, ignore))
		return err
	})
	if err != nil {
		return nil, err
	}
	after, err := usageOf(c.Server)
	if err != nil {
		return nil, err
	}
	resumed := 1 - float64(full.Load())/float64(a.Count)
	if a.Resume && resumed < 0.99 || !a.Resume && resumed > 0 {
		return nil, fmt.Errorf("%.1f %% of the handshakes were resumed", 100*resumed)
	}
	each := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / float64(a.Count) }
	return metrics{
		"rate":       float64(a.Count) / after.at.Sub(before.at).Seconds(),
		"cpu_server": each(after.server - before.server),
		"cpu_client": each(after.client - before.client),
	}, nil
}
