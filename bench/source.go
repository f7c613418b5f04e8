package main

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// perSource is how many clients share a source address. One pair of addresses
// has 28,000 ports; and a fleet does not come from one host.
const perSource = 20

// dialFunc opens a TCP connection.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// sourceOf returns the address on loopback from which a client comes.
func sourceOf(client int) net.IP {
	host := client / perSource
	return net.IPv4(127, byte(1+host/(250*250)%250), byte(1+host/250%250), byte(1+host%250))
}

// dialerOf returns what opens the connections of a client. The kernel chooses
// the port when the other end is known, so that one port serves many servers.
func dialerOf(client int) dialFunc {
	d := &net.Dialer{
		Timeout:   30 * time.Second,
		LocalAddr: &net.TCPAddr{IP: sourceOf(client)},
		Control: func(_, _ string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
			if err == nil && failed != nil {
				err = fmt.Errorf("IP_BIND_ADDRESS_NO_PORT: %w", failed)
			}
			return err
		},
	}
	return d.DialContext
}
