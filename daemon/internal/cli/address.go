package cli

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"busd/schema"
)

// Defaults of addresses.
const (
	defaultPort = "8443"
	defaultBase = "wss://localhost:" + defaultPort
)

const wantAddress = "wss://host:port/System/Component, host:port/System/Component or System/Component"

// address returns the URL of a service. text is the whole URL, the same
// without its scheme, or only the service's name; then base, which may be
// empty, says where.
func address(text, base string) (string, error) {
	if schema.CheckService(text) == nil {
		if base == "" {
			base = defaultBase
		}
		at, err := parse(base)
		if err != nil {
			return "", &fault{what: "BUSD_URL", cause: err, exit: exitUsage}
		}
		return at + "/" + text, nil
	}
	at, err := parse(text)
	if err != nil {
		return "", err
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(text[strings.Index(text, "://")+1:], "//"), "/")
	if path == "" {
		return "", usage("write it as "+wantAddress, "%q names no service: want System/Component", text)
	}
	if err := schema.CheckService(path); err != nil {
		return "", &fault{what: "URL " + text, cause: err, exit: exitUsage, try: []string{"write it as " + wantAddress}}
	}
	return at + "/" + path, nil
}

// parse returns scheme, host and port of an address.
func parse(text string) (string, error) {
	whole := text
	if !strings.Contains(whole, "://") {
		whole = "wss://" + whole
	}
	u, err := url.Parse(whole)
	if err != nil || !isHost(u.Hostname()) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", usage("write it as "+wantAddress, "%q is not the URL of a service", text)
	}
	switch u.Scheme {
	case "wss", "https":
	case "ws", "http":
		return "", usage("write it as "+wantAddress, "URL %s: busd speaks TLS only", text)
	default:
		return "", usage("write it as "+wantAddress, "URL %s: there is no scheme %q", text, u.Scheme)
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return "wss://" + net.JoinHostPort(u.Hostname(), port), nil
}

// isHost reports whether text, a host without brackets, is a name or an
// address. url.Parse lets colons pass that no name may have.
func isHost(text string) bool {
	if strings.Contains(text, ":") {
		_, err := netip.ParseAddr(text)
		return err == nil
	}
	return text != ""
}
