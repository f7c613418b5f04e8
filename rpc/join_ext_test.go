package rpc_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/rpc"
	"busd/schema"
)

// shut is a policy with a registry in which nobody stands that the tests know.
func shut(t *testing.T) *access.Policy {
	t.Helper()
	p, err := access.New(access.Config{Registry: access.RegistryConfig{
		Users: []access.UserConfig{{Name: "somebody", Peers: []string{"dns:somebody"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Methods that a server of stable connections serves follow its policy, by HTTPS too,
// though nobody told them.
func TestJoinedMethodsFollowThePolicy(t *testing.T) {
	t.Parallel()
	svc := rpc.NewService("Test/Joined")
	svc.Allow = access.Authenticated
	rpc.Export(svc, "do", func() string { return "done" })
	srv := bustest.NewServer(t, msgbus.Config{Access: shut(t)}, &msgbus.Service{Methods: svc})
	for peer, want := range map[string]int{"somebody": http.StatusOK, "agent": http.StatusForbidden} {
		conf := bustest.ClientTLS(t, peer)
		transport := &http.Transport{DialContext: srv.DialContext, TLSClientConfig: conf}
		client := &http.Client{Transport: transport}
		resp, err := client.Post(strings.Replace(srv.URL(), "wss:", "https:", 1)+"/do", "application/json", strings.NewReader("[]"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
		if resp.StatusCode != want {
			t.Errorf("%s: got %s, want %d", peer, resp.Status, want)
		}
	}
}

// Two servers that decide differently do not serve the same methods.
func TestJoinedMethodsHaveOnePolicy(t *testing.T) {
	t.Parallel()
	policy := shut(t)
	for name, tc := range map[string]struct {
		rpc, msgbus *access.Policy
		fine        bool
	}{
		"the same":      {policy, policy, true},
		"none said":     {nil, nil, true},
		"said once":     {policy, nil, true},
		"another":       {shut(t), policy, false},
		"open and shut": {nil, policy, false},
	} {
		svc := rpc.NewService("Test/Joined")
		if _, err := rpc.NewServer(rpc.Config{Access: tc.rpc}, svc); err != nil {
			t.Fatal(err)
		}
		_, err := msgbus.NewServer(msgbus.Config{Access: tc.msgbus}, &msgbus.Service{Methods: svc})
		if (err == nil) != tc.fine || !tc.fine && bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%s: got %v, want it taken: %t", name, err, tc.fine)
		}
	}
}

// A certificate has one name, whether it opens a connection or makes a call.
func TestJoinedMethodsKnowTheSameName(t *testing.T) {
	t.Parallel()
	svc := rpc.NewService("Test/Joined")
	rpc.Export(svc, "me", func(ctx context.Context) string { return rpc.RequestOf(ctx).Grant.User })
	srv := bustest.NewServer(t, msgbus.Config{PeerName: []string{"cn"}}, &msgbus.Service{Methods: svc})
	transport := &http.Transport{DialContext: srv.DialContext, TLSClientConfig: bustest.ClientTLS(t, "somebody")}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Post(strings.Replace(srv.URL(), "wss:", "https:", 1)+"/me", "application/json", strings.NewReader("[]"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	c := srv.ClientOf("somebody", msgclient.Config{})
	bustest.Run(t, c)
	name, _, _ := strings.Cut(string(c.Identity()), "/")
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != `{"OK":true,"Value":"`+name+`"}` {
		t.Errorf("by HTTPS %s (%v), over a connection %s", body, err, name)
	}

	other := rpc.NewService("Test/Other")
	if _, err := rpc.NewServer(rpc.Config{}, other); err != nil {
		t.Fatal(err)
	}
	_, err = msgbus.NewServer(msgbus.Config{PeerName: []string{"cn"}}, &msgbus.Service{Methods: other})
	if bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("methods that name callers in another way: got %v, want invalid_argument", err)
	}
}

// What lets somebody call lets him send nothing; and that everybody may ping is no
// reason to show strangers the contract.
func TestJoinedMethodsOpenNothingElse(t *testing.T) {
	t.Parallel()
	methods := rpc.NewService("Test/Joined")
	methods.Allow = access.Any
	svc := &msgbus.Service{Schema: schema.MustNew("Test/Joined", schema.Definition{Name: "Tell", From: schema.FromClient}), Methods: methods}
	msgbus.HandleRecord(svc, "Tell", func(context.Context, *msgbus.Conn, *schema.Record) error { return nil })
	srv := bustest.NewServer(t, msgbus.Config{Access: shut(t)}, svc)
	conf := bustest.ClientTLS(t, "agent")
	conf.Certificates = nil
	transport := &http.Transport{DialContext: srv.DialContext, TLSClientConfig: conf}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(strings.Replace(srv.URL(), "wss:", "https:", 1))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the contract for nobody: got %s, want 401", resp.Status)
	}
	err = srv.ClientOf("somebody", msgclient.Config{}).Connect(t.Context())
	if bus.CodeOf(err) != bus.CodePermissionDenied {
		t.Errorf("to connect where nobody may send: got %v, want permission_denied", err)
	}
}
