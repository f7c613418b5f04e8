package msgbus_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// people is a registry: agent is in group users and in group operators, whose
// members have the property Operator.
func people(agents ...string) access.RegistryConfig {
	return access.RegistryConfig{
		Users: []access.UserConfig{{Name: "alice", Peers: agents}},
		Groups: []access.GroupConfig{
			{Name: "users", Users: []string{"alice"}},
			{Name: "operators", Users: []string{"alice"}, Properties: []string{"Operator"}},
		},
	}
}

const agent = "dns:" + bustest.DefaultPeer

// newPolicy is the policy of people with an operator's rules for the room.
func newPolicy(t *testing.T, rules access.ServiceRules) *access.Policy {
	t.Helper()
	policy, err := access.New(access.Config{Registry: people(agent), Services: map[string]access.ServiceRules{"Test/Room": rules}})
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// swap puts other rules in force.
func swap(t *testing.T, policy *access.Policy, rules access.ServiceRules) {
	t.Helper()
	err := policy.Swap(access.Config{Registry: people(agent), Services: map[string]access.ServiceRules{"Test/Room": rules}})
	if err != nil {
		t.Fatal(err)
	}
}

// words is a rule of an operator's.
type words = []string

// Each message and each call is held to its rule, and to what the rules are by
// then: not only as the client connects.
func TestAccessToMessages(t *testing.T) {
	t.Parallel()
	handled := make(chan string, 10)
	svc := newOffice(func(_ context.Context, _ *msgbus.Conn, m Job) error { handled <- m.Do; return nil })
	svc.Rules = map[string]access.Rule{"Job": access.MustRule("Operator")}
	svc.Allow = access.Authenticated
	policy := newPolicy(t, access.ServiceRules{})
	srv := bustest.NewServer(t, msgbus.Config{Access: policy}, svc)
	failed := make(chan error, 10)
	c := srv.Connect(msgclient.Config{OnError: func(_ *msgclient.Client, err error) { failed <- err }})

	denied := func(what string) {
		t.Helper()
		if err := c.SendAcked(t.Context(), Job{Do: what}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		wantCode(t, what+", one way", next(t, failed, "the error frame"), bus.CodePermissionDenied)
		wantCode(t, what+", as a request", c.SendHandled(t.Context(), Job{Do: what}), bus.CodePermissionDenied)
		ping(t, c, 1)
	}
	allowed := func(what string) {
		t.Helper()
		if err := c.SendHandled(t.Context(), Job{Do: what}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := next(t, handled, "the job"); got != what {
			t.Errorf("handled %q, want %q", got, what)
		}
	}
	denied("in code")
	swap(t, policy, access.ServiceRules{Messages: map[string][]string{"Job": {"authenticated"}}})
	allowed("by the operator")
	allowed("by the operator again")
	swap(t, policy, access.ServiceRules{})
	denied("after the next reload")
	none(t, handled, "a job that was denied")
	if got := c.Connects(); got != 1 {
		t.Errorf("it connected %d times: the connection is to be kept", got)
	}

	if _, err := c.Call(t.Context(), "echo", nil); err != nil {
		t.Errorf("a call: %v", err)
	}
	swap(t, policy, access.ServiceRules{Methods: map[string][]string{"echo": {"Operator"}}})
	_, err := c.Call(t.Context(), "echo", nil)
	wantCode(t, "a call after a reload", err, bus.CodePermissionDenied)
	if _, err = c.Call(t.Context(), "whoami", nil); err != nil {
		t.Errorf("another method: %v", err)
	}
}

// A client says in which group it acts as it connects.
func TestAccessByGroup(t *testing.T) {
	t.Parallel()
	svc := newOffice(nil)
	svc.Allow = access.MustRule("Operator")
	svc.AllowConnect = access.Authenticated
	srv := bustest.NewServer(t, msgbus.Config{Access: newPolicy(t, access.ServiceRules{})}, svc)
	for _, tt := range []struct {
		group, want string
		properties  []string
		code        bus.Code
	}{
		{"", "users", nil, bus.CodePermissionDenied},
		{"users", "users", nil, bus.CodePermissionDenied},
		{"operators", "operators", []string{"Operator"}, 0},
	} {
		c := srv.Client(msgclient.Config{Group: tt.group, Instance: "i" + tt.group, Args: map[string]any{"other": 1}})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		var grant *access.Grant
		for _, conn := range svc.Conns() {
			if string(conn.Identity()) == agent+"/i"+tt.group {
				grant = conn.Grant()
			}
		}
		if grant == nil || grant.User != "alice" || grant.Group != tt.want || !slices.Equal(grant.Properties, tt.properties) {
			t.Errorf("group %q: got %+v", tt.group, grant)
		}
		_, err := msgclient.Request[Pong](t.Context(), c, Ping{})
		if bus.CodeOf(err) != tt.code {
			t.Errorf("group %q: a message: got %v, want %s", tt.group, err, tt.code)
		}
		result, err := c.Call(t.Context(), "whoami", nil)
		if bus.CodeOf(err) != tt.code || (err == nil && string(result) != agent+" "+tt.group) {
			t.Errorf("group %q: a call: got %q, %v", tt.group, result, err)
		}
	}
	for name, cfg := range map[string]msgclient.Config{
		"a group of others": {Group: "strangers"},
		"a stranger":        {TLS: bustest.ClientTLS(t, "stranger")},
	} {
		wantCode(t, name, srv.Client(cfg).Connect(t.Context()), bus.CodePermissionDenied)
	}
	err := srv.Client(msgclient.Config{Args: map[string]any{"group": 7}}).Connect(t.Context())
	wantCode(t, "a group that is none", err, bus.CodeInvalidArgument)
	_, err = msgclient.New(msgclient.Config{URL: srv.URL(), Group: "users", Args: map[string]any{"group": "operators"}})
	wantCode(t, "two groups", err, bus.CodeInvalidArgument)
}

// Who may neither send nor call anything may not connect, and is told so before
// his identity's other connection is touched.
func TestAccessToConnect(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	svc.Allow = access.MustRule("Operator")
	connected := make(chan bus.Identity, 10)
	svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error { connected <- c.Identity(); return nil }
	srv := bustest.NewServer(t, msgbus.Config{Access: newPolicy(t, access.ServiceRules{})}, svc)
	first := srv.Connect(msgclient.Config{Group: "operators", Instance: "same"})
	next(t, connected, "the operator")
	e := wantCode(t, "in no group that may", srv.Client(msgclient.Config{Instance: "same"}).Connect(t.Context()), bus.CodePermissionDenied)
	if !e.Remote || e.Retry.When != bus.RetryAfter || !strings.Contains(e.Reason, "Operator") {
		t.Errorf("got %+v, want a refusal that says what is wanted, to be tried again", e)
	}
	none(t, connected, "a connection that was refused")
	ping(t, first, 1)
	if got := srv.Stats()[0].Refused[bus.CodePermissionDenied]; got != 1 {
		t.Errorf("refusals counted: %d, want 1", got)
	}
}

// Where no policy was made, whoever has a certificate may, but for what rules in
// code say; and nobody who has none.
func TestAccessWithoutAPolicy(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	svc.Rules = map[string]access.Rule{"Job": access.MustRule("Operator")}
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{})
	ping(t, c, 1)
	wantCode(t, "what a rule in code keeps", c.SendHandled(t.Context(), Job{}), bus.CodePermissionDenied)
	if grant := onlyConn(t, svc).Grant(); grant.User != agent {
		t.Errorf("got %+v, want the peer's name", grant)
	}
}

// Who may not connect any more is dropped, so that nothing reaches him; he may not
// resume either; and once he may, his session goes on.
func TestAccessChanged(t *testing.T) {
	t.Parallel()
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, testAccessChanged) })
}

