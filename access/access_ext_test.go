package access_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"busd/access"
	"busd/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const service = "Framework/Probe"

// registry is that of DIRAC's own tests of the same thing (userA to userS,
// hostA and hostB), and what they leave out.
func registry() access.RegistryConfig {
	return access.RegistryConfig{
		Users: []access.UserConfig{
			{Name: "userA", DN: []string{"/O=test/CN=userA", "/O=other/CN=userA"}, Peers: []string{"dns:a.example"}, Tokens: []string{"a@https://login.example"}},
			{Name: "userB", DN: []string{"/O=test/CN=userB"}},
			{Name: "userS", DN: []string{"/O=test/CN=userS"}, Suspended: []string{"testVO"}},
			{Name: "userX", DN: []string{"/O=test/CN=userX"}, Suspended: []string{"all"}},
			{Name: "userM", DN: []string{"/O=test/CN=userM"}, Peers: []string{"dns:m.example"}},
			{Name: "lone", Peers: []string{"dns:lone.example"}, Tokens: []string{"a@home@https://login.example"}},
			{Name: "loneX", Peers: []string{"dns:lonex.example"}, Suspended: []string{"all"}},
			{Name: "twin", DN: []string{"/O=test/CN=twin"}},
		},
		Hosts: []access.HostConfig{
			{Name: "hostA", DN: []string{"/O=test/CN=hostA"}, Properties: []string{"TrustedHost", "ProxyManagement"}},
			{Name: "hostB", DN: []string{"/O=test/CN=hostB"}, Properties: []string{"NoTrustedHost"}},
			{Name: "hostP", Peers: []string{"dns:p.example"}, Properties: []string{"trustedhost"}},
			{Name: "twin.example", DN: []string{"/O=test/CN=twin"}},
		},
		Groups: []access.GroupConfig{
			{Name: "group_test", Users: []string{"userA", "userS"}, Properties: []string{"NormalUser"}, VO: "testVO"},
			{Name: "group_test_other", Users: []string{"userS"}, Properties: []string{"NormalUser"}, VO: "testVOOther"},
			{Name: "group_bad", Users: []string{"userB"}, Properties: []string{"NoProperties"}, VO: "testVOBad"},
			{Name: "zeta", Users: []string{"userM", "userX"}, Properties: []string{"Operator", "NormalUser"}, VO: "testVO"},
			{Name: "alpha", Users: []string{"userM"}},
			{Name: "free", Users: []string{"userM", "userX", "twin"}, Properties: []string{"NormalUser"}},
		},
		DefaultGroups: []string{"alpha"},
	}
}

// Those who ask.
func certificate(dn string) *access.Caller {
	return &access.Caller{Via: access.ViaCertificate, Peer: bus.Peer{Name: "dn:" + strings.ReplaceAll(dn, " ", "%20"), Kind: "dn", DN: dn}}
}

func proxy(dn, group string) *access.Caller {
	c := certificate(dn)
	c.Via, c.Group = access.ViaProxy, group
	return c
}

func peer(name string) *access.Caller {
	return &access.Caller{Via: access.ViaCertificate, Peer: bus.Peer{Name: name, Kind: "dns", DN: "/O=elsewhere/CN=" + name}}
}

func bearer(subject, issuer string) *access.Caller {
	return &access.Caller{Via: access.ViaToken, Peer: bus.Peer{Name: "token:" + subject + "@" + issuer, Kind: "token"}, TokenSubject: subject, TokenIssuer: issuer}
}

var (
	nobody  = &access.Caller{}
	userA   = certificate("/O=test/CN=userA")
	userB   = certificate("/O=test/CN=userB")
	userS   = certificate("/O=test/CN=userS")
	userX   = certificate("/O=test/CN=userX")
	userM   = certificate("/O=test/CN=userM")
	twin    = certificate("/O=test/CN=twin")
	unknown = certificate("/O=test/CN=stranger")
	hostA   = certificate("/O=test/CN=hostA")
	hostB   = certificate("/O=test/CN=hostB")

	none   = access.Claim{}
	asHost = access.Claim{Host: true}
)

func in(group string) access.Claim { return access.Claim{Group: group} }

func forward(dn, group string) access.Claim {
	return access.Claim{Forward: &access.Forward{DN: dn, Group: group}}
}

func newPolicy(t testing.TB, c access.Config) *access.Policy {
	t.Helper()
	p, err := access.New(c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return p
}

// show writes a decision: user/group, then the properties that matched, and who
// forwarded; ? behind who is not known, ! behind a group that is none.
func show(g *access.Grant, err *bus.Error) string {
	if err != nil {
		return err.Code.String()
	}
	s := g.User
	if !g.Known {
		s += "?"
	}
	s += "/" + g.Group
	if !g.ValidGroup {
		s += "!"
	}
	if len(g.Matched) > 0 {
		s += " " + strings.Join(g.Matched, "+")
	}
	if g.ForwardedBy != "" {
		s += " by " + g.ForwardedBy
	}
	return s
}

// wantFaults checks that err has exactly these faults, by their whole text or
// its beginning.
func wantFaults(t *testing.T, err error, want ...string) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v, want the faults %q", err, want)
	}
	var f *access.Fault
	if !errors.As(err, &f) {
		t.Errorf("got %T, want it to hold an *access.Fault", err)
	}
	var got []string
	for _, e := range joined.Unwrap() {
		got = append(got, e.Error())
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("got the faults\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
