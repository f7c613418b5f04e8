package rpcclient_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/rpc/rpcclient"
)

// A stub that was stored makes the same call.
func TestStub(t *testing.T) {
	t.Parallel()
	var got logged
	c := client(t, rpcclient.Config{VO: "vo", Setup: "Test", Group: "g", Token: "secret"}, serve(t, records(&got)))
	positional, err := c.Stub("add", 1, "é")
	if err != nil {
		t.Fatal(err)
	}
	named, err := c.StubNamed("find", map[string]any{"owner": "me"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		stub       rpcclient.Stub
		text, form string
	}{
		{
			positional, `[["Framework/Conformance",{"VO":"vo","setup":"Test"}],"add",[1,"\u00e9"]]`,
			"method=add&args=%5B1%2C%22%5Cu00e9%22%5D&extraCredentials=%22g%22&clientVO=vo&clientSetup=Test",
		},
		{
			named, `[["Framework/Conformance",{"VO":"vo","setup":"Test"}],"find",{"owner":"me"}]`,
			"procedure=find&kwargs=%7B%22owner%22%3A%22me%22%7D&extraCredentials=%22g%22&clientVO=vo&clientSetup=Test",
		},
	} {
		text, err := json.Marshal(tt.stub)
		if err != nil || string(text) != tt.text {
			t.Errorf("got %s, %v; want %s", text, err, tt.text)
			continue
		}
		var stored rpcclient.Stub
		if err := json.Unmarshal(text, &stored); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, err := c.Replay(t.Context(), stored); err != nil || got.last() != tt.form {
			t.Errorf("replay: got %s, %v; want %s", got.last(), err, tt.form)
		}
	}
}

// Stubs that DIRAC has stored: a name or a URL, and options of which only those of the
// call are kept.
func TestDIRACStub(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want rpcclient.Stub
	}{
		{
			`[["https://127.0.0.1:34521/Framework/DummyTornado", {"timeout": 600, "useAccessToken": false}], "ping", []]`,
			rpcclient.Stub{Service: "Framework/DummyTornado", Method: "ping", Args: []byte("[]"), Timeout: 10 * time.Minute},
		},
		{
			`[["Framework/X", {"VO": "myvo", "setup": "My-Setup", "timeout": 120.5}], "echo", [{"__dCls": "dt", "obj": "2020-01-02 03:04:05"}, NaN]]`,
			rpcclient.Stub{
				Service: "Framework/X", Method: "echo", Args: []byte(`[{"__dCls": "dt", "obj": "2020-01-02 03:04:05"}, NaN]`),
				VO: "myvo", Setup: "My-Setup", Timeout: 120*time.Second + 500*time.Millisecond,
			},
		},
		{
			`[["Framework/X", {"delegatedDN": "/C=x/CN=y", "delegatedGroup": "g", "proxyString": "secret", "proxyLocation": "/tmp/x", "extraCredentials": "hosts", "timeout": null}], "f", []]`,
			rpcclient.Stub{Service: "Framework/X", Method: "f", Args: []byte("[]")},
		},
		{
			`[["Framework/X", {"timeout": 1e300}], "f", []]`,
			rpcclient.Stub{Service: "Framework/X", Method: "f", Args: []byte("[]"), Timeout: 24 * time.Hour},
		},
	} {
		got, err := rpcclient.ParseStub([]byte(tt.text))
		if err != nil || got.Service != tt.want.Service || got.Method != tt.want.Method || string(got.Args) != string(tt.want.Args) ||
			got.VO != tt.want.VO || got.Setup != tt.want.Setup || got.Timeout != tt.want.Timeout {
			t.Errorf("%s: got %+v, %v; want %+v", tt.text, got, err, tt.want)
			continue
		}
		text, err := got.Encode()
		if err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), "delegated") || strings.Contains(string(text), "hosts") {
			t.Errorf("%s: written as %s, %v", tt.text, text, err)
		}
		if again, err := rpcclient.ParseStub(text); err != nil || again.Method != got.Method || string(again.Args) != string(got.Args) {
			t.Errorf("%s: read again as %+v, %v", text, again, err)
		}
	}
}

func TestBadStub(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "null", "1", "[]", "{}", `[["Framework/X", {}], "f"]`, `[["Framework/X", {}], "f", [], 1]`, `[["Framework/X", {}], "f", "x"]`,
		`[["Framework/X"], "f", []]`, `[["Framework", {}], "f", []]`, `[[1, {}], "f", []]`, `[["Framework/X", []], "f", []]`,
		`[["Framework/X", {}], 1, []]`, `[["https://h/", {}], "f", []]`, `[["Framework/X", {"VO": 1}], "f", []]`,
		`[["Framework/X", {"timeout": "soon"}], "f", []]`, `[["Framework/X", {}], "f", []] x`,
		`[["Framework/X", {}], "f", ` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `]`,
	} {
		if s, err := rpcclient.ParseStub([]byte(text)); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%.80s: got %+v, %v", text, s, err)
		}
	}
	var none logged
	c := client(t, rpcclient.Config{}, serve(t, records(&none)))
	if _, err := c.Stub("f", make(chan int)); bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("an argument that cannot be sent: %v", err)
	}
	if _, err := c.StubNamed("f", 1); bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("named arguments that are none: %v", err)
	}
	for _, s := range []rpcclient.Stub{{}, {Service: "Framework/Other", Method: "f", Args: []byte("[]")}, {Service: c.Service(), Method: "f", Args: []byte("1")}, {Service: c.Service(), Args: []byte("[]")}} {
		if _, err := c.Replay(t.Context(), s); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%+v: got %v", s, err)
		}
	}
	if none.last() != "" {
		t.Errorf("something was sent: %s", none.last())
	}
	nan, err := c.Stub("f", math.NaN())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(nan); err == nil {
		t.Error("NaN is no JSON")
	}
	if text, err := nan.Encode(); err != nil || !strings.HasSuffix(string(text), "[NaN]]") {
		t.Errorf("got %s, %v", text, err)
	}
}

// A stub's time counts where the context has none.
func TestStubTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := client(t, rpcclient.Config{}, serve(t, forever))
		stub, err := c.Stub("f")
		if err != nil {
			t.Fatal(err)
		}
		stub.Timeout = 3 * time.Second
		began := time.Now()
		if _, err := c.Replay(t.Context(), stub); bus.CodeOf(err) != bus.CodeDeadlineExceeded || time.Since(began) != 3*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}
