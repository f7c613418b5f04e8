package rpc_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"busd/access"
	"busd/rpc"
)

// TestServicesByPath: one address for all services, and who asks for one that is
// not there is told so, whoever he is.
func TestServicesByPath(t *testing.T) {
	t.Parallel()
	named := func(name string) *rpc.Service {
		s := rpc.NewService(name)
		s.Allow = access.Any
		rpc.Export(s, "name", func() string { return name })
		return s
	}
	w := serve(t, serverOf(t, rpc.Config{}, named("Framework/One"), named("Framework/OneMore"), named("Other/One")))
	call := func(path string) *answer {
		t.Helper()
		return w.ask("", post{path: path, contentType: urlencoded, body: "method=name&args=[]"})
	}
	for _, name := range []string{"Framework/One", "Framework/OneMore", "Other/One"} {
		call("/"+name).wants(t, http.StatusOK, `{"OK": true, "Value": "`+name+`"}`)
		call("/"+name+"/name").wants(t, http.StatusOK, `{"OK": true, "Value": "`+name+`"}`)
	}
	for _, path := range []string{"/", "/Framework", "/Framework/", "/Framework/Two", "/Framework/one", "/One", "/Other/OneMore/name"} {
		call(path).contains(t, http.StatusNotFound, `"code":"not_found"`)
	}
}

// TestRequestOverHTTPS: what a method can ask of who calls it, and from where.
func TestRequestOverHTTPS(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Ask")
	s.Allow = access.Any
	var got rpc.Request
	rpc.Export(s, "m", func(ctx context.Context) { got = *rpc.RequestOf(ctx) })
	w := serve(t, serverOf(t, rpc.Config{}, s))
	for _, c := range []struct {
		who, user, group string
	}{
		{"agent", "dns:agent", "visitor"},
		{"", "anonymous", "visitor"},
	} {
		a := w.ask(c.who, post{path: "/Test/Ask", contentType: urlencoded, body: "method=m&args=[]&clientVO=lhcb&clientSetup=Test"})
		a.wants(t, http.StatusOK, `{"OK": true, "Value": null}`)
		if got.Service != "Test/Ask" || got.Method != "m" || got.ID != a.Header.Get("X-Request-Id") || got.VO != "lhcb" || got.Setup != "Test" {
			t.Errorf("got %+v", got)
		}
		if !strings.HasPrefix(got.Remote, "127.0.0.1:") {
			t.Errorf("%q calls from %q", c.who, got.Remote)
		}
		if got.Caller.Nobody() != (c.who == "") || got.Grant.User != c.user || got.Grant.Group != c.group {
			t.Errorf("%q is %+v, for this call %+v", c.who, got.Caller, got.Grant)
		}
	}
}
