package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"busd/bus"
)

// cannot says why there is no connection, and what to try.
func (t *target) cannot(ctx context.Context, err error) error {
	if interrupted := orInterrupted(ctx, err); errors.Is(interrupted, errInterrupted) {
		return interrupted
	}
	if over := context.Cause(ctx); over != nil {
		err = over // what the attempt was doing just then is no news
	}
	f := &fault{what: "cannot connect to " + t.url, cause: err}
	var e *bus.Error
	remote := errors.As(err, &e) && e.Remote
	switch code := bus.CodeOf(err); code { //nolint:exhaustive // the others need no advice
	case bus.CodeUnavailable, bus.CodeDeadlineExceeded:
		if !remote {
			f.try = []string{t.unreached(err)}
		}
	case bus.CodeInvalidArgument:
		if remote { // the service says so of the connect arguments, if of anything
			f.exit, f.try = exitFailed, []string{"--args JSON                       the connect arguments that the service wants"}
		}
	case bus.CodeFailedPrecondition:
		if remote {
			break
		}
		t.ownFile(f, e.Reason)
	case bus.CodeUnauthenticated, bus.CodeCertificateExpired, bus.CodeCertificateRevoked:
		if errors.As(err, new(*tls.CertificateVerificationError)) { // it is the server's that is not good
			f.details = t.believed()
			if errors.As(err, new(x509.UnknownAuthorityError)) {
				f.try = []string{"--ca FILE                         the CA that signed the server's certificate"}
			}
			break
		}
		f.details = t.shown()
		f.try = []string{
			"busd pki show " + t.cert + "    who it is, who signed it, until when",
			"--cert FILE --key FILE            a certificate whose CA the server believes",
		}
	case bus.CodeNotFound:
		f.try = []string{"the server's services are named in its log, and in its configuration"}
	case bus.CodeResourceExhausted:
		f.try = []string{"again in a while: the server is full"}
	}
	return f
}

// ownFile completes a fault of a file that proves who we are, or whom to
// believe.
func (t *target) ownFile(f *fault, reason string) {
	f.exit = exitAuth
	if strings.HasPrefix(reason, "CA file ") {
		f.details = t.believed()
		f.try = []string{"--ca FILE                         a PEM file with the CA that signed the server's certificate"}
		return
	}
	f.details = t.shown()
	f.try = []string{"busd pki issue client NAME        a certificate and its key"}
}

// unreached is advice for whoever did not reach a server.
func (t *target) unreached(err error) string {
	host, loopback := t.host()
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) && loopback:
		return "busd serve --dev                  a server on this machine, or another URL"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "look whether busd serves on " + host + ", and on that port"
	case errors.As(err, new(*net.DNSError)):
		return "another URL: is " + host + " written as it should be?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "look at this machine's network, and at the address in the URL"
	case bus.CodeOf(err) == bus.CodeDeadlineExceeded, errors.As(err, &timeout) && timeout.Timeout():
		return "again in a while: " + host + " does not answer; it is down or busy, or a firewall is between"
	}
	return "another URL: is it busd that answers there? --debug shows what it said"
}

// host returns the host of the URL, and whether it is this machine by its
// name.
func (t *target) host() (name string, loopback bool) {
	u, err := url.Parse(t.url)
	if err != nil { // [address] made it
		return t.url, false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname(), u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
