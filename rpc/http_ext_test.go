package rpc_test

import (
	"net/http"
	"strings"
	"testing"

	"busd/rpc"
)

const dummyPath = "/Framework/DummyTornado"

// TestRequests is what stands on which path, and what does not.
func TestRequests(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	form := func(path string) post {
		return post{path: path, contentType: urlencoded, body: "method=sum&args=[1,2]"}
	}
	json := func(path, body string) post { return post{path: path, contentType: plainJSON, body: body} }
	notFound := `"code":"not_found"`
	for _, c := range []struct {
		name   string
		post   post
		status int
		part   string
	}{
		{"the service", form(dummyPath), 200, `{"OK": true, "Value": 3}`},
		{"a method", json(dummyPath+"/sum", "[1,2]"), 200, `{"OK":true,"Value":3}`},
		{"a method, by names", json(dummyPath+"/sum", `{"b":2,"a":1}`), 200, `{"OK":true,"Value":3}`},
		{"a method, as a form", form(dummyPath + "/sum"), 200, `{"OK": true, "Value": 3}`},
		{"an object for the service", json(dummyPath, `{"method":"sum","args":[1],"kwargs":{"b":2}}`), 200, `{"OK":true,"Value":3}`},
		{"no type, no body", post{path: dummyPath + "/nothing"}, 200, `{"OK":true,"Value":null}`},
		{"an empty JSON body", json(dummyPath+"/nothing", ""), 200, `{"OK":true,"Value":null}`},
		{"JSON with a charset", post{path: dummyPath + "/sum", contentType: "application/json; charset=UTF-8", body: "[1,2]"}, 200, "3"},
		{"a form with a charset", post{path: dummyPath, contentType: "application/x-www-form-urlencoded; charset=utf-8", body: "method=nothing"}, 200, "null"},

		{"another service", json("/Framework/Nobody", "[]"), 404, notFound},
		{"trailing slash", json(dummyPath+"/", "[]"), 404, notFound},
		{"two slashes", json("/"+dummyPath+"/sum", "[]"), 404, notFound},
		{"letter case", json("/framework/dummytornado", "[]"), 404, notFound},
		{"below a method", json(dummyPath+"/sum/more", "[]"), 404, notFound},
		{"a longer name", json(dummyPath+"X", "[]"), 404, notFound},
		{"encoded letters", json("/Framework/Dummy%54ornado", "[]"), 404, notFound},
		{"an encoded slash", json("/Framework%2fDummyTornado", "[]"), 404, notFound},
		{"an encoded slash below", json(dummyPath+"%2fsum", "[]"), 404, notFound},
		{"dot segments", json("/Framework/../Framework/DummyTornado", "[]"), 404, notFound},
		{"NUL", json(dummyPath+"%00", "[]"), 404, notFound},
		{"overlong UTF-8", json("/Framework/DummyTornado%c0%af", "[]"), 404, notFound},
		{"an absolute URI", json("https://elsewhere.test"+dummyPath, "[]"), 404, notFound},
		{"the root", json("/", "[]"), 404, notFound},

		{"an unknown method", form(dummyPath + "?method=nosuch"), 501, ""},
		{"an unknown method in the path", json(dummyPath+"/nosuch", "[]"), 501, `"code":"unimplemented"`},
		{"a Python name", json(dummyPath+"/__class__", "[]"), 501, ""},
		{"DIRAC's prefix", json(dummyPath+"/export_sum", "[]"), 501, ""},
		{"a name of 5,000 characters", json(dummyPath+"/"+strings.Repeat("x", 5000), "[]"), 501, ""},
		{"a field that contradicts the path", post{path: dummyPath + "/sum", contentType: urlencoded, body: "method=add"}, 400, "another"},

		{"text", post{path: dummyPath + "/sum", contentType: "text/plain", body: "[1,2]"}, 415, ""},
		{"XML", post{path: dummyPath + "/sum", contentType: "application/xml", body: "<a/>"}, 415, ""},
		{"a body without a type", post{path: dummyPath + "/sum", body: "[1,2]"}, 415, ""},
		{"Latin-1", post{path: dummyPath + "/sum", contentType: "application/json; charset=iso-8859-1", body: "[1,2]"}, 415, ""},
		{"a type that is none", post{path: dummyPath + "/sum", contentType: "application/json; =", body: "[1,2]"}, 415, ""},
		{"two types", post{path: dummyPath + "/sum", contentType: plainJSON, body: "[1,2]", header: [][2]string{{"Content-Type", plainJSON}}}, 415, ""},
		{"multipart without a boundary", post{path: dummyPath, contentType: "multipart/form-data", body: "x"}, 415, ""},
		{"JSON that says it is a form", post{path: dummyPath + "/sum", contentType: urlencoded, body: "[1,2]"}, 415, "application/json"},
		{"brotli", post{path: dummyPath + "/sum", contentType: plainJSON, body: "[1,2]", header: [][2]string{{"Content-Encoding", "br"}}}, 415, ""},
		{"gzip twice", post{path: dummyPath + "/sum", contentType: plainJSON, body: "[1,2]", header: [][2]string{{"Content-Encoding", "gzip, gzip"}}}, 415, ""},
		{"bytes for a method that takes none", post{path: dummyPath + "/sum", contentType: octets, body: "abc"}, 415, "takes no stream"},
		{"bytes for no method", post{path: dummyPath, contentType: octets, body: "abc"}, 400, "method is missing"},

		{"args in the query string that are none", post{path: dummyPath + "/streamFromClient?args=1", contentType: octets}, 400, "want a list"},
		{"kwargs there that are none", post{path: dummyPath + "/streamFromClient?kwargs=[]", contentType: octets}, 400, "want an object"},

		{"no method", json(dummyPath, `{"args":[]}`), 400, "method is missing"},
		{"an array for the service", json(dummyPath, `[]`), 400, "want an object"},
		{"nothing for the service", json(dummyPath, ``), 400, "want an object"},
		{"an unknown member", json(dummyPath, `{"method":"sum","argz":[]}`), 400, "argz"},
		{"folded names", json(dummyPath, `{"Method":"sum"}`), 400, "Method"},
		{"a member twice", json(dummyPath, `{"method":"sum","method":"add"}`), 400, "method"},
		{"args that are an object", json(dummyPath, `{"method":"sum","args":{}}`), 400, "args: want a list"},
		{"kwargs that are a list", json(dummyPath, `{"method":"sum","kwargs":[]}`), 400, "kwargs: want an object"},
		{"a method that is a number", json(dummyPath, `{"method":1}`), 400, "method: want string"},
		{"a text as arguments", json(dummyPath+"/sum", `"ab"`), 400, "want an array"},
		{"a byte order mark", json(dummyPath+"/sum", "\xef\xbb\xbf[1,2]"), 400, ""},
		{"not JSON", json(dummyPath+"/sum", `[1,2`), 400, ""},
		{"more after it", json(dummyPath+"/sum", `[1,2] [3]`), 400, ""},
		{"NaN", json(dummyPath+"/echo", `[NaN]`), 400, ""},
		{"duplicate names", json(dummyPath+"/echo", `[{"a":1,"a":2}]`), 400, ""},
		{"not UTF-8", json(dummyPath+"/echo", "[\"\xff\"]"), 400, ""},
		{"too deep", json(dummyPath+"/echo", strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)), 400, ""},
		{"wrong arguments", json(dummyPath+"/sum", `[1,"x"]`), 400, `b`},
		{"wrong arguments, as a form", post{path: dummyPath, contentType: urlencoded, body: `method=sum&args=[1,"x"]`}, 400, "b"},

		{"S_ERROR", json(dummyPath+"/fails", "[]"), 200, `{"OK":false,"Errno":0,"Message":"no luck","Code":"unknown"}`},
		{"S_ERROR with errno", json(dummyPath+"/failsOn", "[]"), 200, `"Message":"No such file or directory ( 2 : no luck)","Code":"not_found"}`},
		{"S_ERROR, as a form", post{path: dummyPath, contentType: urlencoded, body: "method=failsOn"}, 200, `{"OK": false, "Errno": 2, "Message": "No such file or directory ( 2 : no luck)"}`},
		{"S_ERROR that is not UTF-8", json(dummyPath+"/mumbles", "[]"), 200, `"Errno":2,"Message":"No such file or directory ( 2 : caf�)","Code":"not_found"}`},
		{"S_ERROR that is not UTF-8, as a form", post{path: dummyPath, contentType: urlencoded, body: "method=mumbles"}, 200, `"Errno": 2, "Message": "No such file or directory ( 2 : caf\ufffd)"}`},
		{"S_ERROR that is not UTF-8, for bytes", post{path: dummyPath, contentType: urlencoded, body: "method=mumblesBytes&rawContent=True"}, 422, "caf�"},
		{"a panic", json(dummyPath+"/panics", "[]"), 500, `"code":"internal"`},
		{"a result that cannot be written", json(dummyPath+"/unwritable", "[]"), 500, `"code":"internal"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := w.ask("agent", c.post)
			a.contains(t, c.status, c.part)
			if strings.Contains(a.body, "canary") || strings.Contains(a.body, "<") {
				t.Errorf("the body shows what is internal, or is HTML: %q", a.body)
			}
			if a.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("no X-Content-Type-Options: nosniff")
			}
			if id := a.Header.Get("X-Request-Id"); id == "" && c.status != 404 {
				t.Error("no X-Request-Id")
			}
			wantType := "application/json"
			if c.status != 200 && c.post.contentType == urlencoded && c.status != 404 {
				wantType = "text/plain; charset=utf-8"
			}
			if got := a.Header.Get("Content-Type"); got != wantType {
				t.Errorf("Content-Type: got %s, want %s", got, wantType)
			}
		})
	}
}

func TestMethodsOfHTTP(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "QUERY", "get"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			for path, allow := range map[string]string{dummyPath: "GET, POST", dummyPath + "/sum": "POST"} {
				r, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := w.client("agent", false).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != allow {
					t.Errorf("%s: got %d, Allow: %s; want 405, Allow: %s", path, resp.StatusCode, resp.Header.Get("Allow"), allow)
				}
			}
		})
	}
	t.Run("GET of a method", func(t *testing.T) {
		t.Parallel()
		a := w.say("agent", "GET "+dummyPath+"/sum HTTP/1.1\r\nHost: x\r\n\r\n")
		if a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "POST" {
			t.Errorf("got %d, Allow: %s", a.StatusCode, a.Header.Get("Allow"))
		}
	})
	t.Run("an override", func(t *testing.T) {
		t.Parallel()
		a := w.say("agent", "GET "+dummyPath+"/sum HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: POST\r\n\r\n")
		if a.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("got %d", a.StatusCode)
		}
	})
}

// TestBrowsers: a page of anybody's makes a browser send its user's certificate.
func TestBrowsers(t *testing.T) {
	t.Parallel()
	w := serve(t, serverOf(t, rpc.Config{Origins: []string{"https://desk.test:8443"}}, dummy()))
	for _, c := range []struct {
		name   string
		header [][2]string
		status int
	}{
		{"no browser", nil, 200},
		{"a listed page", [][2]string{{"Origin", "https://desk.test:8443"}, {"Sec-Fetch-Site", "cross-site"}}, 200},
		{"another port", [][2]string{{"Origin", "https://desk.test"}}, 403},
		{"without TLS", [][2]string{{"Origin", "http://desk.test:8443"}}, 403},
		{"a page of this server's", [][2]string{{"Origin", "https://" + host}, {"Sec-Fetch-Site", "same-origin"}}, 403},
		{"a sandbox", [][2]string{{"Origin", "null"}}, 403},
		{"an empty origin", [][2]string{{"Origin", ""}}, 403},
		{"two origins", [][2]string{{"Origin", "https://desk.test:8443"}, {"Origin", "https://evil.test"}}, 403},
		{"another site, no origin", [][2]string{{"Sec-Fetch-Site", "cross-site"}}, 403},
		{"a sibling, no origin", [][2]string{{"Sec-Fetch-Site", "same-site"}}, 403},
		{"the address bar", [][2]string{{"Sec-Fetch-Site", "none"}}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := w.ask("agent", post{path: dummyPath, contentType: urlencoded, body: "method=sum&args=[1,2]", header: c.header})
			if a.StatusCode != c.status {
				t.Errorf("got %d %q, want %d", a.StatusCode, a.body, c.status)
			}
			for name := range a.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s: %s", name, a.Header.Get(name))
				}
			}
		})
	}
}
