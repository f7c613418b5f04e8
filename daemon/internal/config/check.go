package config

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Fault makes a fault of a key of this configuration, which points at the
// place where the key was said. path is as in [Change], or ends in the index of
// an element of a list; a key that was not said itself points at the section
// around it that was.
func (c *Config) Fault(path, format string, a ...any) *Fault {
	at := path
	for at != "" && c.origins[at] == (origin{}) {
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	return c.origins[at].fault(path, format, a...)
}

// check looks at what no key shows alone.
func (l *loader) check() {
	c := l.config
	if !l.options.Dev {
		l.required("tls.certificate", c.TLS.Certificate != "")
		l.required("tls.key", c.TLS.Key != "")
		l.required("tls.client_ca", len(c.TLS.ClientCA) > 0)
	}
	if len(c.TLS.PeerName) == 0 {
		l.add(c.Fault("tls.peer_name", "want at least one of spiffe, uri, dns, email, cn, dn, or auto"))
	}
	for i, kind := range c.TLS.PeerName {
		for _, other := range c.TLS.PeerName[:i] {
			if other == kind {
				l.add(c.Fault("tls.peer_name", "%s is there twice", kind))
			}
		}
		if kind == "auto" && len(c.TLS.PeerName) > 1 {
			l.add(c.Fault("tls.peer_name", "auto stands alone"))
		}
	}
	if c.KeepAlive.Idle <= 2*c.KeepAlive.Interval {
		l.add(c.Fault(l.saidOf("keep_alive.idle", "keep_alive.interval"),
			"keep_alive.idle (%s) must be more than twice keep_alive.interval (%s)", c.KeepAlive.Idle, c.KeepAlive.Interval))
	}
	l.checkAddresses()
	l.checkTokens()
	l.checkServices()
}

// required reports a key that was not said, unless something else is wrong
// with it.
func (l *loader) required(path string, said bool) {
	if said || l.reported(path) {
		return
	}
	l.add(origin{where: l.name}.fault(path, "it is required and missing; %s sets it too (busd serve --dev needs none)", environName(path)))
}

// saidOf returns the first of the keys that was said anywhere.
func (l *loader) saidOf(paths ...string) string {
	for _, path := range paths {
		if _, ok := l.config.origins[path]; ok {
			return path
		}
	}
	return paths[0]
}

func (l *loader) checkAddresses() {
	c := l.config
	seen := map[string]string{}
	look := func(path, address string) {
		if l.options.Dev && address != "" && !loopback(address) {
			l.add(c.Fault(path, "development mode listens on loopback only (127.0.0.1, [::1] or localhost), got %s", address))
		}
		if _, port, err := net.SplitHostPort(address); err != nil || port == "0" {
			return
		}
		if first, twice := seen[address]; twice {
			l.add(c.Fault(path, "%s is the address of %s already", address, first))
			return
		}
		seen[address] = path
	}
	for i, one := range c.Listeners {
		look(indexed("listeners", i)+".address", one.Address)
	}
	look("admin.address", c.Admin.Address)
}

// checkTokens looks for what is required of each issuer.
func (l *loader) checkTokens() {
	issuers := map[string]bool{}
	for i, t := range l.config.Auth.Tokens {
		at := indexed("auth.tokens", i)
		for _, required := range []struct {
			key  string
			said bool
		}{{"issuer", t.Issuer != ""}, {"jwks", len(t.JWKS) > 0}, {"audience", len(t.Audience) > 0}} {
			path := at + "." + required.key
			if !required.said && !l.reported(path) {
				l.add(l.config.Fault(path, "it is required and missing"))
			}
		}
		if issuers[t.Issuer] {
			l.add(l.config.Fault(at+".issuer", "%s is there twice", t.Issuer))
		}
		issuers[t.Issuer] = true
	}
}

// reported tells whether something is wrong with a key already.
func (l *loader) reported(path string) bool {
	return slices.ContainsFunc(l.list, func(f *Fault) bool { return f.Key == path })
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // reported already
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.Unmap().IsLoopback())
}

func (l *loader) checkServices() {
	c, enabled := l.config, 0
	for _, name := range l.options.Services {
		s := c.Services[name]
		if s.Enabled {
			enabled++
		}
		if s.MaxMessage > 0 && s.Credit > 0 && s.MaxMessage > s.Credit/4 {
			l.add(c.Fault("services."+name+".max_message", "%s is more than a quarter of credit, %s", s.MaxMessage, s.Credit))
		}
	}
	if enabled == 0 && len(l.options.Services) > 0 {
		l.add(c.Fault("services", "every service is disabled: there is nothing to serve"))
	}
	l.checkServed()
}

// checkServed looks at which listener serves what.
func (l *loader) checkServed() {
	c := l.config
	served, all := map[string]bool{}, false
	for i, listener := range c.Listeners {
		all = all || len(listener.Services) == 0
		for j, name := range listener.Services {
			path := indexed(indexed("listeners", i)+".services", j)
			if !slices.Contains(l.options.Services, name) {
				l.add(c.Fault(path, "%s: %s", name, l.noService(name)))
			}
			served[name] = true
		}
	}
	for _, name := range l.options.Services {
		if !all && !served[name] && c.Services[name].Enabled {
			l.add(c.Fault("listeners", "none of them serves %s: name it under services of one, or disable it (services: {%s: {enabled: false}})", name, name))
		}
	}
}
