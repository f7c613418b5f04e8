package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"busd/daemon/internal/config"
)

var services = []string{"Framework/PingPong", "Test/Other"}

const files = "tls: {certificate: server.crt, key: /etc/busd/server.key, client_ca: [ca.crt]}\n"

// load reads a configuration from a file with this text.
func load(t testing.TB, text string, o config.Options) (*config.Config, []string, error) {
	t.Helper()
	o.File = filepath.Join(t.TempDir(), "busd.yaml")
	if err := os.WriteFile(o.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.Services == nil {
		o.Services = services
	}
	c, warnings, err := config.Load(o)
	if err != nil {
		// The directory is another one each time.
		for _, f := range err.(*config.Error).Faults { //nolint:errorlint,forcetypeassert // the only type promised
			f.Where = strings.ReplaceAll(f.Where, o.File, "busd.yaml")
		}
	}
	return c, warnings, err
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, warnings, err := load(t, files, config.Options{})
	if err != nil || warnings != nil {
		t.Fatalf("got %v, %v", warnings, err)
	}
	if len(c.Listeners) != 1 || c.Listeners[0].Address != ":8443" || c.Listeners[0].ClientCertificate != "ask" || c.Listeners[0].Services != nil {
		t.Errorf("listeners: got %+v", c.Listeners)
	}
	if c.Admin.Address != "127.0.0.1:8444" || c.Limits.Connections != 50_000 || c.Limits.Handshakes != 0 ||
		c.Limits.HandshakeSize != 48<<10 || c.KeepAlive.Idle != 75*time.Second || c.Shutdown.Timeout != 30*time.Second ||
		c.Log != (config.Log{Level: "info", Format: "json"}) || !slices.Equal(c.TLS.PeerName, []string{"auto"}) ||
		c.Limits.SessionMemory != 64<<20 || c.Limits.WaitingPerAddress != 2000 {
		t.Errorf("got %+v", c)
	}
	if s := c.Services["Test/Other"]; !s.Enabled || s.MaxConnections != 0 || s.KeepOnError != nil || s.Window != nil {
		t.Errorf("service: got %+v, want enabled and the rest left to the program", s)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	c, _, err := load(t, files+`
node: {name: busd-1}
listeners:
  - address: 0.0.0.0:8443
  - {address: "[::1]:9443", client_certificate: require}
admin: {address: ""}
services:
  Framework/PingPong: {max_message: 64KiB, credit: 2MiB, keep_on_error: true, max_connections: 9}
  Test/Other: {enabled: false}
limits: {handshakes: 3, header_size: 32 KiB}
deny: [10.0.0.0/8, "2001:db8::1"]
keep_alive: {interval: 10s, idle: 1m}
timeouts:
origins: [https://example.org]
log: {level: debug, format: console}
`, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := c.Services["Framework/PingPong"]
	if s.MaxMessage != 64<<10 || s.Credit != 2<<20 || s.MaxConnections != 9 || s.KeepOnError == nil || !*s.KeepOnError || !s.Enabled {
		t.Errorf("service: got %+v", s)
	}
	if c.Services["Test/Other"].Enabled || c.Admin.Address != "" || c.Limits.Handshakes != 3 || c.Limits.HeaderSize != 32<<10 {
		t.Errorf("got %+v", c)
	}
	if len(c.Listeners) != 2 || c.Listeners[0].ClientCertificate != "ask" || c.Listeners[1].ClientCertificate != "require" {
		t.Errorf("listeners: got %+v", c.Listeners)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}
	if !slices.Equal(c.Deny, want) {
		t.Errorf("deny: got %v, want %v", c.Deny, want)
	}
	if filepath.Base(c.TLS.Certificate) != "server.crt" || !filepath.IsAbs(c.TLS.Certificate) || !filepath.IsAbs(c.TLS.ClientCA[0]) {
		t.Errorf("paths: got %+v, want them relative to the file", c.TLS)
	}
	if c.TLS.Key != "/etc/busd/server.key" {
		t.Errorf("key: got %q", c.TLS.Key)
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	text := files + `
listeners:
  - address: ":1"
    services: [Test/Other]
  - address: ":2"
    services: [Framework/PingPong]
auth:
  proxies: accept
  trusted_proxies: [10.0.0.1]
  tokens:
    - {issuer: https://idp.example.org, jwks: [keys.json, /etc/keys.json], audience: [busd], group_claim: grp}
access:
  users:
    zoe: {peers: ["dns:zoe"], tokens: [sub@idp], suspended: [lhcb]}
    alice:
      dn: [/O=Grid/CN=alice]
  hosts:
    node.example.org: {dn: [/CN=node], properties: [TrustedHost]}
  groups:
    users: {users: [zoe, alice], vo: lhcb}
    admins: {users: [zoe], properties: [ServiceAdministrator]}
  default_groups: [admins, users]
services:
  Test/Other:
    access: {default: [authenticated], connect: [], messages: {Ping: [any]}, methods: {add: ["group:users"]}}
    methods: {max_body: 10MiB, timeout: 5m}
`
	c, _, err := load(t, text, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Access{
		Users: []config.User{
			{Name: "zoe", Peers: []string{"dns:zoe"}, Tokens: []string{"sub@idp"}, Suspended: []string{"lhcb"}},
			{Name: "alice", DN: []string{"/O=Grid/CN=alice"}},
		},
		Hosts: []config.Host{{Name: "node.example.org", DN: []string{"/CN=node"}, Properties: []string{"TrustedHost"}}},
		Groups: []config.Group{
			{Name: "users", Users: []string{"zoe", "alice"}, VO: "lhcb"},
			{Name: "admins", Users: []string{"zoe"}, Properties: []string{"ServiceAdministrator"}},
		},
		DefaultGroups: []string{"admins", "users"},
	}
	if !reflect.DeepEqual(c.Access, want) {
		t.Errorf("got %+v\nwant %+v, in the order of the file", c.Access, want)
	}
	s := c.Services["Test/Other"]
	wantRules := config.ServiceAccess{
		Default: []string{"authenticated"}, Connect: []string{},
		Messages: map[string][]string{"Ping": {"any"}}, Methods: map[string][]string{"add": {"group:users"}},
	}
	if !reflect.DeepEqual(s.Access, wantRules) || s.Methods != (config.ServiceMethods{MaxBody: 10 << 20, Timeout: 5 * time.Minute}) {
		t.Errorf("got %+v, %+v", s.Access, s.Methods)
	}
	tokens := c.Auth.Tokens[0]
	if c.Auth.Proxies != "accept" || len(c.Auth.TrustedProxies) != 1 || tokens.GroupClaim != "grp" || len(tokens.Algorithms) != 0 ||
		!filepath.IsAbs(tokens.JWKS[0]) || tokens.JWKS[1] != "/etc/keys.json" {
		t.Errorf("got %+v", c.Auth)
	}
	if c.Access.Empty() || s.Access.Empty() {
		t.Error("what is said counts as nothing")
	}
	if other := c.Services["Framework/PingPong"]; !other.Access.Empty() {
		t.Errorf("a service of which nothing is said: got %+v", other.Access)
	}

	// A fault points at the key; what was not said at what is around it.
	for path, want := range map[string]string{
		"access.users.alice.dn[0]":                     "busd.yaml:17:12",
		"access.users.alice.tokens":                    "busd.yaml:16:5",
		"access.hosts.node.example.org.properties[0]":  "busd.yaml:19:53",
		"access.groups.admins":                         "busd.yaml:22:5",
		"services.Test/Other.access.messages.Ping[0]":  "busd.yaml:26:71",
		"services.Test/Other.access.methods.add":       "busd.yaml:26:88",
		"services.Framework/PingPong.access.default":   "",
		"auth.tokens[0].jwks[1]":                       "busd.yaml:12:59",
		"services.Test/Other.access.messages.Pong[17]": "busd.yaml:25:3",
	} {
		got := strings.TrimPrefix(c.Fault(path, "x").Error(), filepath.Dir(c.TLS.Certificate)+"/")
		if !strings.HasPrefix(got, want) || want == "" && got != path+": x" {
			t.Errorf("%s: got %q, want it at %q", path, got, want)
		}
	}
}

// What a reload changes of the registry is told briefly, the order of groups
// too, and is in force without a restart.
func TestAccessChanges(t *testing.T) {
	t.Parallel()
	access := func(text string) *config.Config {
		c, _, err := load(t, files+text, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c.TLS = config.TLS{} // another directory
		return c
	}
	old := access("access:\n  users: {alice: {dn: [/CN=a]}, bob: {dn: [/CN=b]}}\n  groups: {x: {users: [alice]}, y: {users: [alice]}}\n")
	next := access("access:\n  users: {alice: {dn: [/CN=a, /CN=c]}, eve: {peers: [\"dns:eve\"]}}\n  groups: {y: {users: [alice]}, x: {users: [alice]}}\n" +
		"services: {Test/Other: {access: {messages: {Ping: [any]}}, methods: {timeout: 5m}}}\n")
	want := []config.Change{
		{Path: "access.groups", Old: "[x, y]", New: "[y, x]", Live: true},
		{Path: "access.users.alice.dn", Old: "[/CN=a]", New: "[/CN=a, /CN=c]", Live: true},
		{Path: "access.users.bob.dn", Old: "[/CN=b]", Live: true},
		{Path: "access.users.eve.peers", New: "[dns:eve]", Live: true},
		{Path: "services.Test/Other.access.messages.Ping", New: "[any]", Live: true},
		{Path: "services.Test/Other.methods.timeout", Old: "0s", New: "5m0s"},
	}
	if got := old.Changes(next); !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// A registry of a large institution is read in a moment.
func TestLargeRegistry(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(files + "access:\n  users:\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "    user%d:\n      dn: [\"/O=Grid/OU=Somewhere/CN=User Number %d\"]\n", i, i)
	}
	c, _, err := load(t, b.String(), config.Options{})
	if err != nil || len(c.Access.Users) != 5000 {
		t.Fatalf("got %v", err)
	}
}

func TestSessionTickets(t *testing.T) {
	t.Parallel()
	tls := strings.TrimSuffix(files, "}\n")
	for _, test := range []struct{ said, environ, want string }{
		{"", "", ""},
		{", session_tickets: off", "", ""},
		{`, session_tickets: ""`, "", ""},
		{", session_tickets: /var/lib/busd/tickets", "", "/var/lib/busd/tickets"},
		{", session_tickets: keys/tickets", "", "DIR/keys/tickets"},
		{", session_tickets: ./off", "", "DIR/off"},
		{", session_tickets: keys/tickets", "off", ""},
		{"", "tickets", "tickets"},
	} {
		c, _, err := load(t, tls+test.said+"}\n", config.Options{Environ: []string{"BUSD_TLS__SESSION_TICKETS=" + test.environ}})
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		want := strings.Replace(test.want, "DIR", filepath.Dir(c.TLS.Certificate), 1)
		if c.TLS.SessionTickets != want {
			t.Errorf("%+v: got %q, want %q", test, c.TLS.SessionTickets, want)
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		said, want string
	}{
		{"0", "0s"},
		{"0s", "0s"},
		{"90s", "1m30s"},
		{"24h", "24h0m0s"},
		{"25h", "services.Test/Other.window: want from 0s to 24h, got 25h"},
		{"-1s", "services.Test/Other.window: want from 0s to 24h, got -1s"},
		{"90", `services.Test/Other.window: want a duration with its unit, such as 30s or 2m, got "90"`},
		{"off", `services.Test/Other.window: want a duration with its unit, such as 30s or 2m, got "off"`},
	} {
		c, _, err := load(t, files+"services: {Test/Other: {window: "+test.said+"}}\n", config.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), test.want+"\n") {
				t.Errorf("%s: got %v, want %s", test.said, err, test.want)
			}
			continue
		}
		if got := c.Services["Test/Other"].Window; got == nil || got.String() != test.want {
			t.Errorf("%s: got %v, want %s", test.said, got, test.want)
		}
		before, _, err := load(t, files, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		changes := before.Changes(c)
		if len(changes) == 0 || changes[0] != (config.Change{Path: "services.Test/Other.window", New: test.want}) {
			t.Errorf("%s: got the changes %+v, want that of the window, which needs a restart", test.said, changes)
		}
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	o := config.Options{
		Environ: []string{
			"BUSD_LIMITS__CONNECTIONS=30", "BUSD_TLS__KEY=env.key", "BUSD_TLS__PEER_NAME=uri, dns", "BUSD_LISTEN=127.0.0.1:1",
			"BUSD_LOG__LEVEL=", "BUSD_SERVICES=Test/Other", "HOME=/root", "BUSD_URL=wss://x", "BUSD_DENY=10.0.0.0/8,192.168.0.1",
			"BUSD_LIMIT__CONNECTIONS=1",
		},
	}
	text := files + "listeners: [{address: 127.0.0.1:7, client_certificate: require, services: [Test/Other]}, {address: 127.0.0.1:8}]\n" +
		"limits: {connections: 20, connections_per_peer: 2}\nlog: {level: warn}\n"
	c, warnings, err := load(t, text, o)
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.Connections != 30 || c.Limits.ConnectionsPerPeer != 2 || c.Limits.NewPerAddress != 200 {
		t.Errorf("limits: got %+v, want 30 of the environment, 2 of the file, 200 by default", c.Limits)
	}
	if c.TLS.Key != "env.key" || !slices.Equal(c.TLS.PeerName, []string{"uri", "dns"}) || len(c.Deny) != 2 {
		t.Errorf("got %+v, %v", c.TLS, c.Deny)
	}
	if c.Log.Level != "warn" {
		t.Errorf("log.level: got %q: an empty variable is not set", c.Log.Level)
	}
	if l := c.Listeners[0]; len(c.Listeners) != 1 || l.Address != "127.0.0.1:1" || l.ClientCertificate != "require" || len(l.Services) != 0 {
		t.Errorf("listeners: got %+v, want one of the environment that serves all", c.Listeners)
	}
	if c.Services["Framework/PingPong"].Enabled || !c.Services["Test/Other"].Enabled {
		t.Errorf("services: got %+v, want Test/Other alone", c.Services)
	}
	wantWarning := `environment BUSD_LIMIT__CONNECTIONS means nothing here (did you mean "BUSD_LIMITS__CONNECTIONS"?)`
	if !slices.Equal(warnings, []string{wantWarning}) {
		t.Errorf("warnings: got %q, want %q", warnings, wantWarning)
	}

	o.Listen, o.Only = "[::1]:2", []string{"Framework/PingPong"}
	if c, _, err = load(t, text, o); err != nil {
		t.Fatal(err)
	}
	if c.Listeners[0].Address != "[::1]:2" || !c.Services["Framework/PingPong"].Enabled || c.Services["Test/Other"].Enabled {
		t.Errorf("got %+v, %+v: flags go before the environment", c.Listeners, c.Services)
	}
}

func TestDevelopment(t *testing.T) {
	t.Parallel()
	c, _, err := config.Load(config.Options{Dev: true, Services: services})
	if err != nil || c.Listeners[0].Address != "127.0.0.1:8443" || c.Log.Format != "console" {
		t.Fatalf("got %+v, %v", c, err)
	}
	for address, ok := range map[string]bool{
		"127.0.0.1:0": true, "127.9.9.9:1": true, "[::1]:0": true, "localhost:8443": true, "[::ffff:127.0.0.1]:1": true,
		":8443": false, "0.0.0.0:8443": false, "[::]:0": false, "192.0.2.1:8443": false, "example.org:1": false,
		"localhost.example.org:1": false, "[::ffff:192.0.2.1]:1": false,
	} {
		if _, _, err := config.Load(config.Options{Dev: true, Services: services, Listen: address}); (err == nil) != ok {
			t.Errorf("--listen %s: got %v", address, err)
		}
		if _, _, err := config.Load(config.Options{Dev: true, Environ: []string{"BUSD_ADMIN__ADDRESS=" + address}}); (err == nil) != ok {
			t.Errorf("admin.address %s: got %v", address, err)
		}
	}
	_, _, err = config.Load(config.Options{Dev: true, Listen: ":8443"})
	want := "--listen: listeners[0].address: development mode listens on loopback only (127.0.0.1, [::1] or localhost), got :8443"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	t.Parallel()
	_, _, err := config.Load(config.Options{Environ: []string{"BUSD_CONFIG=/nowhere/busd.yaml"}})
	if want := "/nowhere/busd.yaml: there is no such file"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{
			"unknown key", files + "limits:\n  conections: 10\n",
			"busd.yaml:3:3: limits.conections: there is no such key (did you mean \"connections\"?)\n\t  conections: 10\n\t  ~~~~~~~~~~",
		},
		{"unknown at the top", files + "zzz: 1\n", "busd.yaml:2:1: zzz: there is no such key\n\tzzz: 1\n\t~~~"},
		{
			"unknown in a list", files + "listeners:\n- adress: :1\n",
			"busd.yaml:3:3: listeners[0].adress: there is no such key (did you mean \"address\"?)\n\t- adress: :1\n\t  ~~~~~~",
		},
		{
			"unknown service", files + "services: {Framework/PingPon: {}}\n",
			"busd.yaml:2:12: services.Framework/PingPon: there is no such service here: there are Framework/PingPong, Test/Other (did you mean \"Framework/PingPong\"?)\n\tservices: {Framework/PingPon: {}}\n\t           ~~~~~~~~~~~~~~~~~",
		},
		{"twice", files + "node: {name: a}\nnode: {name: b}\n", "busd.yaml:3:1: node: it is there twice, first in line 2\n\tnode: {name: b}\n\t~~~~"},
		{"zero", files + "limits: {connections: 0}\n", "busd.yaml:2:23: limits.connections: want from 1 to 10000000, got 0: nothing can be unlimited\n\tlimits: {connections: 0}\n\t                      ~"},
		{"no number", files + "limits: {handshakes: many}\n", "busd.yaml:2:22: limits.handshakes: want a whole number or auto, got \"many\"\n\tlimits: {handshakes: many}\n\t                     ~~~~"},
		{"fraction", files + "limits: {connections: 1.5}\n", "busd.yaml:2:23: limits.connections: want a whole number, got \"1.5\"\n\tlimits: {connections: 1.5}\n\t                      ~~~"},
		{"no unit", files + "keep_alive: {interval: 30}\n", "busd.yaml:2:24: keep_alive.interval: want a duration with its unit, such as 30s or 2m, got \"30\"\n\tkeep_alive: {interval: 30}\n\t                       ~~"},
		{"no unit of size", files + "limits: {header_size: 16384}\n", "busd.yaml:2:23: limits.header_size: want a size with its unit, such as 256KiB or 1MiB, got \"16384\"\n\tlimits: {header_size: 16384}\n\t                      ~~~~~"},
		{"zero size", files + "limits: {header_size: 0KiB}\n", "busd.yaml:2:23: limits.header_size: want from 8KiB to 1MiB, got 0KiB: nothing can be unlimited\n\tlimits: {header_size: 0KiB}\n\t                      ~~~~"},
		{"word", files + "log: {level: inof}\n", "busd.yaml:2:14: log.level: want debug, info, warn or error, got \"inof\" (did you mean \"info\"?)\n\tlog: {level: inof}\n\t             ~~~~"},
		{"boolean", files + "services: {Test/Other: {enabled: yes}}\n", "busd.yaml:2:34: services.Test/Other.enabled: want true or false, got \"yes\"\n\tservices: {Test/Other: {enabled: yes}}\n\t                                 ~~~"},
		{"text", files + "node: {name: 5}\n", "busd.yaml:2:14: node.name: want a text, got a number (put 5 in quotes)\n\tnode: {name: 5}\n\t             ~"},
		{"no value", files + "admin:\n  address:\n", "busd.yaml:3:3: admin.address: it has no value\n\t  address:\n\t  ~~~~~~~"},
		{"list wanted", files + "deny: 10.0.0.0/8\n", "busd.yaml:2:7: deny: want a list, got a text\n\tdeny: 10.0.0.0/8\n\t      ~~~~~~~~~~"},
		{"mapping wanted", files + "limits: 5\n", "busd.yaml:2:9: limits: want a mapping, got a number\n\tlimits: 5\n\t        ~"},
		{"network", files + "deny: [10.0.0.1/8]\n", "busd.yaml:2:8: deny: 10.0.0.1/8 has bits beyond its length: did you mean 10.0.0.0/8?\n\tdeny: [10.0.0.1/8]\n\t       ~~~~~~~~~~"},
		{"address", files + "admin: {address: 8444}\n", "busd.yaml:2:18: admin.address: want a text, got a number (put 8444 in quotes)\n\tadmin: {address: 8444}\n\t                 ~~~~"},
		{"port", files + "admin: {address: \"localhost:http\"}\n", "busd.yaml:2:18: admin.address: want host:port such as 0.0.0.0:8443 or [::1]:8443, got \"localhost:http\"\n\tadmin: {address: \"localhost:http\"}\n\t                 ~~~~~~~~~~~~~~~~"},
		{"origin", files + "origins: [example.org]\n", "busd.yaml:2:11: origins: want an origin such as https://example.org:8443, without a path, got \"example.org\"\n\torigins: [example.org]\n\t          ~~~~~~~~~~~"},
		{"no listener", files + "listeners: []\n", "busd.yaml:2:1: listeners: want at least one\n\tlisteners: []\n\t~~~~~~~~~"},
		{"same address", files + "listeners: [{address: \":1\"}]\nadmin: {address: \":1\"}\n", "busd.yaml:3:18: admin.address: :1 is the address of listeners[0].address already\n\tadmin: {address: \":1\"}\n\t                 ~~~~"},
		{"idle", files + "keep_alive: {idle: 20s}\n", "busd.yaml:2:20: keep_alive.idle: keep_alive.idle (20s) must be more than twice keep_alive.interval (30s)\n\tkeep_alive: {idle: 20s}\n\t                   ~~~"},
		{"quarter", files + "services: {Test/Other: {max_message: 1MiB, credit: 1MiB}}\n", "busd.yaml:2:38: services.Test/Other.max_message: 1MiB is more than a quarter of credit, 1MiB\n\tservices: {Test/Other: {max_message: 1MiB, credit: 1MiB}}\n\t                                     ~~~~"},
		{
			"service of a listener", files + "listeners: [{address: \":1\"}, {address: \":2\", services: [Test/Other, Test/Othr]}]\n",
			"busd.yaml:2:69: listeners[1].services[1]: Test/Othr: there is no such service here: there are Framework/PingPong, Test/Other (did you mean \"Test/Other\"?)\n\tlisteners: [{address: \":1\"}, {address: \":2\", services: [Test/Other, Test/Othr]}]\n\t                                                                    ~~~~~~~~~",
		},
		{
			"service of no listener", files + "listeners: [{address: \":1\", services: [Test/Other]}]\n",
			"busd.yaml:2:1: listeners: none of them serves Framework/PingPong: name it under services of one, or disable it (services: {Framework/PingPong: {enabled: false}})\n\tlisteners: [{address: \":1\", services: [Test/Other]}]\n\t~~~~~~~~~",
		},
		{
			"unknown key of a user", files + "access:\n  users:\n    alice: {dns: [x]}\n",
			"busd.yaml:4:13: access.users.alice.dns: there is no such key (did you mean \"dn\"?)\n\t    alice: {dns: [x]}\n\t            ~~~",
		},
		{
			"a key that is not for the file", files + "access: {users: {alice: {\"*\": bob}}}\n",
			"busd.yaml:2:26: access.users.alice.*: there is no such key\n\taccess: {users: {alice: {\"*\": bob}}}\n\t                         ~~~",
		},
		{"a user twice", files + "access: {users: {a: {dn: [x]}, a: {dn: [y]}}}\n", "busd.yaml:2:32: access.users.a: it is there twice, first in line 2\n\taccess: {users: {a: {dn: [x]}, a: {dn: [y]}}}\n\t                               ~"},
		{"users as a list", files + "access: {users: [alice]}\n", "busd.yaml:2:17: access.users: want a mapping, got a list\n\taccess: {users: [alice]}\n\t                ~"},
		{
			"a rule that is no list", files + "services: {Test/Other: {access: {methods: {add: any}}}}\n",
			"busd.yaml:2:49: services.Test/Other.access.methods.add: want a list, got a text\n\tservices: {Test/Other: {access: {methods: {add: any}}}}\n\t                                                ~~~",
		},
		{"tokens of nobody", files + "auth: {tokens: [{jwks: [k.json], audience: [busd]}]}\n", "busd.yaml:2:18: auth.tokens[0].issuer: it is required and missing\n\tauth: {tokens: [{jwks: [k.json], audience: [busd]}]}\n\t                 ~~~~"},
		{"an algorithm that is none", files + "auth: {tokens: [{issuer: a, jwks: [k.json], audience: [busd], algorithms: [none]}]}\n", "auth.tokens[0].algorithms: want RS256, "},
		{"an issuer twice", files + "auth: {tokens: [{issuer: a, jwks: [k], audience: [b]}, {issuer: a, jwks: [k], audience: [b]}]}\n", "auth.tokens[1].issuer: a is there twice"},
		{"peer name", strings.Replace(files, "}", ", peer_name: [auto, uri]}", 1), "auto stands alone"},
		{"nothing enabled", files + "services: {Test/Other: {enabled: false}, Framework/PingPong: {enabled: false}}\n", "services: every service is disabled: there is nothing to serve"},
		{"missing", "tls: {key: k, client_ca: [c]}\n", "busd.yaml: tls.certificate: it is required and missing; BUSD_TLS__CERTIFICATE sets it too (busd serve --dev needs none)"},
		{"anchor", files + "node: &a {name: x}\n", "busd.yaml:2:7: anchors and aliases cannot be used here\n\tnode: &a {name: x}\n\t      ~"},
		{"broken", files + "node: {name: x\n", "busd.yaml:2:7: "},
		{"second document", files + "---\nnode: {name: x}\n", "a second document: a file holds one"},
		{"not UTF-8", "\xff", "busd.yaml: the file is not UTF-8"},
		{"too long", "#" + strings.Repeat("x", 1<<20), "busd.yaml: the file has more than 1048576 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := load(t, tc.text, config.Options{})
			if err == nil {
				t.Fatalf("got no error, want %s", tc.want)
			}
			if got := err.Error(); !strings.Contains(got, tc.want) || (strings.Contains(tc.want, "\n") && got != tc.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, "limits:\n  connections: 0\nzzz: 1\nlog: {level: x}\n", config.Options{
		Environ: []string{"BUSD_KEEP_ALIVE__IDLE=soon", "BUSD_LISTEN=nowhere"},
		Only:    []string{"No/Where"},
	})
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *config.Error", err)
	}
	var got []string
	for _, f := range e.Faults {
		line, _, _ := strings.Cut(f.Error(), "\n")
		got = append(got, line)
	}
	want := []string{
		"busd.yaml:2:16: limits.connections: want from 1 to 10000000, got 0: nothing can be unlimited",
		"busd.yaml:3:1: zzz: there is no such key",
		`busd.yaml:4:14: log.level: want debug, info, warn or error, got "x"`,
		`environment BUSD_KEEP_ALIVE__IDLE: keep_alive.idle: want a duration with its unit, such as 30s or 2m, got "soon"`,
		`environment BUSD_LISTEN: want host:port such as 0.0.0.0:8443 or [::1]:8443, got "nowhere"`,
		"--services: No/Where: there is no such service here: there are Framework/PingPong, Test/Other",
		"busd.yaml: tls.certificate: it is required and missing; BUSD_TLS__CERTIFICATE sets it too (busd serve --dev needs none)",
		"busd.yaml: tls.key: it is required and missing; BUSD_TLS__KEY sets it too (busd serve --dev needs none)",
		"busd.yaml: tls.client_ca: it is required and missing; BUSD_TLS__CLIENT_CA sets it too (busd serve --dev needs none)",
		"services: every service is disabled: there is nothing to serve",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestManyFaults(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, files+"deny: ["+strings.Repeat("x,", 1000)+"x]\n", config.Options{})
	var e *config.Error
	if !errors.As(err, &e) || len(e.Faults) != 51 {
		t.Fatalf("got %v, want 50 faults and a last line", err)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	old, _, err := load(t, files+"deny: [10.0.0.0/8]\nservices: {Test/Other: {credit: 1MiB}}\n", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	next, _, err := load(t, files+"log: {level: debug}\nlisteners: [{address: \":1\"}, {address: \":2\"}]\n", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	next.TLS = old.TLS // another directory
	want := []config.Change{
		{Path: "deny", Old: "[10.0.0.0/8]", New: "[]", Live: true},
		{Path: "listeners[0].address", Old: ":8443", New: ":1"},
		{Path: "listeners[1].address", New: ":2"},
		{Path: "listeners[1].client_certificate", New: "ask"},
		{Path: "listeners[1].services", New: "[]"},
		{Path: "log.level", Old: "info", New: "debug", Live: true},
		{Path: "services.Test/Other.credit", Old: "1MiB", New: "0B"},
	}
	if got := old.Changes(next); !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got := old.Changes(old); got != nil {
		t.Errorf("got %+v, want no changes", got)
	}
}

func TestFaultPointsAtTheKey(t *testing.T) {
	t.Parallel()
	c, _, err := load(t, files, config.Options{Environ: []string{"BUSD_TLS__KEY=x"}})
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Fault("tls.certificate", "is %s", "bad"); f.Line != 1 || f.Column != 20 || !strings.HasSuffix(f.Error(), "~~~~~~~~~~") {
		t.Errorf("got %+v", f)
	}
	if got, want := c.Fault("tls.key", "bad").Error(), "environment BUSD_TLS__KEY: tls.key: bad"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := c.Fault("log.level", "bad").Error(), "log.level: bad"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(files + "limits: {connections: 5}\nservices: {Test/Other: {credit: 1MiB}}\n")
	f.Add("listeners:\n- {address: \":1\"}\n- \n")
	f.Add("deny: [10.0.0.0/8, ::1]\nkeep_alive:\n  interval: 1s # soon\n")
	f.Add("# nothing\n")
	f.Add("a: |\n  b\n")
	if example, err := os.ReadFile("../../../docs/examples/busd.yaml"); err == nil {
		f.Add(string(example))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := load(t, text, config.Options{Dev: true})
		if err != nil {
			var e *config.Error
			if !errors.As(err, &e) || len(e.Faults) == 0 || err.Error() == "" {
				t.Fatalf("got %#v, want an Error with faults", err)
			}
			return
		}
		if len(c.Listeners) == 0 || c.Limits.Connections < 1 || c.Limits.HeaderSize < 1 || c.KeepAlive.Idle <= 0 {
			t.Fatalf("accepted: %+v", c)
		}
		if changes := c.Changes(c); changes != nil {
			t.Fatalf("changes of itself: %v", changes)
		}
	})
}
