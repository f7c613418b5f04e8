package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"busd/internal/mtls"
	"busd/schema"
)

// Defaults of [Options].
const (
	// DefaultTimeout bounds each step.
	DefaultTimeout = 10 * time.Second
	// DefaultHelloTimeout bounds the hello: a service may take 15 s to answer it.
	DefaultHelloTimeout = 30 * time.Second
)

const (
	// maxAddresses bounds the addresses of a name that are tried.
	maxAddresses = 8
	// soon is how long before its end a certificate is warned of at the most: else
	// in the last tenth of its life.
	soon = 14 * 24 * time.Hour
	// clockSlack is how far clocks may differ: certificates of busd begin five
	// minutes in the past, others in the very second.
	clockSlack = time.Minute
)

// Options say what to examine. URL is required; the zero values of everything
// else work.
type Options struct {
	// URL is the service's: wss://host:port/System/Component.
	URL string
	// Cert and Key are the client's certificate and key, PEM files; empty: it has
	// none. CA are the CAs that it believes, files or directories; empty: those of
	// the system.
	Cert, Key string
	CA        []string
	// Args are the connect arguments, for services that want some.
	Args map[string]any
	// Contract is what the client was built with; nil: nothing is compared.
	Contract *schema.Schema
	// Known are names of services that may be meant.
	Known []string
	// Proxy is the name of a variable by which others would use a proxy; empty:
	// none is set.
	Proxy string
	// Timeout bounds each step, HelloTimeout the hello; 0 is 10 s and 30 s.
	Timeout, HelloTimeout time.Duration
	// Version is what the hello says of the program.
	Version string
	// Report is told of each finding as it is made; nil: nobody is.
	Report func(Finding)

	// Resolver looks names up; nil is the machine's. Now is the machine's clock; nil
	// is time.Now. Both are for tests.
	Resolver *net.Resolver
	Now      func() time.Time
}

// An examination is one run through the steps.
type examination struct {
	Options
	report Report
	target *url.URL
	host   string // without port and brackets

	loaded *mtls.Loaded   // nil: the own files, or the CAs', cannot be used
	cas    []believed     // what is in the CA files, for their names
	roots  *x509.CertPool // nil: those of the system
	trust  bool           // whom to believe is known
	own    []*x509.Certificate

	address   string // ip:port of the server, once it was reached
	clockSeen bool
	asked     *tls.CertificateRequestInfo // what the server says of certificates; nil: it wants none
	answer    *answer                     // to the plain GET
}

// believed is a CA that is believed, and where it stands.
type believed struct {
	file string
	cert *x509.Certificate
}

// Examine goes through the steps, until one fails that the next ones need, or
// ctx ends. Findings come in the order of the steps.
func Examine(ctx context.Context, o Options) (*Report, error) {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.HelloTimeout == 0 {
		o.HelloTimeout = DefaultHelloTimeout
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	target, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("URL: %w", err)
	}
	e := &examination{Options: o, target: target, host: target.Hostname(), report: Report{URL: o.URL, Findings: []Finding{}}}
	e.run(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	failed, _ := e.report.Failed()
	e.report.Good = failed == nil
	e.report.NotTried = e.notTried()
	return &e.report, nil
}

func (e *examination) run(ctx context.Context) {
	e.ok(StepURL, "url_good", "service %s at %s, port %s", strings.TrimPrefix(e.target.Path, "/"), e.host, e.target.Port())
	usable := e.ownFiles()
	addresses := e.resolve(ctx)
	if len(addresses) == 0 || !e.connect(ctx, addresses) {
		return
	}
	state, ok := e.handshake(ctx)
	if !ok || !e.judgeServer(state) || !usable || !e.present(ctx) {
		return
	}
	e.attach(ctx)
}

// notTried are the steps after the last of which something was found.
func (e *examination) notTried() []Step {
	left := steps
	for i, step := range steps {
		if e.found(step) {
			left = steps[i+1:]
		}
	}
	return slices.Clone(left)
}

func (e *examination) found(step Step) bool {
	return slices.ContainsFunc(e.report.Findings, func(f Finding) bool { return f.Step == step })
}

// find takes note of a finding.
func (e *examination) find(f Finding) {
	e.report.Findings = append(e.report.Findings, f)
	if e.Report != nil {
		e.Report(f)
	}
}

func (e *examination) ok(step Step, code Code, format string, a ...any) {
	e.find(Finding{Step: step, Level: OK, Code: code, Seen: fmt.Sprintf(format, a...)})
}

func (e *examination) warn(step Step, code Code, seen string, try ...string) {
	e.find(Finding{Step: step, Level: Warn, Code: code, Seen: seen, Try: try})
}

func (e *examination) fail(step Step, code Code, seen string, try ...string) {
	e.find(Finding{Step: step, Level: Fail, Code: code, Seen: seen, Try: try})
}

// resolve finds the addresses of the host.
func (e *examination) resolve(ctx context.Context) []netip.Addr {
	if ip, err := netip.ParseAddr(e.host); err == nil {
		e.ok(StepName, "name_not_needed", "%s is an address", e.host)
		return []netip.Addr{ip}
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	began := time.Now()
	found, err := e.Resolver.LookupNetIP(ctx, "ip", e.host)
	if err != nil || len(found) == 0 {
		e.unresolved(err)
		return nil
	}
	all := make([]string, len(found))
	for i := range found {
		found[i] = found[i].Unmap()
		all[i] = found[i].String()
	}
	more := ""
	if len(found) > maxAddresses {
		more = fmt.Sprintf("; the first %d are tried", maxAddresses)
		found = found[:maxAddresses]
	}
	e.ok(StepName, "name_found", "%s is %s, in %s%s", e.host, strings.Join(all, ", "), short(time.Since(began)), more)
	return found
}

// short is a time as people read it.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// span is a longer time as people say it.
func span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", int(d.Seconds()))
}

// moment is a point in time as people read it.
func moment(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

// nameOf is a distinguished name as the rest of busd writes it.
func nameOf(der []byte, otherwise string) string {
	if dn, err := mtls.DN(der); err == nil && dn != "" {
		return dn
	}
	return otherwise
}

func subjectOf(c *x509.Certificate) string { return nameOf(c.RawSubject, c.Subject.String()) }

func issuerOf(c *x509.Certificate) string { return nameOf(c.RawIssuer, c.Issuer.String()) }

// endsSoon tells whether a certificate is near its end.
func endsSoon(c *x509.Certificate, now time.Time) bool {
	left := c.NotAfter.Sub(now)
	return left < min(soon, c.NotAfter.Sub(c.NotBefore)/10)
}
