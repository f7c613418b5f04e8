package cli

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"busd/bus"
	"busd/rpc/rpcclient"
)

// failed says why a call failed, and what to try.
func (c *calling) failed(ctx context.Context, err error) error {
	if interrupted := orInterrupted(ctx, err); errors.Is(interrupted, errInterrupted) {
		return interrupted
	}
	var e *rpcclient.Error
	if !errors.As(err, &e) {
		return err
	}
	if errors.Is(err, rpcclient.ErrUnwritable) {
		return unwritable(c.output, err)
	}
	if e.Status == 0 && c.unreachedBy(e) {
		return c.cannot(ctx, err)
	}
	if errors.Is(err, rpcclient.ErrFile) {
		return &fault{
			what: c.method + " sends a file, which was not taken", exit: exitUsage,
			try: []string{"--output FILE    puts it there; - is standard output"},
		}
	}
	f := &fault{what: "cannot call " + c.method, cause: err, exit: callExit(e)}
	switch {
	case e.Returned:
		f.what = c.method + " failed"
	case e.Status == 0 && !e.Err.Remote && !errors.Is(err, rpcclient.ErrNotExecuted):
		f.what = "no answer came from " + c.method
		f.details = append(f.details, detail{"executed", "nobody knows: the call was sent, and is not sent twice"})
	}
	if e.RequestID != "" {
		f.details = append(f.details, detail{"request", e.RequestID})
	}
	if !e.Returned {
		c.advise(f, e.Err.Code)
	}
	return f
}

// unwritable says that a file of this machine cannot be written: the service is not
// at fault.
func unwritable(path string, err error) error {
	f := &fault{what: path + " cannot be written", exit: exitFailed}
	var failed *fs.PathError
	var unnamed *os.LinkError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.what, f.exit = "there is no directory "+filepath.Dir(path), exitNotFound
	case errors.Is(err, fs.ErrPermission):
		f.what, f.exit = path+" may not be written by you", exitNotAllowed
	case errors.As(err, &failed):
		f.cause = failed.Err
	case errors.As(err, &unnamed):
		f.cause = unnamed.Err
	default:
		f.what = path + " is there, and is no regular file"
	}
	return f
}

// unreachedBy tells whether an error is about the way to the service, and not about
// the call.
func (c *calling) unreachedBy(e *rpcclient.Error) bool {
	if !errors.Is(e, rpcclient.ErrNotExecuted) {
		return false
	}
	if e.Err.Remote && !errors.As(e, new(*net.OpError)) { // what is not a TLS alert is about the call
		return false
	}
	switch e.Err.Code { //nolint:exhaustive // the others are about the call
	case bus.CodeUnavailable, bus.CodeDeadlineExceeded, bus.CodeUnauthenticated, bus.CodeCertificateExpired,
		bus.CodeCertificateRevoked, bus.CodeFailedPrecondition, bus.CodeNotFound:
		return true
	}
	return false
}

// callExit says how the program ends; 0 leaves it to the code.
func callExit(e *rpcclient.Error) int {
	switch e.Err.Code { //nolint:exhaustive // the others mean what they mean elsewhere, too
	case bus.CodeInvalidArgument:
		if e.Returned {
			return exitFailed
		}
		return exitSchema
	case bus.CodeUnimplemented:
		return exitNotFound
	case bus.CodeUnavailable:
		if e.Status != 0 || e.Err.Remote { // the service says so, not the network
			return exitFailed
		}
	case bus.CodeUnauthenticated:
		if e.Returned {
			return exitFailed
		}
	}
	return 0
}

// advise completes a fault of a call that the service refused.
func (c *calling) advise(f *fault, code bus.Code) {
	switch code { //nolint:exhaustive // the others need no advice
	case bus.CodeInvalidArgument, bus.CodeUnimplemented, bus.CodeInvalidMessage:
		f.try = []string{"busd schema show " + c.url + "    its methods and their arguments"}
	case bus.CodeUnauthenticated:
		if c.cert != "" {
			f.details = append(f.details, c.shown()...)
		}
		f.try = []string{
			"--cert FILE --key FILE            a certificate whose CA the service believes",
			"--token-file FILE                 or a token of an issuer that it believes",
		}
	case bus.CodePermissionDenied:
		f.try = []string{
			"busd call " + c.url + " whoami     who you are there, and what you may do",
			"--group NAME                      another group of yours",
		}
	case bus.CodeNotFound:
		f.try = []string{"the server's services are named in its log, and in its configuration"}
	case bus.CodeResourceExhausted, bus.CodeUnavailable:
		f.try = []string{"again in a while: the service is busy, or not ready"}
	case bus.CodeDeadlineExceeded:
		f.try = []string{"--timeout D                       more time, if it is this command that gave up"}
	}
}
