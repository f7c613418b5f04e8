package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"busd/bus"
	"busd/internal/mtls"
)

// present shows the client's certificate to the server, which has proved who it
// is, and asks for the contract: in TLS 1.3 a client learns from the first answer
// whether its certificate was taken. It tells whether it was not refused.
func (e *examination) present(ctx context.Context) bool {
	c, err := e.secure(ctx, e.clientTLS())
	if err != nil {
		return e.refused(ctx, StepAccepted, err)
	}
	defer func() { _ = c.Close() }() // what was to be learned of it is known
	a, err := e.get(ctx, c)
	if err != nil {
		return e.refused(ctx, StepAccepted, err)
	}
	e.compareClocks(a.header)
	e.answer = a
	if said := a.refusal(); e.refusedBy(StepAccepted, said) {
		return false
	}
	if e.Cert != "" && a.status != 401 {
		e.ok(StepAccepted, "accepted", "the server took the certificate%s", e.namedCAs(". It believes "))
	}
	return true
}

// clientTLS is the configuration that a client of the bus uses, without sessions
// from before: they would hide what a new client meets.
func (e *examination) clientTLS() *tls.Config {
	conf := e.loaded.TLS(e.host)
	conf.ClientSessionCache = nil
	show := conf.GetClientCertificate
	conf.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		e.asked = asked
		if show == nil {
			return new(tls.Certificate), nil
		}
		return show(asked)
	}
	return conf
}

// refused says why a handshake in which the certificate was shown came to nothing,
// or the first answer after it. It is false.
func (e *examination) refused(ctx context.Context, step Step, err error) bool {
	alert := alertOf(err)
	shown := "your certificate " + e.Cert
	f := Finding{Step: step, Level: Fail}
	switch alert {
	case "unknown_ca":
		f.Code, f.Seen = "refused_unknown_ca", fmt.Sprintf("the server does not believe the CA that signed %s: %s", shown, e.issuerOfOwn())
		f.Seen += e.namedCAs("; it believes ")
		f.Try = []string{"--cert FILE --key FILE            a certificate of a CA that the server believes", "on the server: add the CA to tls.client_ca"}
	case "certificate_expired":
		f.Code, f.Seen = "refused_expired", fmt.Sprintf("the server says that %s is expired, or not valid yet", shown)
		f.Try = []string{"busd pki renew " + e.Cert + "    if a CA of busd pki signed it", "look at both clocks: here it is " + moment(e.Now())}
	case "certificate_revoked":
		f = e.revoked(step)
	case "certificate_required":
		f.Code, f.Seen = "refused_required", "the server demands a certificate in the handshake, and there was none to show"
		f.Try = []string{"--cert FILE --key FILE            a certificate whose CA the server believes"}
	case "bad_certificate", "unsupported_certificate", "certificate_unknown", "access_denied", "decrypt_error", "bad_certificate_status_response":
		f = e.refusedSomehow(step, alert, mtls.Explain(err).Reason)
	case "":
		e.broken(step, err)
		return false
	default:
		f = e.notTLS(ctx, err)
		f.Step = step
	}
	e.find(f)
	return false
}

// refusedSomehow is for alerts that say little: what is known from the files says
// more.
func (e *examination) refusedSomehow(step Step, alert, reason string) Finding {
	if e.has("own_revoked") {
		return e.revoked(step)
	}
	f := Finding{
		Step: step, Level: Fail, Code: "refused", Seen: fmt.Sprintf("the server refused your certificate %s, and said only %s: %s", e.Cert, alert, reason),
		Try: []string{"the server's log, which says why", "busd pki show " + e.Cert + "    who it is, for what use, until when"},
	}
	if e.has("own_good") || e.has("own_expires_soon") {
		f.Seen += "; as far as can be seen from here it is good, so it was revoked or denied, or its name is of a kind that the server does not take"
		f.Try = append(f.Try, "on the server: tls.crl, tls.deny, tls.peer_name")
	}
	return f
}

// has tells whether something of a code was found.
func (e *examination) has(c Code) bool {
	return slices.ContainsFunc(e.report.Findings, func(f Finding) bool { return f.Code == c })
}

// revoked is the finding for a certificate that was revoked.
func (e *examination) revoked(step Step) Finding {
	return Finding{
		Step: step, Level: Fail, Code: "refused_revoked", Seen: "your certificate " + e.Cert + " was revoked: the server will not take it again",
		Try: []string{"busd pki issue client NAME        another certificate, with a new key"},
	}
}

// issuerOfOwn is who signed the client's certificate.
func (e *examination) issuerOfOwn() string {
	if len(e.own) == 0 {
		return "there is none"
	}
	return issuerOf(e.own[len(e.own)-1])
}

// namedCAs says which CAs the server named when it asked for a certificate;
// empty, if it named none.
func (e *examination) namedCAs(before string) string {
	const most = 5 // a grid believes a hundred
	if e.asked == nil || len(e.asked.AcceptableCAs) == 0 {
		return ""
	}
	names := make([]string, 0, len(e.asked.AcceptableCAs))
	same := false
	for _, der := range e.asked.AcceptableCAs {
		names = append(names, nameOf(der, "a name that cannot be read"))
		same = same || len(e.own) > 0 && bytes.Equal(der, e.own[len(e.own)-1].RawIssuer)
	}
	names = slices.Compact(names)
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	text := before + strings.Join(names, ", ")
	if same && strings.HasPrefix(before, ";") {
		text += ": another CA of the same name; it was made anew"
	}
	return text
}

// broken says that no answer came after the handshake.
func (e *examination) broken(step Step, err error) {
	f := Finding{Step: step, Level: Fail}
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)):
		f.Step, f.Code, f.Seen = StepServer, "server_chain_invalid", "the server's certificate is not believed: "+lastCause(err)
	case timedOut(err):
		f.Code, f.Seen = "upgrade_silent", fmt.Sprintf("the server did not answer an HTTP request in %s", e.Timeout)
		f.Try = []string{"the server hangs or is overloaded, or what listens there does not speak HTTP"}
	case closed(err):
		f.Code, f.Seen = "upgrade_closed", "the server closed the connection after the handshake, and did not say why"
		f.Try = []string{"the server's log", "if a proxy is in front: does it pass TLS and WebSockets on?"}
	default:
		f.Code, f.Seen = "upgrade_closed", "what the server answered is not HTTP: "+lastCause(err)
		f.Try = []string{"another port: look which program listens there"}
	}
	e.find(f)
}

// refusal is what busd says of why; the zero refusal where another program
// answers.
func (a *answer) refusal() refusal {
	var r refusal
	if a.status < 400 || json.Unmarshal(a.body, &r) != nil {
		return refusal{}
	}
	return r
}

// refusedBy takes note of a certificate that is no good any more, where the
// server says so by HTTP or in a drop.
func (e *examination) refusedBy(step Step, r refusal) bool {
	switch {
	case r.is(bus.CodeCertificateRevoked):
		e.find(e.revoked(step))
	case r.is(bus.CodeCertificateExpired):
		e.fail(step, "refused_expired", fmt.Sprintf("the server says that your certificate %s is expired: %s", e.Cert, r.Reason),
			"busd pki renew "+e.Cert+"    if a CA of busd pki signed it", "look at both clocks: here it is "+moment(e.Now()))
	default:
		return false
	}
	return true
}
