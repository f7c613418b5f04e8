package rpc_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"busd/access"
	"busd/bus"
	"busd/rpc"
)

// TestGet: a plain GET shows what a service has, to whoever is somebody.
func TestGet(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	get := func(who, header string) *answer {
		return w.say(who, "GET "+dummyPath+" HTTP/1.1\r\nHost: x\r\n"+header+"\r\n")
	}
	a := get("agent", "")
	var contract struct {
		Service string
		Methods []struct{ Name, Doc string }
	}
	if err := json.Unmarshal([]byte(a.body), &contract); err != nil || a.StatusCode != 200 || contract.Service != "Framework/DummyTornado" || len(contract.Methods) < 4 {
		t.Fatalf("got %d %s, %v", a.StatusCode, a.body, err)
	}
	tag := a.Header.Get("ETag")
	if tag == "" {
		t.Error("no ETag")
	}
	get("agent", "If-None-Match: "+tag+"\r\n").wants(t, 304, "")
	a = get("", "")
	a.contains(t, 401, `"code":"unauthenticated"`)
	if a.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("WWW-Authenticate: %q", a.Header.Get("WWW-Authenticate"))
	}
}

// TestAuthenticate: what finds out who asks has the last word, and is asked before
// the body is read.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	svc := dummy()
	cfg := rpc.Config{Authenticate: func(r *http.Request) (access.Caller, *bus.Error) {
		switch token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); token {
		case "":
			return access.Caller{}, nil
		case "bad":
			return access.Caller{}, bus.Errorf(bus.CodeUnauthenticated, "the token is no good")
		case "nameless":
			return access.Caller{}, bus.Errorf(bus.CodePermissionDenied, "the token names nobody")
		case "broken":
			panic("canary")
		case "old":
			return access.Caller{Via: access.ViaToken, Peer: bus.Peer{Name: "token:old@issuer"}, NotAfter: time.Now().Add(-time.Second)}, nil
		default:
			return access.Caller{Via: access.ViaToken, Peer: bus.Peer{Name: "token:" + token + "@issuer"}, TokenSubject: token}, nil
		}
	}}
	w := serve(t, serverOf(t, cfg, svc))
	ask := func(token, method string) *answer {
		p := post{path: dummyPath + "/" + method, contentType: plainJSON, header: [][2]string{{"Expect", "100-continue"}}, body: "[]"}
		if token != "" {
			p.header = append(p.header, [2]string{"Authorization", "Bearer " + token})
		}
		request := p.wire()
		if method != "whoami" || token != "alice" {
			request = request[:len(request)-len(p.body)] // the answer comes without
		}
		conn := w.line("")
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		a := w.hear(r)
		if a.StatusCode == http.StatusContinue {
			a = w.hear(r)
		}
		return a
	}
	ask("alice", "whoami").contains(t, 200, `"username":"token:alice@issuer"`)
	for token, want := range map[string]struct {
		status          int
		challenge, part string
	}{
		"":         {401, "Bearer", `"code":"unauthenticated"`},
		"bad":      {401, `Bearer error="invalid_token"`, "the token is no good"},
		"old":      {401, `Bearer error="invalid_token"`, "the credential has expired"},
		"nameless": {403, "", "the token names nobody"},
	} {
		a := ask(token, "whoami")
		a.contains(t, want.status, want.part)
		if got := a.Header.Get("WWW-Authenticate"); got != want.challenge {
			t.Errorf("token %q: WWW-Authenticate: got %q, want %q", token, got, want.challenge)
		}
	}
	conn := w.line("")
	_, _ = io.WriteString(conn, post{path: dummyPath + "/nothing", contentType: plainJSON, header: [][2]string{{"Authorization", "Bearer broken"}}}.wire())
	if heard, _ := io.ReadAll(conn); len(heard) > 0 {
		t.Errorf("a program that panics: got %q, want the connection cut", heard)
	}
	for _, m := range svc.Stats().Methods {
		if m.Method == "nothing" && m.Calls["internal"] != 1 {
			t.Errorf("the counts are %v, want one internal", m.Calls)
		}
	}
}