func testAccessChanged(t *testing.T) {
	svc := newRoom(nil)
	svc.Allow = access.Authenticated
	policy := newPolicy(t, access.ServiceRules{})
	srv := bustest.NewServer(t, msgbus.Config{Access: policy}, svc)
	dropped, retried, notes := make(chan error, 10), make(chan error, 100), make(chan int64, 10)
	c := srv.Client(msgclient.Config{
		OnDrop:  func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why },
		OnRetry: func(_ *msgclient.Client, why error, _ time.Duration) { retried <- why },
	})
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { notes <- m.ID; return nil })
	bustest.Run(t, c)
	operator := srv.Connect(msgclient.Config{Group: "operators"})
	swap(t, policy, access.ServiceRules{Connect: words{"Operator"}})
	synctest.Wait()
	none(t, dropped, "a drop before the server was told")
	srv.AccessChanged()
	wantCode(t, "the end", next(t, dropped, "the drop"), bus.CodePermissionDenied)
	if err := svc.Broadcast(t.Context(), Note{ID: 7}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	for len(retried) > 0 {
		wantCode(t, "why there is no connection", <-retried, bus.CodePermissionDenied)
	}
	none(t, notes, "a note")
	ping(t, operator, 1)
	if got := c.Connects(); got != 1 {
		t.Errorf("it connected %d times, want 1: it may not resume", got)
	}
	swap(t, policy, access.ServiceRules{})
	srv.AccessChanged()
	time.Sleep(msgclient.DefaultMaxWait)
	if got := next(t, notes, "the note"); got != 7 || !c.Resumption().Resumed {
		t.Errorf("got note %d, resumption %+v; want the session to go on", got, c.Resumption())
	}
}

