package rpc_test

import (
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"busd/access"
	"busd/bus"
	"busd/rpc"
	"busd/rpc/jencode"
)

// TestPing: DIRAC's keys, and what they say.
func TestPing(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Framework/Conformance")
	s.Version = "v9.0.0"
	answer, err := askAs(t.Context(), s, nil, "ping", "[]")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"version": "v9\.0\.0"`, `"name": "Framework/Conformance"`,
		`"time": {"__dCls": "dt", "obj": "20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"}`,
		`"service start time": {"__dCls": "dt", "obj": "20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"}`,
		`"service uptime": 0`, `"host uptime": [1-9]\d*,`, `"load": "\d+\.\d\d \d+\.\d\d \d+\.\d\d"`,
		`"cpu times": {`, `"user time": \d+\.\d+`, `"system time": \d+\.\d+`, `"children user time": \d+\.\d+`,
		`"children system time": \d+\.\d+`, `"elapsed real time": [1-9]\d*\.\d+`,
	} {
		if !regexp.MustCompile(want).MatchString(answer) {
			t.Errorf("got %s, want in it %s", answer, want)
		}
	}
}

// TestServiceUptime: counted from when it is served.
func TestServiceUptime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rpc.NewService("Test/Old")
		if _, err := rpc.NewServer(rpc.Config{}, s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		answer, err := ask(t, s, "ping", "")
		if err != nil || !regexp.MustCompile(`"service uptime": 90,`).MatchString(answer) ||
			!regexp.MustCompile(`"time": {"__dCls": "dt", "obj": "2000-01-01 00:01:30"}`).MatchString(answer) {
			t.Errorf("got %s, %v", answer, err)
		}
	})
}

// TestWhoami: DIRAC's keys, of each kind of credential.
func TestWhoami(t *testing.T) {
	const root = "/C=ch/O=DIRAC/CN="
	policy, err := access.New(access.Config{Registry: access.RegistryConfig{
		Users: []access.UserConfig{
			{Name: "ann", DN: []string{root + "ann"}, Tokens: []string{"ann@https://issuer"}},
			{Name: "bob", DN: []string{root + "bob"}},
		},
		Hosts:         []access.HostConfig{{Name: "node", DN: []string{root + "node"}, Properties: []string{"TrustedHost"}}},
		Groups:        []access.GroupConfig{{Name: "users", Users: []string{"ann", "bob"}, Properties: []string{"NormalUser", "JobShare"}, VO: "vo"}},
		DefaultGroups: []string{"users"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := rpc.NewService("Test/Who")
		if _, err := rpc.NewServer(rpc.Config{Access: policy}, s); err != nil {
			t.Fatal(err)
		}
		caller := func(name string, change func(*access.Caller)) *access.Caller {
			c := &access.Caller{
				Via: access.ViaCertificate, Peer: bus.Peer{Name: "cn:" + name, DN: root + name},
				Subject: root + name, Issuer: root + "CA", NotAfter: time.Now().Add(time.Hour),
			}
			if change != nil {
				change(c)
			}
			return c
		}
		for _, c := range []struct {
			what  string
			who   *access.Caller
			claim access.Claim
			want  string
		}{
			{
				"a certificate", caller("ann", nil),
				access.Claim{},
				`{"subject": "` + root + `ann", "issuer": "` + root + `CA", "secondsLeft": 3600, "isProxy": false, "isLimitedProxy": false, "validDN": true, "validGroup": true, ` +
					`"DN": "` + root + `ann", "properties": ["NormalUser", "JobShare"], "group": "users", "username": "ann", "VO": "vo"}`,
			},
			{
				"a proxy certificate", caller("ann", func(c *access.Caller) {
					c.Via, c.Group, c.Limited = access.ViaProxy, "users", true
					c.Subject, c.Issuer = root+"ann/CN=12345", root+"ann"
				}),
				access.Claim{},
				`{"subject": "` + root + `ann/CN=12345", "issuer": "` + root + `ann", "secondsLeft": 3600, "isProxy": true, "isLimitedProxy": true, "validDN": true, "validGroup": true, ` +
					`"identity": "` + root + `ann", "DN": "` + root + `ann", "properties": ["NormalUser", "JobShare"], "group": "users", "username": "ann", "VO": "vo"}`,
			},
			{
				"a host", caller("node", nil),
				access.Claim{Host: true},
				`{"subject": "` + root + `node", "issuer": "` + root + `CA", "secondsLeft": 3600, "isProxy": false, "isLimitedProxy": false, "validDN": true, "validGroup": true, ` +
					`"DN": "` + root + `node", "properties": ["TrustedHost"], "group": "hosts", "username": "node", "extraCredentials": "hosts"}`,
			},
			{
				"somebody for whom a host asks", caller("node", nil),
				access.Claim{Forward: &access.Forward{DN: root + "bob", Group: "users"}},
				`{"subject": "` + root + `node", "issuer": "` + root + `CA", "secondsLeft": 3600, "isProxy": false, "isLimitedProxy": false, "validDN": true, "validGroup": true, ` +
					`"DN": "` + root + `bob", "properties": ["NormalUser", "JobShare"], "group": "users", "username": "bob", "VO": "vo"}`,
			},
			{
				"a token", &access.Caller{
					Via: access.ViaToken, Peer: bus.Peer{Name: "token:ann@https://issuer", Kind: "token"},
					TokenSubject: "ann", TokenIssuer: "https://issuer", NotAfter: time.Now().Add(-time.Second),
				},
				access.Claim{},
				`{"subject": "ann", "issuer": "https://issuer", "secondsLeft": 0, "isProxy": false, "isLimitedProxy": false, "validDN": true, "validGroup": true, ` +
					`"DN": "", "properties": ["NormalUser", "JobShare"], "group": "users", "username": "ann", "VO": "vo"}`,
			},
		} {
			got, err := s.Call(t.Context(), c.who, c.claim, "whoami", nil)
			if err != nil || string(got) != c.want {
				t.Errorf("%s:\ngot  %s, %v\nwant %s", c.what, got, err, c.want)
			}
		}
		if _, err := s.Call(t.Context(), caller("eve", nil), access.Claim{}, "whoami", nil); bus.CodeOf(err) != bus.CodePermissionDenied {
			t.Errorf("a stranger: got %v, want %s", err, bus.CodePermissionDenied)
		}
	})
}

// TestReplaceStandard: a service's own ping takes the place of the one that all
// have, with its own rule.
func TestReplaceStandard(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Own")
	rpc.Export(s, "ping", func() string { return "pong" }).Describe("Plays.")
	got, err := ask(t, s, "ping", "")
	if err != nil || got != `"pong"` {
		t.Errorf("got %s, %v", got, err)
	}
	if all := s.Methods(); len(all) != 3 || all[0].Name != "ping" || all[0].Doc != "Plays." {
		t.Errorf("got %+v", all)
	}
	if !s.Rules().Methods["ping"].IsZero() || s.Rules().Methods["echo"].IsZero() {
		t.Error("it kept the old one's rule, or another lost its")
	}
}

// TestEchoOfEveryValue: byte for byte.
func TestEchoOfEveryValue(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Echo")
	for _, v := range []any{nil, true, 1, 1.0, 1e16, "é☃😀\x7f", []byte{0, 255}, time.Unix(0, 0), jencode.Date{Year: 2020, Month: 1, Day: 2}, []any{1, []any{2.5}}, map[string]any{"a": nil}} {
		text, err := jencode.Append(nil, v, jencode.DIRAC)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ask(t, s, "echo", "["+string(text)+"]"); err != nil || got != string(text) {
			t.Errorf("got %s, %v, want %s", got, err, text)
		}
	}
}
