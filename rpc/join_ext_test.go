package rpc_test

import (
	"net/http"
	"strings"
	"testing"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/rpc"
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