// Who loses the right to connect while he does so is found too.
func TestAccessChangedMeanwhile(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	svc.Allow = access.Authenticated
	policy := newPolicy(t, access.ServiceRules{})
	var srv *bustest.Server
	svc.OnConnect = func(context.Context, *msgbus.Conn) error {
		swap(t, policy, access.ServiceRules{Connect: words{"Operator"}})
		srv.AccessChanged()
		return nil
	}
	srv = bustest.NewServer(t, msgbus.Config{Access: policy}, svc)
	dropped := make(chan error, 1)
	c := srv.Client(msgclient.Config{OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why }})
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the end", next(t, dropped, "the drop"), bus.CodePermissionDenied)
}

// callers is an authentication by a header, as a token's is.
func callers(r *http.Request) (access.Caller, *bus.Error) {
	switch r.Header.Get("Authorization") {
	case "":
		return access.Caller{}, nil
	case "Bearer good":
		return access.Caller{Via: access.ViaToken, Peer: bus.Peer{Name: "token:t@i", Kind: "token"}}, nil
	case "Bearer bad":
		return access.Caller{}, bus.Errorf(bus.CodeUnauthenticated, "the token is bad")
	}
	return access.Caller{}, bus.Errorf(bus.CodePermissionDenied, "not this one")
}

// Authenticate says who opens connections and reads contracts. A token reads, and
// opens nothing.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	closed, open := newRoom(nil), newPingPong()
	open.Rules = map[string]access.Rule{"Ping": access.Any}
	srv := bustest.NewServer(t, msgbus.Config{Authenticate: callers}, closed, open)
	ask := web(t, srv, false)
	upgrade := []string{
		"Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Version", "13",
		"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol", "msgbus.v1",
	}
	for _, tt := range []struct {
		path, credential string
		contract, opens  int
		reason           string
	}{
		{"/Test/Room", "", 401, 401, "a client certificate is wanted, and none was given"},
		{"/Test/Room", "Bearer good", 200, 401, "a client certificate is wanted, and none was given"},
		{"/Test/Room", "Bearer bad", 401, 401, "the token is bad"},
		{"/Test/Room", "else", 403, 403, "not this one"},
		{"/Framework/PingPong", "", 200, 401, "a client certificate is wanted, and none was given"},
	} {
		headers := []string{}
		if tt.credential != "" {
			headers = append(headers, "Authorization", tt.credential)
		}
		status, _, body := ask("GET", tt.path, "", headers...)
		if status != tt.contract || (status != 200 && !strings.Contains(body, tt.reason)) {
			t.Errorf("the contract of %s with %q: got %d %s, want %d", tt.path, tt.credential, status, body, tt.contract)
		}
		status, _, body = ask("GET", tt.path, "", append(headers, upgrade...)...)
		if status != tt.opens || !strings.Contains(body, tt.reason) {
			t.Errorf("a connection to %s with %q: got %d %s, want %d", tt.path, tt.credential, status, body, tt.opens)
		}
	}
}

// A proxy that is trusted to may pass a certificate on.
func TestAuthenticateAnother(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{Authenticate: func(*http.Request) (access.Caller, *bus.Error) {
		return access.Caller{Via: access.ViaCertificate, Peer: bus.Peer{Name: "dns:behind", Kind: "dns"}}, nil
	}}, svc)
	c := srv.Connect(msgclient.Config{Instance: "i"})
	ping(t, c, 1)
	if got := onlyConn(t, svc); got.Identity() != "dns:behind/i" || got.Peer().Name != "dns:behind" {
		t.Errorf("got %s of %v", got.Identity(), got.Peer())
	}
}
