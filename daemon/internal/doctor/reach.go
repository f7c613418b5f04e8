package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// unresolved says why a name has no address.
func (e *examination) unresolved(err error) {
	var dns *net.DNSError
	if err == nil || errors.As(err, &dns) && dns.IsNotFound {
		e.fail(StepName, "name_unknown", "no host has the name "+e.host, "another URL: is "+e.host+" written as it should be?")
		return
	}
	why := err.Error()
	switch {
	case dns != nil && dns.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		why = "no name server answered in time"
	case dns != nil:
		why = dns.Err
	}
	e.fail(StepName, "name_lookup_failed", fmt.Sprintf("the name %s could not be looked up: %s", e.host, why),
		"look at this machine's network and name servers, or write an address instead of the name")
}

// connect reaches every address, and remembers the first that could be.
func (e *examination) connect(ctx context.Context, addresses []netip.Addr) bool {
	type outcome struct {
		address string
		took    time.Duration
		err     error
	}
	all := make([]outcome, len(addresses))
	var tries sync.WaitGroup
	for i, ip := range addresses {
		all[i].address = net.JoinHostPort(ip.String(), e.target.Port())
		tries.Go(func() {
			began := time.Now()
			var c net.Conn
			if c, all[i].err = e.dial(ctx, all[i].address); all[i].err == nil {
				_ = c.Close() // that it opens is all that was asked
			}
			all[i].took = time.Since(began)
		})
	}
	tries.Wait()
	for _, o := range all {
		if o.err == nil && e.address == "" {
			e.address = o.address
		}
	}
	if ctx.Err() != nil {
		return false
	}
	for _, o := range all {
		if o.err == nil {
			e.ok(StepTCP, "tcp_connected", "%s in %s", o.address, short(o.took))
			continue
		}
		f := e.unconnected(o.address, o.err)
		if e.address != "" {
			f.Level = Warn
			f.Seen += "; clients that come to this address first go on to another"
		}
		e.find(f)
	}
	if e.address == "" && e.Proxy != "" {
		e.warn(StepTCP, "proxy_ignored", e.Proxy+" is set: other programs reach this host through a proxy, busd's clients do not")
	}
	return e.address != ""
}

// dial opens a TCP connection within the time of a step.
func (e *examination) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// unconnected says why an address was not reached.
func (e *examination) unconnected(address string, err error) Finding {
	f := Finding{Step: StepTCP, Level: Fail}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Code, f.Seen = "tcp_refused", address+": nobody listens there"
		f.Try = []string{"look whether busd serves there, on that address and port"}
		if ip, parseErr := netip.ParseAddrPort(address); parseErr == nil && ip.Addr().IsLoopback() {
			f.Try = []string{"busd serve --dev                  a server on this machine, or another URL"}
		}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		f.Code, f.Seen = "tcp_unreachable", address+": there is no way to that address"
		f.Try = []string{"look at this machine's network and routes, and at the address"}
	case timedOut(err):
		f.Code, f.Seen = "tcp_timeout", fmt.Sprintf("%s: no answer in %s", address, e.Timeout)
		f.Try = []string{"the machine is down, or a firewall in between swallows what comes for that port"}
	default:
		f.Code, f.Seen = "tcp_failed", address+": "+lastCause(err)
		f.Try = []string{"look at this machine's network"}
	}
	return f
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// lastCause is what the kernel says, without the layers above it.
func lastCause(err error) string {
	for {
		under := errors.Unwrap(err)
		if under == nil {
			return err.Error()
		}
		err = under
	}
}
