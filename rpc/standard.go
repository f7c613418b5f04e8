package rpc

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"busd/access"
	"busd/rpc/jencode"
)

// addStandard adds the methods that every service has.
func (s *Service) addStandard() {
	for _, std := range []struct {
		name, doc string
		allow     access.Rule
		fn        any
		params    []string
	}{
		{"ping", "Tells that the service lives, since when, and how its host does.", access.Any, s.ping, nil},
		{"echo", "Returns what it was given.", access.Any, echo, []string{"data"}},
		{"whoami", "Tells the caller who he is to the service.", access.Authenticated, whoami, nil},
	} {
		m := Export(s, std.name, std.fn).Named(std.params...).Describe(std.doc)
		m.Allow, m.standard, m.quick = std.allow, true, true
	}
}

// echo passes its argument on unread, so that it costs nothing.
func echo(data jencode.Raw) jencode.Raw { return data }

// ping has the keys of DIRAC's, which monitors read. Times are UTC, uptimes and
// times of the processor seconds.
func (s *Service) ping() map[string]any {
	now, since := time.Now(), s.bound().since
	version := s.Version
	if version == "" {
		version = programVersion()
	}
	host := readHost()
	return map[string]any{
		"version":            version,
		"time":               now.UTC(),
		"host uptime":        int64(host.uptime.Seconds()),
		"service start time": since.UTC(),
		"service uptime":     int64(now.Sub(since).Seconds()),
		"load":               host.load,
		"name":               s.name,
		"cpu times": map[string]any{
			"user time":            host.user.Seconds(),
			"system time":          host.system.Seconds(),
			"children user time":   host.childrenUser.Seconds(),
			"children system time": host.childrenSystem.Seconds(),
			"elapsed real time":    host.uptime.Seconds(),
		},
	}
}

// A host is what ping says of where it runs; zero where that is not known.
type host struct {
	uptime time.Duration
	// load is the average of 1, 5 and 15 minutes.
	load string
	// Of this process, and of its children that have ended.
	user, system, childrenUser, childrenSystem time.Duration
}

// programVersion is that of the program's module.
var programVersion = sync.OnceValue(func() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
})

// credentials are what whoami says. The names are DIRAC's.
type credentials struct {
	Subject        string   `bus:"subject" doc:"of the certificate that was shown; a token's subject"`
	Issuer         string   `bus:"issuer" doc:"of the certificate that was shown; a token's issuer"`
	SecondsLeft    int64    `bus:"secondsLeft" doc:"until the credential expires; 0: it does not"`
	IsProxy        bool     `bus:"isProxy" doc:"it is a proxy certificate"`
	IsLimitedProxy bool     `bus:"isLimitedProxy" doc:"it is a limited proxy certificate"`
	ValidDN        bool     `bus:"validDN" doc:"the caller is known"`
	ValidGroup     bool     `bus:"validGroup" doc:"he acts in a group of his, or is a host"`
	Identity       *string  `bus:"identity" doc:"of a proxy certificate: the DN of its user"`
	DN             string   `bus:"DN" doc:"who he is for this call; empty: a token says"`
	Properties     []string `bus:"properties" doc:"of the group, or the host"`
	Group          string   `bus:"group"`
	Username       string   `bus:"username"`
	VO             *string  `bus:"VO" doc:"the group's virtual organisation"`
	Extra          *string  `bus:"extraCredentials" doc:"hosts: he is one"`
}

// whoami has the keys of DIRAC's. Its validDN and validGroup are true where DIRAC
// does not look, and says false.
func whoami(ctx context.Context) credentials {
	r := RequestOf(ctx)
	c, g := r.Caller, r.Grant
	who := credentials{
		ValidDN: g.Known, ValidGroup: g.ValidGroup, DN: g.DN, Group: g.Group, Username: g.User,
		Properties: append([]string{}, g.Properties...), // a list, also if there are none
	}
	if g.VO != "" {
		who.VO = &g.VO
	}
	if g.Host {
		hosts := "hosts"
		who.Extra = &hosts
	}
	if c == nil {
		return who
	}
	who.Subject, who.Issuer = c.Subject, c.Issuer
	who.IsProxy, who.IsLimitedProxy = c.Via == access.ViaProxy, c.Limited
	if c.Via == access.ViaToken {
		who.Subject, who.Issuer = c.TokenSubject, c.TokenIssuer
	}
	if who.IsProxy {
		who.Identity = &c.Peer.DN
	}
	if !c.NotAfter.IsZero() {
		who.SecondsLeft = int64(max(time.Until(c.NotAfter), 0).Seconds())
	}
	return who
}
