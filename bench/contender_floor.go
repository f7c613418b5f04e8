package main

import (
	"context"
	"crypto/tls"
	"net"
)

var floorContender = &contender{
	name: "tls", title: "raw TLS, coalesced",
	does:    "crypto/tls, four bytes of length before each message: the floor, no library at all",
	lacks:   "no names, types or checks; no WebSocket; no sessions, acks, credit or keep-alive",
	batches: "everything that waits is one Write; answers are written before the read that would block",
	serve:   serveFloor, dial: dialFloor,
}

func serveFloor(s *serverSide) error {
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		return err
	}
	all, conf := newCrowd(), s.pki.serverTLS()
	s.app.broadcast = all.broadcast
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			secure := tls.Server(c, conf)
			if secure.Handshake() != nil {
				c.Close()
				return
			}
			go serveFloorConn(s.app, all, secure) // the handshake has grown this stack
		}()
	}
}

// serveFloorConn welcomes a client, by an empty message, and serves it.
func serveFloorConn(app *application, all *crowd, c net.Conn) {
	f := newFloorConn(c)
	all.add(f)
	defer all.remove(f)
	if f.Send(nil) != nil {
		c.Close()
		return
	}
	_ = f.read(func(p []byte) ([]byte, error) { // that it has ended is all there is to know
		reply, err := app.receive(p)
		if !reply {
			return nil, err
		}
		return p, err
	})
}

func dialFloor(ctx context.Context, o dialOptions) (conn, error) {
	c, err := o.Dial(ctx, "tcp", o.Address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(c, o.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	f := newFloorConn(secure)
	welcomed := make(chan struct{})
	go func() {
		_ = f.read(func(p []byte) ([]byte, error) { // Done tells
			if len(p) == 0 {
				close(welcomed)
				return nil, nil
			}
			return o.Receive(p), nil
		})
	}()
	select {
	case <-welcomed:
		return &floorClient{f}, nil
	case <-f.done:
		return nil, errRefused
	case <-ctx.Done():
		c.Close()
		return nil, ctx.Err()
	}
}

// A floorClient sends a message where others have a ping.
type floorClient struct{ *floorConn }

// Ping sends a message that comes back.
func (f *floorClient) Ping() error { return f.Send(newPayload(echo, minPayload)) }