// TestConnectionsLive: a refusal costs the connection only where much was left to
// read.
func TestConnectionsLive(t *testing.T) {
	t.Parallel()
	w := serve(t, serverOf(t, rpc.Config{}, careful()))
	conn := w.line("")
	r := bufio.NewReader(conn)
	for _, c := range []struct {
		post   post
		status int
	}{
		{post{path: "/Test/Careful/one", contentType: plainJSON, body: strings.Repeat(" ", 60_000)}, 401},
		{post{path: "/Test/Careful/nosuch", contentType: plainJSON, body: "[]"}, 501},
		{post{path: "/Test/Careful", contentType: urlencoded, body: "method=nosuch"}, 501},
		{post{path: "/Test/Careful/echo", contentType: "text/plain", body: "hello"}, 415},
		{post{path: "/Test/Careful/echo", contentType: plainJSON, body: "[]"}, 400},
		{post{path: "/Test/Nobody", contentType: plainJSON, body: "[]"}, 404},
		{post{path: "/Test/Careful/echo", contentType: plainJSON, body: "[1]"}, 200},
	} {
		if _, err := io.WriteString(conn, c.post.wire()); err != nil {
			t.Fatal(err)
		}
		if a := w.hear(r); a.StatusCode != c.status || a.Close {
			t.Errorf("%s: got %d, closing %t; want %d", c.post.path, a.StatusCode, a.Close, c.status)
		}
	}
	if a := w.ask("", post{path: "/Test/Careful/put", contentType: octets, body: strings.Repeat(" ", 70_000)}); a.StatusCode != 401 || !a.Close {
		t.Errorf("got %d, closing %t; want 401 and the end of the connection", a.StatusCode, a.Close)
	}
}

// TestRefusedAtOnce: neither the answer nor the end of the connection waits for a
// body that does not come.
func TestRefusedAtOnce(t *testing.T) {
	const call = "HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for _, c := range []struct {
		name, who, request string
		status             int
	}{
		{"nobody", "", "POST /Test/Careful/one " + call + "Content-Length: 100\r\n\r\n", 401},
		{"nobody, and a beginning", "", "POST /Test/Careful/one " + call + "Content-Length: 100\r\n\r\n[", 401},
		{"nobody, and much announced", "", "POST /Test/Careful/large " + call + "Content-Length: 200000\r\n\r\n", 401},
		{"nobody, in chunks", "", "POST /Test/Careful/one " + call + "Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n", 401},
		{"no such method", "agent", "POST /Test/Careful/nosuch " + call + "Content-Length: 100\r\n\r\n", 501},
		{"no such path", "agent", "POST /Test/Other " + call + "Content-Length: 100\r\n\r\n", 404},
		{"the contract", "agent", "GET /Test/Careful " + call + "Content-Length: 100\r\n\r\n", 200},
		{"the contract for nobody", "", "GET /Test/Careful " + call + "Content-Length: 100\r\n\r\n", 401},
	} {
		for name, tune := range tunings {
			t.Run(c.name+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := serveInMemory(t, serverOf(t, rpc.Config{}, careful()), tune)
					conn := w.line(c.who)
					begin := time.Now()
					if _, err := io.WriteString(conn, c.request); err != nil {
						t.Fatal(err)
					}
					r := bufio.NewReader(conn)
					a := w.hear(r)
					if took := time.Since(begin); a.StatusCode != c.status || !a.Close || took > time.Second {
						t.Errorf("got %d %s after %v, closing %t; want %d at once, and the connection ended", a.StatusCode, a.body, took, a.Close, c.status)
					}
					if _, err := r.ReadByte(); err != io.EOF || time.Since(begin) > 2*time.Second {
						t.Errorf("the connection: %v after %v, want its end", err, time.Since(begin))
					}
				})
			})
		}
	}
}

// TestExpiryEndsConnections: a credential that was good when the connection began
// does not hold its owner in a connection where it is good no more.
func TestExpiryEndsConnections(t *testing.T) {
	t.Parallel()
	for _, code := range []bus.Code{bus.CodeUnauthenticated, bus.CodeCertificateExpired, bus.CodePermissionDenied} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, http2=%t", code, http2), func(t *testing.T) {
				t.Parallel()
				lines := sync.Map{} // remote address → true: it has been used
				cfg := rpc.Config{Authenticate: func(r *http.Request) (access.Caller, *bus.Error) {
					if _, used := lines.LoadOrStore(r.RemoteAddr, true); used {
						return access.Caller{}, bus.Errorf(code, "the certificate has expired")
					}
					return access.Caller{Via: access.ViaCertificate, Peer: bus.Peer{Name: "dns:agent"}}, nil
				}}
				client := serve(t, serverOf(t, cfg, careful()), "h2", "http/1.1").client("agent", http2)
				got := []int{}
				for range 6 {
					resp, err := client.Post("https://"+host+"/Test/Careful/one", plainJSON, strings.NewReader("[]"))
					if err != nil {
						t.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					got = append(got, resp.StatusCode)
				}
				refused := 401
				if code == bus.CodePermissionDenied {
					refused = 403
				}
				if want := []int{200, refused, 200, refused, 200, refused}; !slices.Equal(got, want) {
					t.Errorf("got %v, want %v: a new connection after each refusal", got, want)
				}
			})
		}
	}
}

