package admin_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"busd/bus"
	"busd/daemon/internal/admin"
	"busd/msgbus"
)

// A drained is a program that drains as it is told.
type drained struct {
	*admin.Admin
	t     *testing.T
	left  atomic.Int64
	asked chan admin.DrainRequest
	url   string
}

func newDrained(t *testing.T) *drained {
	t.Helper()
	d := &drained{t: t, asked: make(chan admin.DrainRequest, 10)}
	d.left.Store(3)
	d.Admin = admin.New(admin.Config{
		Services: func() []msgbus.ServiceStats {
			return []msgbus.ServiceStats{{Conns: int(d.left.Load()) - 1}, {Conns: 1}}
		},
		Memory: func() admin.Memory { return admin.Memory{} },
		Drain: func(r admin.DrainRequest) error {
			if r.Target == "wrong" {
				return bus.Errorf(bus.CodeInvalidArgument, "target wrong: want another")
			}
			d.asked <- r
			return nil
		},
	})
	d.SetPhase(admin.Serving)
	s := httptest.NewUnstartedServer(d.Handler(true))
	// A drain takes longer than any other request may.
	s.Config.ReadTimeout, s.Config.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond
	s.Start()
	t.Cleanup(s.Close)
	d.url = s.URL + "/drain"
	return d
}

// ask begins a drain and returns what it answers.
func (d *drained) ask(body string, more ...string) *http.Response {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.url, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
		if more[i] == "Host" {
			r.Host = more[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (d *drained) next(lines *bufio.Scanner) (p admin.Progress) {
	d.t.Helper()
	if !lines.Scan() {
		d.t.Fatalf("no line: %v", lines.Err())
	}
	if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
		d.t.Fatalf("%s: %v", lines.Bytes(), err)
	}
	return p
}

func TestDrain(t *testing.T) {
	t.Parallel()
	d := newDrained(t)
	resp := d.ask(`{"target": "wss://other:8443", "timeout_ms": 1500}`)
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "application/x-ndjson" {
		t.Fatalf("got %s, %s", resp.Status, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	if p := d.next(lines); p.State != admin.StateDraining || p.Connections != 3 || p.Already || time.Since(p.Time) > time.Minute {
		t.Errorf("first: got %+v", p)
	}
	d.SetPhase(admin.Serving) // too late
	if r := <-d.asked; r.Target != "wss://other:8443" || r.Timeout(time.Hour) != 1500*time.Millisecond {
		t.Errorf("asked for %+v", r)
	}
	if err := d.Ready(); err == nil || err.Error() != "draining" {
		t.Errorf("ready: got %v, want that it drains", err)
	}

	// Who comes later follows the same drain, whatever he asks for.
	second := bufio.NewScanner(d.ask("").Body)
	if p := d.next(second); !p.Already || p.State != admin.StateDraining {
		t.Errorf("the second: got %+v", p)
	}
	d.left.Store(1)
	if p := d.next(lines); p.State != admin.StateDraining || p.Connections != 1 || p.Seconds < 0.5 {
		t.Errorf("after a second: got %+v", p)
	}
	d.Drained(nil)
	for _, l := range []*bufio.Scanner{lines, second} {
		p := d.next(l)
		for p.State == admin.StateDraining { // written in this moment
			p = d.next(l)
		}
		if p.State != admin.StateDrained || p.Code != "" || l.Scan() {
			t.Errorf("last: got %+v, %s", p, l.Bytes())
		}
	}
	if len(d.asked) > 0 {
		t.Errorf("it was begun twice: %+v", <-d.asked)
	}
}

func TestDrainThatCutsOff(t *testing.T) {
	t.Parallel()
	d := newDrained(t)
	lines := bufio.NewScanner(d.ask("").Body)
	d.next(lines)
	if r := <-d.asked; r != (admin.DrainRequest{}) || r.Timeout(time.Hour) != time.Hour {
		t.Errorf("asked for %+v, want nothing", r)
	}
	d.Drained(bus.Errorf(bus.CodeDeadlineExceeded, "3 connections had not finished"))
	p := d.next(lines)
	for p.State == admin.StateDraining {
		p = d.next(lines)
	}
	if p.State != admin.StateCutOff || p.Code != "deadline_exceeded" || p.Reason != "3 connections had not finished" {
		t.Errorf("got %+v", p)
	}
}

// Nobody else may: no page in a browser, under whatever name it gets here, and
// no other machine.
func TestDrainIsNotForStrangers(t *testing.T) {
	t.Parallel()
	d := newDrained(t)
	for _, tc := range []struct {
		name   string
		header []string
		body   string
		want   int
	}{
		{"a page", []string{"Origin", "https://evil.example"}, "", http.StatusForbidden},
		{"a page of this listener's", []string{"Origin", "http://127.0.0.1:8444"}, "", http.StatusForbidden},
		{"a page without an origin", []string{"Origin", "null"}, "", http.StatusForbidden},
		{"an empty origin", []string{"Origin", ""}, "", http.StatusForbidden},
		{"a browser's form", []string{"Sec-Fetch-Site", "cross-site"}, "", http.StatusForbidden},
		{"a proxy", []string{"Forwarded", "for=203.0.113.9"}, "", http.StatusForbidden},
		{"a proxy of the usual kind", []string{"X-Forwarded-For", "203.0.113.9"}, "", http.StatusForbidden},
		{"a proxy that says the scheme alone", []string{"x-forwarded-proto", "https"}, "", http.StatusForbidden},
		{"a proxy of nginx's kind", []string{"X-Real-IP", "203.0.113.9"}, "", http.StatusForbidden},
		{"a gateway", []string{"Via", "1.1 proxy"}, "", http.StatusForbidden},
		{"another name", []string{"Host", "evil.example:8444"}, "", http.StatusMisdirectedRequest},
		{"no JSON", nil, "target=x", http.StatusBadRequest},
		{"an unknown key", nil, `{"tarket": "x"}`, http.StatusBadRequest},
		{"two of them", nil, `{}{}`, http.StatusBadRequest},
		{"a body without an end", nil, `{"target": "` + strings.Repeat("x", 1<<20), http.StatusBadRequest},
		{"what the program does not do", nil, `{"target": "wrong"}`, http.StatusBadRequest},
	} {
		resp := d.ask(tc.body, tc.header...)
		text, err := io.ReadAll(resp.Body)
		if resp.StatusCode != tc.want || err != nil || len(text) == 0 {
			t.Errorf("%s: got %s, %q, %v, want %d", tc.name, resp.Status, text, err, tc.want)
		}
	}
	for _, tc := range []struct {
		method, remote string
		want           int
	}{
		{http.MethodGet, "127.0.0.1:9", http.StatusMethodNotAllowed},
		{http.MethodPost, "192.0.2.1:9", http.StatusForbidden},
		{http.MethodPost, "[2001:db8::1]:9", http.StatusForbidden},
		{http.MethodPost, "@", http.StatusForbidden},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tc.method, "http://127.0.0.1/drain", nil)
		r.RemoteAddr = tc.remote
		for _, local := range []bool{true, false} {
			w := httptest.NewRecorder()
			d.Handler(local).ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Errorf("%s from %s, local=%v: got %d, want %d", tc.method, tc.remote, local, w.Code, tc.want)
			}
		}
	}
	if err := d.Ready(); err != nil || len(d.asked) > 0 {
		t.Errorf("it drains: %v", err)
	}
}
