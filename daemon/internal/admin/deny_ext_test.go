package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"busd/bus"
	"busd/daemon/internal/admin"
)

// denyList is one that keeps what it is told, and knows one thing that it cannot
// do, and one that is wrong.
type denyList struct {
	mu sync.Mutex
	// Guarded by mu.
	all []admin.Denial
}

func (d *denyList) List() []admin.Denial {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]admin.Denial{}, d.all...)
}

func (d *denyList) Persistent() bool { return true }

func (d *denyList) Add(one admin.Denial) (admin.DenyOutcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch one.Name {
	case "":
		return admin.DenyOutcome{}, bus.Errorf(bus.CodeInvalidArgument, "it says nothing")
	case "full":
		return admin.DenyOutcome{}, bus.Errorf(bus.CodeFailedPrecondition, "it cannot be written")
	}
	d.all = append(d.all, one)
	return admin.DenyOutcome{Changed: true, Persistent: true, Connections: 2, Sessions: 3}, nil
}

func (d *denyList) Remove(admin.Denial) (admin.DenyOutcome, error) {
	return admin.DenyOutcome{Persistent: true}, nil
}

// header is a request with a header more.
func header(name string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, "for=203.0.113.9") }
}

func TestDeny(t *testing.T) {
	t.Parallel()
	h := newAdmin().Handler(true)
	for _, test := range []struct {
		what, method, path, body string
		change                   func(*http.Request)
		status                   int
		want                     string
	}{
		{"list", "GET", "/deny", "", nil, 200, `{"persistent":true,"entries":[]}`},
		{"add", "POST", "/deny", `{"name": "dns:a", "note": "lost"}`, nil, 200, `{"changed":true,"persistent":true,"connections":2,"sessions":3}`},
		{"list it", "GET", "/deny", "", nil, 200, `{"persistent":true,"entries":[{"name":"dns:a","note":"lost"}]}`},
		{"remove", "POST", "/deny/remove", `{"name": "dns:b"}`, nil, 200, `{"changed":false,"persistent":true,"connections":0,"sessions":0}`},
		{"nothing", "POST", "/deny", `{}`, nil, 400, "it says nothing"},
		{"no JSON", "POST", "/deny", `x`, nil, 400, "want a JSON object"},
		{"unknown key", "POST", "/deny", `{"who": "a"}`, nil, 400, "unknown field"},
		{"two", "POST", "/deny", `{"name": "a"} {"name": "b"}`, nil, 400, "more behind it"},
		{"long note", "POST", "/deny", `{"name": "a", "note": "` + strings.Repeat("x", 300) + `"}`, nil, 400, "too long"},
		{"what cannot be done", "POST", "/deny", `{"name": "full"}`, nil, 409, "it cannot be written"},
		{"from elsewhere", "POST", "/deny", `{"name": "c"}`, func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }, 403, "only from this machine"},
		{"listed from elsewhere", "GET", "/deny", "", func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }, 403, "only from this machine"},
		{"from a page", "POST", "/deny", `{"name": "c"}`, func(r *http.Request) { r.Header.Set("Origin", "https://evil.org") }, 403, "not for web pages"},
		{"through a proxy", "POST", "/deny", `{"name": "c"}`, header("X-Forwarded-For"), 403, "not through a proxy"},
		{"removed through a proxy", "POST", "/deny/remove", `{"name": "dns:a"}`, header("Via"), 403, "not through a proxy"},
		{"listed through a proxy", "GET", "/deny", "", header("Forwarded"), 403, "not through a proxy"},
		{"by another name", "POST", "/deny", `{"name": "c"}`, func(r *http.Request) { r.Host = "evil.org" }, 421, ""},
		{"another method", "DELETE", "/deny", "", nil, 405, ""},
	} {
		r := httptest.NewRequest(test.method, "http://127.0.0.1:8444"+test.path, strings.NewReader(test.body))
		r.RemoteAddr = "127.0.0.1:5"
		if test.change != nil {
			test.change(r)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s: got %d %s, want %d %s", test.what, w.Code, w.Body, test.status, test.want)
		}
	}
}
