package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"busd/bus"
	"busd/internal/nearest"
	"busd/internal/wire"
	"busd/internal/ws"
)

// attach takes the steps from the upgrade to the ping.
func (e *examination) attach(ctx context.Context) {
	sock := e.upgrade(ctx)
	if sock == nil {
		return
	}
	e.ok(StepUpgrade, "upgraded", "a WebSocket that speaks %s", wire.Subprotocol)
	if !e.mayGreet(ctx, sock) {
		return
	}
	if sock = e.upgrade(ctx); sock == nil {
		return
	}
	e.greet(ctx, sock)
}

// upgrade opens a WebSocket; nil: it could not.
func (e *examination) upgrade(ctx context.Context) *ws.Socket {
	limited, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	d := ws.Dialer{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return e.dial(ctx, e.address) },
		TLS:         e.clientTLS(), UserAgent: "busd-doctor/" + e.Version,
	}
	sock, err := d.Dial(limited, e.URL, wire.Subprotocol)
	if err == nil {
		return sock
	}
	var status *ws.StatusError
	var known *bus.Error
	switch {
	case errors.As(err, &status):
		errors.As(err, &known)
		e.notUpgraded(status, known)
	case bus.CodeOf(err) == bus.CodeUnsupportedVersion:
		e.find(e.wrongVersion("it upgraded to a WebSocket, but not to one that speaks " + wire.Subprotocol))
	default:
		e.refused(ctx, StepUpgrade, err)
	}
	return nil
}

func (e *examination) wrongVersion(what string) Finding {
	return Finding{
		Step: StepUpgrade, Level: Fail, Code: "wrong_version", Seen: "the server does not speak this version of the protocol: " + what,
		Try: []string{"busd version                      compare it with the server's: the newer of the two speaks another version"},
	}
}

// service is the service's name.
func (e *examination) service() string { return strings.TrimPrefix(e.target.Path, "/") }

// notUpgraded says what a status means.
func (e *examination) notUpgraded(status *ws.StatusError, known *bus.Error) {
	said := refusal{}
	_ = json.Unmarshal([]byte(status.Body), &said) // what busd says; another program says nothing that counts
	if e.refusedBy(StepUpgrade, said) {
		return
	}
	f := Finding{Step: StepUpgrade, Level: Fail}
	switch code := status.Status; {
	case code == http.StatusUnauthorized:
		f.Code, f.Seen = "not_authenticated", "the server knows nobody by what was shown"
		f.Try = e.toBeKnown()
	case code == http.StatusForbidden:
		f.Code, f.Seen = "forbidden", "the server knows the certificate, and lets its owner not connect"
		f.Try = []string{"on the server: the registry and the rules (access.*, services.*.access), and tls.peer_name", "busd call " + e.URL + " whoami    who you are there"}
	case code == http.StatusNotFound:
		f.Code, f.Seen = "unknown_service", fmt.Sprintf("there is no service %s at %s", e.service(), e.target.Host)
		f.Try = e.otherServices()
	case code == http.StatusUpgradeRequired:
		f = e.wrongVersion("it wants another than " + wire.Subprotocol)
	case code >= 300 && code < 400:
		f.Code, f.Seen = "redirected", "the server sends clients elsewhere, where busd's clients do not follow"
		if e.answer != nil && e.answer.header.Get("Location") != "" {
			f.Seen += ": to " + e.answer.header.Get("Location")
		}
		f.Try = []string{"the address of busd itself in the URL: something else answers here"}
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		f.Code, f.Seen = "busy", "the server takes no connection now"
		f.Try = []string{"again in a while; if it stays so: the bounds on the server (limits.connections, limits.connections_per_peer)"}
		if known.Retry.After > 0 {
			f.Seen += ", and asks to wait for " + known.Retry.After.String()
		}
	case code == http.StatusBadGateway, code == http.StatusGatewayTimeout:
		f.Code, f.Seen = "bad_gateway", "a proxy answers, which does not reach the server behind it"
		f.Try = []string{"look whether busd serves where the proxy looks for it"}
	case code == http.StatusInternalServerError:
		f.Code, f.Seen = "server_error", "the server failed at it"
		f.Try = []string{"the server's log"}
	default:
		f.Code, f.Seen = "not_upgraded", "what answers does not upgrade to a WebSocket"
		f.Try = []string{"another URL: is it busd that answers there?"}
		if e.answer != nil && e.answer.status == http.StatusOK && isContract(e.answer.body) {
			f.Seen += ", though plain requests reach the service: something in between takes the upgrade away"
			f.Try = []string{"let the proxy in between pass on the headers Upgrade and Connection"}
		}
	}
	f.Seen += fmt.Sprintf(" (HTTP %d", status.Status)
	if said.Reason != "" {
		f.Seen += ": " + said.Reason
	}
	f.Seen += ")" + e.answeredBy()
	e.find(f)
}

// toBeKnown is advice for whom the server does not know.
func (e *examination) toBeKnown() []string {
	if e.Cert == "" {
		return []string{"--cert FILE --key FILE            a certificate whose CA the server believes"}
	}
	return []string{
		"if a TLS proxy is in front: it keeps the certificate to itself; let it pass TLS through, or the certificate on (auth.trusted_proxies)",
		"busd pki show " + e.Cert + "    who it is",
	}
}

// otherServices says which services may be meant.
func (e *examination) otherServices() []string {
	advice := []string{"the server's services are named in its log, and in its configuration"}
	if near := nearest.Word(e.service(), e.Known); near != "" && near != e.service() {
		return append([]string{"wss://" + e.target.Host + "/" + near}, advice...)
	}
	if len(e.Known) > 0 {
		return append([]string{"this program has " + strings.Join(e.Known, ", ")}, advice...)
	}
	return advice
}

// answeredBy names the program that answered, if it says so: busd does not.
func (e *examination) answeredBy() string {
	if e.answer == nil {
		return ""
	}
	text := ""
	for _, name := range []string{"Server", "Via"} {
		if value := e.answer.header.Get(name); value != "" {
			text += fmt.Sprintf("; %s: %s", strings.ToLower(name), value)
		}
	}
	return text
}
