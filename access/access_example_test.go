package access_test

import (
	"fmt"

	"busd/access"
	"busd/bus"
)

// A registry, a rule in code, and what three callers are told.
func Example() {
	policy, err := access.New(access.Config{Registry: access.RegistryConfig{
		Users: []access.UserConfig{
			{Name: "alice", DN: []string{"/C=ch/O=Example/CN=alice"}},
			{Name: "bob", Peers: []string{"dns:bob.example.org"}},
		},
		Groups: []access.GroupConfig{
			{Name: "users", Users: []string{"alice", "bob"}, Properties: []string{"NormalUser"}},
			{Name: "admins", Users: []string{"alice"}, Properties: []string{"NormalUser", "JobAdministrator"}},
		},
	}})
	if err != nil {
		fmt.Println(err) // everything that is wrong
		return
	}
	guard := policy.Guard("Framework/Jobs", access.Rules{
		Default: access.Authenticated,
		Methods: map[string]access.Rule{"kill": access.MustRule("JobAdministrator"), "list": {}},
	})

	alice := &access.Caller{Via: access.ViaCertificate, Peer: bus.Peer{Name: "cn:alice", DN: "/C=ch/O=Example/CN=alice"}}
	bob := &access.Caller{Via: access.ViaCertificate, Peer: bus.Peer{Name: "dns:bob.example.org"}}
	ask := func(method string, c *access.Caller, claim access.Claim) {
		grant, refused := guard.Method(method, c, claim)
		if refused != nil {
			fmt.Println(refused.Code, "-", refused.Reason)
			return
		}
		fmt.Println(grant.User, "in", grant.Group)
	}
	ask("kill", alice, access.Claim{Group: "admins"})
	ask("kill", alice, access.Claim{})
	ask("list", bob, access.Claim{})
	ask("list", &access.Caller{}, access.Claim{})
	// Output:
	// alice in admins
	// permission_denied - method kill: want the property JobAdministrator, got alice in group users
	// bob in users
	// unauthenticated - method list: want a caller who is known here, got no certificate and no token
}