// TestHTTP2: calls of one connection run at a time.
func TestHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := rpc.NewService("Test/Two")
		const pause = 30 * time.Second
		rpc.Export(svc, "long", func(content io.Reader) (int64, error) {
			n, err := io.Copy(io.Discard, content)
			time.Sleep(pause)
			return n, err
		})
		w := serveInMemory(t, svc, func(*http.Server) {}, "h2")
		client := w.client("agent", true)
		defer client.CloseIdleConnections()
		begin := time.Now()
		var work sync.WaitGroup
		for range 10 {
			work.Go(func() {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/Test/Two/long", strings.NewReader(strings.Repeat("x", 20_000)))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Content-Type", octets)
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != `{"OK":true,"Value":20000}` || resp.ProtoMajor != 2 {
					t.Errorf("got %s %s, %v", resp.Proto, body, err)
				}
			})
		}
		work.Wait()
		if took := time.Since(begin); took != pause {
			t.Errorf("10 calls took %v, want %v", took, pause)
		}
	})
}

// TestRecorder: it needs nothing of a ResponseWriter but what every one has.
func TestRecorder(t *testing.T) {
	t.Parallel()
	for _, p := range []post{
		{path: dummyPath, contentType: urlencoded, body: "method=sum&args=[1,2]"},
		{path: dummyPath + "/sum", contentType: plainJSON, body: "[1,2]"},
	} {
		r := httptest.NewRequest(http.MethodPost, p.path, strings.NewReader(p.body))
		r.Header.Set("Content-Type", p.contentType)
		w := httptest.NewRecorder()
		dummy().ServeHTTP(w, r)
		if w.Code != 200 || !strings.Contains(w.Body.String(), "3") {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	}
}

// TestAccessLog: one line for each call, which says nothing of what it brought.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zap.DebugLevel)
	w := serve(t, serverOf(t, rpc.Config{Logger: zap.New(core)}, dummy()))
	for _, p := range []post{
		{path: dummyPath, contentType: urlencoded, body: `method=add&args=[1,"canary"]&clientVO=canary`},
		{path: dummyPath + "/add?canary=canary", contentType: plainJSON, body: `[1,2,"canary"]`},
		{path: dummyPath + "/nosuch%0Ainjected", contentType: plainJSON, body: `["canary"]`},
		{path: "/canary", contentType: plainJSON, body: `["canary"]`},
		{path: dummyPath, contentType: "text/canary", body: `canary`, header: [][2]string{{"User-Agent", "canary"}, {"X-Request-Id", "canary"}}},
		{path: dummyPath, contentType: urlencoded, body: `method=whoami&extraCredentials=canary`},
	} {
		w.ask("agent", p)
	}
	entries := logged.All()
	if len(entries) != 6 {
		t.Errorf("got %d lines, want 6", len(entries))
	}
	statuses := map[any]int{}
	for _, e := range entries {
		line, err := zapLine(e)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "canary") || strings.Contains(line, "\n") {
			t.Errorf("a line says what it should not: %s", line)
		}
		if e.LoggerName != "rpc" {
			t.Errorf("a line of the logger %q, want rpc: %s", e.LoggerName, line)
		}
		statuses[e.ContextMap()["status"]]++
	}
	for _, want := range []int64{200, 400, 501, 415, 403} {
		if statuses[want] != 1 {
			t.Errorf("%d lines have status %d, want 1", statuses[want], want)
		}
	}
}

// zapLine is a line as the program writes it.
func zapLine(e observer.LoggedEntry) (string, error) {
	line, err := json.Marshal(e.ContextMap())
	return e.Message + string(line), err
}
