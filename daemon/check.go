package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"busd/daemon/internal/cli"
	"busd/daemon/internal/config"
	"busd/internal/auth"
	"busd/internal/mtls"
	"busd/rpc"
)

// check is "busd serve --check": it reads everything that serve would read,
// listens nowhere and writes no file. Services' Init does not run.
func (p *program) check(_ context.Context, o cli.ServeOptions) error {
	c, warnings, err := p.load(o)
	if err != nil {
		return err
	}
	nobody, accessErr := p.checkAccess(c, o.Dev)
	for _, w := range append(warnings, nobody...) {
		fmt.Fprintln(o.Stderr, "busd: warning: "+w)
	}
	var certs *mtls.Source
	faults := []error{accessErr, checkDeny(c)}
	if !o.Dev { // which makes its own
		certs, err = readCertificates(c, mtls.Tickets{}) // in memory
		faults = append(faults, err)
		if _, err := newDenials(c, func(*mtls.DenyList) {}); err != nil && checkDeny(c) == nil {
			faults = append(faults, err)
		}
		if err := (mtls.Tickets{File: c.TLS.SessionTickets}).Check(); err != nil {
			faults = append(faults, certificateFault(c, err))
		}
	}
	_, err = newAuth(c, new(mtls.Verifier)) // which nobody asks
	faults = append(faults, err)
	served, err := p.checkServices(c)
	if err := together(append(faults, err)); err != nil {
		return err
	}
	name := o.ConfigFile
	if name == "" {
		name = "the configuration"
	}
	_, err = fmt.Fprintf(o.Stdout, "%s is valid\n  services   %s\n  listeners  %s\n", name, served, listenersOf(c))
	if err != nil || certs == nil {
		return err
	}
	return printCertificate(o.Stdout, certs.Leaf().NotAfter)
}

func printCertificate(w io.Writer, end time.Time) error {
	note := ""
	if left := time.Until(end); left <= 0 {
		note = ": expired"
	}
	_, err := fmt.Fprintf(w, "  tls        the certificate is valid until %s%s\n", end.UTC().Format(time.RFC3339), note)
	return err
}

func (p *program) checkServices(c *config.Config) (names string, err error) {
	services, err := p.enabled(c)
	if err != nil {
		return "", err
	}
	list := make([]string, len(services))
	for i, svc := range services {
		list[i] = svc.Name()
		svc.Init = nil // it may change the world, and this program ends here
		if m, ok := svc.Methods.(*rpc.Service); ok {
			m.Init = nil
		}
	}
	id := identification{authenticate: new(auth.Authenticator).Authenticate} // which nobody asks
	if _, err = newMethods(c, silence(), id, nil, services); err != nil {
		return "", err
	}
	_, err = newBus(c, silence(), id, services)
	return strings.Join(list, ", "), err
}

func listenersOf(c *config.Config) string {
	var list []string
	for _, l := range c.Listeners {
		if serves(c, l) {
			list = append(list, l.Address+" ("+strings.Join(append([]string{l.ClientCertificate}, l.Services...), ", ")+")")
		}
	}
	return strings.Join(list, ", ")
}

// together makes one configuration error of several, so that all are told at
// once.
func together(errs []error) error {
	all := &config.Error{}
	var other error
	for _, err := range errs {
		var e *config.Error
		switch {
		case errors.As(err, &e):
			all.Faults = append(all.Faults, e.Faults...)
		case err != nil && other == nil:
			other = err
		}
	}
	switch {
	case len(all.Faults) == 0:
		return other
	case other != nil:
		all.Faults = append(all.Faults, &config.Fault{Reason: other.Error()})
	}
	return all
}
