package rpcclient_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/rpc"
	"busd/rpc/rpcclient"
)

// A view of a client calls for somebody else; the client itself does not.
func TestFor(t *testing.T) {
	t.Parallel()
	var got logged
	c := client(t, rpcclient.Config{Group: "operators"}, serve(t, records(&got)))
	view, err := c.For(rpcclient.Forward{DN: "/C=ch/CN=bob", Group: "users"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		who   *rpcclient.Client
		claim string
	}{
		{c, `"operators"`},
		{view, `["/C=ch/CN=bob", "users"]`},
		{view.Idempotent(), `["/C=ch/CN=bob", "users"]`},
		{c, `"operators"`},
	} {
		if _, err := tt.who.Call(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		if form, err := url.ParseQuery(got.last()); err != nil || form.Get("extraCredentials") != tt.claim {
			t.Errorf("got %s, %v; want the claim %s", got.last(), err, tt.claim)
		}
	}
	for _, who := range []rpcclient.Forward{{}, {DN: "/C=ch/CN=bob"}, {Group: "users"}} {
		if _, err := c.For(who); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%+v: got %v", who, err)
		}
	}
}

// A host with a stable connection calls for others over https, as a connection is one
// caller's.
func TestForBesideAStableConnection(t *testing.T) {
	t.Parallel()
	policy, err := access.New(access.Config{Registry: access.RegistryConfig{
		Users:  []access.UserConfig{{Name: "bob", DN: []string{"/C=ch/CN=bob"}}},
		Hosts:  []access.HostConfig{{Name: "portal", Peers: []string{"dns:portal"}, Properties: []string{"TrustedHost"}}},
		Groups: []access.GroupConfig{{Name: "users", Users: []string{"bob"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	methods := newService(&files{all: map[string][]byte{}})
	if _, err := rpc.NewServer(rpc.Config{Access: policy}, methods); err != nil {
		t.Fatal(err)
	}
	srv := bustest.NewServer(t, msgbus.Config{Access: policy}, &msgbus.Service{Methods: methods, AllowConnect: access.Authenticated})
	c, err := rpcclient.Dial(t.Context(), srv.URL(), rpcclient.Config{TLS: bustest.ClientTLS(t, "portal"), DialContext: srv.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	view, err := c.For(rpcclient.Forward{DN: "/C=ch/CN=bob", Group: "users"})
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[*rpcclient.Client]string{c: "portal/hosts", view: "bob/users"} {
		me, err := rpcclient.Call[map[string]any](t.Context(), who, "whoami")
		if err != nil || strings.Join([]string{me["username"].(string), me["group"].(string)}, "/") != want {
			t.Errorf("got %v, %v; want %s", me, err, want)
		}
	}
	other, err := c.For(rpcclient.Forward{DN: "/C=ch/CN=bob", Group: "admins"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Call(t.Context(), "whoami")
	if e := failure(t, err); e.Err.Code != bus.CodePermissionDenied || e.Status != http.StatusForbidden || e.Errno != 13 {
		t.Errorf("a group that is not his: got %v, HTTP %d, errno %d", err, e.Status, e.Errno)
	}
}
