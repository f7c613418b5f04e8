package rpc_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"busd/access"
	"busd/rpc"
)

// TestForm is DIRAC's form: what its fields mean, and what is no form.
func TestForm(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	for _, c := range []struct {
		name, query, body string
		status            int
		answer            string
	}{
		{"as DIRAC's client sends it", "", "method=sum&args=%5B1%2C+2%5D&clientVO=vo&clientSetup=Test", 200, `{"OK": true, "Value": 3}`},
		{"the document's name of method", "", "procedure=sum&args=[1,2]", 200, `{"OK": true, "Value": 3}`},
		{"method after args", "", "args=[1,2]&method=sum", 200, `{"OK": true, "Value": 3}`},
		{"method in the query string", "method=sum", "args=[1,2]", 200, `{"OK": true, "Value": 3}`},
		{"procedure in the query string", "procedure=sum", "args=[1,2]", 200, `{"OK": true, "Value": 3}`},
		{"the body goes before the query string", "method=nothing", "method=sum&args=[1,2]", 200, `{"OK": true, "Value": 3}`},
		{"no args", "", "method=nothing", 200, `{"OK": true, "Value": null}`},
		{"empty args", "", "method=nothing&args=", 200, `{"OK": true, "Value": null}`},
		{"the last of several counts", "", "method=add&args=[9]&method=sum&args=[1,2]", 200, `{"OK": true, "Value": 3}`},
		{"named arguments", "", `method=sum&kwargs={"a":1,"b":2}`, 200, `{"OK": true, "Value": 3}`},
		{"some of them named", "", `method=sum&args=[1]&kwargs={"b":2}`, 200, `{"OK": true, "Value": 3}`},
		{"white space is stripped", "", "method=+%09sum%0A%20&args=%20[1,2]%0D%0A", 200, `{"OK": true, "Value": 3}`},
		{"control characters are spaces", "", "method=%01sum%1f&args=[%001,%0e2]", 200, `{"OK": true, "Value": 3}`},
		{"so they are in a text", "", "method=echo&args=[\"a%01b\"]", 200, `{"OK": true, "Value": ["a b"]}`},
		{"what a client says of itself", "", "method=who&clientVO=+dteam&clientSetup=My-Setup", 200, `{"OK": true, "Value": "dteam/My-Setup"}`},
		{"which a query string cannot", "clientVO=other", "method=who", 200, `{"OK": true, "Value": "/"}`},
		{"unknown fields", "x=1&y", "method=nothing&newer=1&=&&z", 200, `{"OK": true, "Value": null}`},
		{"escapes in names, in either case", "", "m%65thod=%6e%6Fthing", 200, `{"OK": true, "Value": null}`},
		{"text", "", "method=add&args=[1,\"%C3%A9%E2%98%83\"]", 200, `{"OK": true, "Value": "\u00e9\u2603"}`},
		{"NaN", "", "method=echo&args=[NaN, -Infinity]", 200, `{"OK": true, "Value": [NaN, -Infinity]}`},

		{"args in the query string do not count", "args=[1,2]", "method=sum", 400, ""},
		{"nothing", "", "", 400, "method is missing: want the method's name as the last part of the path, or in the field method"},
		{"no method", "", "args=[]", 400, "method is missing: want the method's name as the last part of the path, or in the field method"},
		{"a method that is empty", "", "method=+&args=[]", 400, "method is missing: want the method's name as the last part of the path, or in the field method"},
		{"args that are an object", "", "method=sum&args={}", 400, "args: want a list"},
		{"args that are a text", "", "method=sum&args=\"ab\"", 400, "args: want a list"},
		{"args that are null", "", "method=nothing&args=null", 400, "args: want a list"},
		{"args that are not JSON", "", "method=sum&args=[1", 400, ""},
		{"kwargs that are a list", "", "method=sum&kwargs=[1,2]", 400, "kwargs: want an object"},
		{"an argument twice", "", `method=sum&args=[1,2]&kwargs={"b":2}`, 400, ""},
		{"an unknown class", "", `method=sum&args=[1,{"__dCls":"x","__dMod":"os"}]`, 400, ""},
		{"half an escape", "", "method=sum&args=[1,2]%2", 400, `form: field "args": % is not followed by two hexadecimal digits`},
		{"an escape that is none", "", "method=sum%zz", 400, `form: field "method": % is not followed by two hexadecimal digits`},
		{"one in a name", "", "m%g0=1", 400, "form: in a field's name % is not followed by two hexadecimal digits"},
		{"one in the query string", "a=%", "method=nothing", 400, `form: field "a": % is not followed by two hexadecimal digits`},
		{"not UTF-8", "", "method=add&args=[1,\"%ff\"]", 400, `form: field "args" is not UTF-8`},
		{"a name of 257 bytes", "", strings.Repeat("n", 257), 400, "form: a field's name has more than 256 bytes"},
		{"65 fields", "", strings.Repeat("a=1&", 64) + "method=nothing", 400, "form: more than 64 fields"},
		{"64 fields", "", strings.Repeat("a=1&", 63) + "method=nothing", 200, `{"OK": true, "Value": null}`},
		{"65 in the query string", strings.Repeat("&", 65), "method=nothing", 400, "form: more than 64 fields"},
		{"a field of 65 kB", "", "method=nothing&clientVO=" + strings.Repeat("x", 65<<10), 413, `form: field "clientVO" has more than 65536 bytes`},
		{"an unknown method", "", "method=nosuch&args=[]", 501, `Framework/DummyTornado has no method "nosuch"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := dummyPath
			if c.query != "" {
				path += "?" + c.query
			}
			a := w.ask("", post{path: path, contentType: urlencoded, body: c.body})
			if c.answer == "" {
				a.contains(t, c.status, "")
				return
			}
			a.wants(t, c.status, c.answer)
		})
	}
}

// TestRawContent: any text but none is true, also False, as on DIRAC's server.
func TestRawContent(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	const type8859 = "application/octet-stream; charset=iso-8859-1"
	for _, c := range []struct {
		name   string
		post   post
		status int
		kind   string
		body   string
	}{
		{"bytes", post{path: dummyPath, contentType: urlencoded, body: "method=bytes&rawContent=True"}, 200, type8859, "\x00\x01\xff"},
		{"text", post{path: dummyPath, contentType: urlencoded, body: "method=text&rawContent=True"}, 200, type8859, "caf\u00e9"},
		{"False", post{path: dummyPath, contentType: urlencoded, body: "method=bytes&rawContent=False"}, 200, type8859, "\x00\x01\xff"},
		{"in the query string", post{path: dummyPath + "?rawContent=1", contentType: urlencoded, body: "method=bytes"}, 200, type8859, "\x00\x01\xff"},
		{"of a JSON call", post{path: dummyPath + "/bytes?rawContent=1", contentType: plainJSON, body: "[]"}, 200, type8859, "\x00\x01\xff"},
		{"not asked", post{path: dummyPath, contentType: urlencoded, body: "method=bytes&rawContent=+"}, 200, plainJSON, `{"OK": true, "Value": {"__dCls": "b64", "obj": "AAH/"}}`},
		{"of a method that has no bytes", post{path: dummyPath, contentType: urlencoded, body: "method=sum&args=[1,2]&rawContent=1"}, 400, "text/plain; charset=utf-8", "rawContent: the result of sum is no bytes"},
		{"of one that has none at all", post{path: dummyPath, contentType: urlencoded, body: "method=nothing&rawContent=1"}, 400, "text/plain; charset=utf-8", "rawContent: the result of nothing is no bytes"},
		{"of a result that turns out to be none", post{path: dummyPath, contentType: urlencoded, body: "method=unwritable&rawContent=1"}, 409, "text/plain; charset=utf-8", "rawContent: the result of unwritable is no bytes"},
		{"an error", post{path: dummyPath, contentType: urlencoded, body: "method=absent&rawContent=True"}, 404, "text/plain; charset=utf-8", "there is no such file"},
		{"an error, of a JSON call", post{path: dummyPath + "/absent?rawContent=1", contentType: plainJSON}, 404, plainJSON, `{"OK":false,"Errno":2,"Message":"there is no such file","Code":"not_found"}`},
		{
			"an error, for who takes JSON",
			post{path: dummyPath, contentType: urlencoded, body: "method=absent&rawContent=True", header: [][2]string{{"Accept", "application/json"}}},
			404, plainJSON, `{"OK": false, "Errno": 2, "Message": "there is no such file", "Code": "not_found"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := w.ask("", c.post)
			a.wants(t, c.status, c.body)
			if got := a.Header.Get("Content-Type"); got != c.kind {
				t.Errorf("Content-Type: got %s, want %s", got, c.kind)
			}
		})
	}
}

// TestMultipart is the same form in the other encoding.
func TestMultipart(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	part := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	file := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\n" + value + "\r\n"
	}
	const end = "--b--\r\n"
	sum := checksum([]byte("hello\x01"))
	for _, c := range []struct {
		name, body string
		status     int
		answer     string
	}{
		{"fields", part("method", "sum") + part("args", "[1,2]") + part("clientVO", "vo") + end, 200, `{"OK": true, "Value": 3}`},
		{"a preamble", "hello\r\n" + part("method", "sum") + part("args", "[1,2]") + end, 200, `{"OK": true, "Value": 3}`},
		{"the last counts", part("args", "[7]") + part("method", "add") + part("method", " sum ") + part("args", "[1,2]") + end, 200, `{"OK": true, "Value": 3}`},
		{"control characters", part("method", "echo") + part("args", "[\"a\x01b\"]") + end, 200, `{"OK": true, "Value": ["a b"]}`},
		{"kwargs", part("method", "sum") + part("kwargs", `{"a":1,"b":2}`) + end, 200, `{"OK": true, "Value": 3}`},
		{"a file", part("method", "streamFromClient") + part("args", `["f","",6]`) + file("data", "hello\x01") + end, 200, `{"OK": true, "Value": "f ` + sum + `"}`},
		{"a file before all", file("data", "hello\x01") + part("method", "streamFromClient") + part("args", `["f","",6]`) + end, 200, `{"OK": true, "Value": "f ` + sum + `"}`},
		{"two files", file("a", "1") + file("b", "2") + end, 400, "multipart: more than one file"},
		{"a file for a method that takes none", part("method", "nothing") + file("a", "1") + end, 400, "nothing takes no file"},
		{"no end", part("method", "nothing"), 400, "multipart: the form is not framed as its Content-Type says"},
		{"no boundary", "method=nothing", 400, "multipart: the form is not framed as its Content-Type says"},
		{"65 parts", strings.Repeat(part("a", "1"), 65) + end, 400, "form: more than 64 fields"},
		{"endless headers", "--b\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 100) + "\r\n\r\n" + end, 400, "multipart: more than 16384 bytes between two parts"},
		{"an endless preamble", strings.Repeat("a\r\n", 20_000) + end, 400, "multipart: more than 16384 bytes between two parts"},
		{"a large field", part("method", "nothing") + part("clientVO", strings.Repeat("x", 65<<10)) + end, 413, `form: field "clientVO" has more than 65536 bytes`},
		{"a long name", part(strings.Repeat("x", 300), "") + end, 400, "form: a field's name has more than 256 bytes"},
		{"not UTF-8", part("method", "\xff") + end, 400, `form: field "method" is not UTF-8`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w.ask("agent", post{path: dummyPath, contentType: "multipart/form-data; boundary=b", body: c.body}).wants(t, c.status, c.answer)
		})
	}
}

// TestClaims: a form's extraCredentials are a group, "hosts", or whom a trusted host
// asks for.
func TestClaims(t *testing.T) {
	t.Parallel()
	policy, err := access.New(access.Config{Registry: access.RegistryConfig{
		Users: []access.UserConfig{{Name: "alice", Peers: []string{"dns:alice"}}, {Name: "bob", DN: []string{"/CN=bob"}}},
		Hosts: []access.HostConfig{{Name: "gate", Peers: []string{"dns:gate"}, Properties: []string{access.TrustedHost}}},
		Groups: []access.GroupConfig{
			{Name: "users", Users: []string{"alice", "bob"}},
			{Name: "admins", Users: []string{"alice"}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := serve(t, serverOf(t, rpc.Config{Access: policy}, rpc.NewService("Test/Claims")))
	for _, c := range []struct {
		name, who, extra string
		status           int
		part             string
	}{
		{"none", "alice", "", 200, `"group": "users", "username": "alice"`},
		{"a group", "alice", `&extraCredentials="admins"`, 200, `"group": "admins", "username": "alice"`},
		{"an empty one", "alice", `&extraCredentials=""`, 200, `"group": "users"`},
		{"somebody else's group", "alice", `&extraCredentials="others"`, 403, ""},
		{"a host", "gate", `&extraCredentials="hosts"`, 200, `"group": "hosts", "username": "gate"`},
		{"for somebody", "gate", `&extraCredentials=["/CN=bob","users"]`, 200, `"group": "users", "username": "bob"`},
		{"for somebody, by nobody's host", "alice", `&extraCredentials=["/CN=bob","users"]`, 403, ""},
		{"no JSON", "alice", `&extraCredentials=admins`, 403, "extraCredentials: want"},
		{"a number", "alice", `&extraCredentials=1`, 403, "extraCredentials: want"},
		{"a list of three", "gate", `&extraCredentials=["/CN=bob","users","x"]`, 403, "extraCredentials: want"},
		{"a list of numbers", "gate", `&extraCredentials=[1,2]`, 403, "extraCredentials: want"},
		{"a list without a DN", "gate", `&extraCredentials=["","users"]`, 403, "extraCredentials: want"},
		{"no JSON, by nobody", "", `&extraCredentials=admins`, 401, "extraCredentials: want"},
		{"nobody", "", ``, 401, ""},
		{"nobody with a group", "", `&extraCredentials="admins"`, 401, ""},
		{"nobody for somebody", "", `&extraCredentials=["/CN=bob","users"]`, 401, ""},
		{"a stranger", "mallory", ``, 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := w.ask(c.who, post{path: "/Test/Claims", contentType: urlencoded, body: "method=whoami" + c.extra})
			a.contains(t, c.status, c.part)
			if challenge := a.Header.Get("WWW-Authenticate"); (challenge == "Bearer") != (c.status == 401) {
				t.Errorf("WWW-Authenticate: %q", challenge)
			}
			if c.extra == "" {
				return
			}
			a = w.ask(c.who, post{path: "/Test/Claims/whoami?" + strings.NewReplacer(" ", "%20", `"`, "%22").Replace(c.extra[1:]), contentType: plainJSON})
			if a.StatusCode != c.status {
				t.Errorf("in the query string: got %d %s, want %d", a.StatusCode, a.body, c.status)
			}
		})
	}
}

// TestDIRACClient plays what an unmodified client of DIRAC's sent, byte for byte.
func TestDIRACClient(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	captured, err := os.ReadFile("testdata/dirac_client.txt")
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{
		"echo of many": `{"OK": true, "Value": [[1, 2.5, null, true, "\u00e9\u2603 &=+%", [1, 2], {"a": 1, "2": "b", "null": 3, "true": 4, "1.5": 5}, ` +
			`{"__dCls": "dt", "obj": "2020-01-02 03:04:05"}, {"__dCls": "date", "obj": "2020-01-02"}, {"__dCls": "b64", "obj": "AP8="}, NaN, Infinity, 1180591620717411303424]]}`,
		"two args":    `{"OK": true, "Value": "x"}`,
		"sendFile":    `{"OK": true, "Value": "myid ` + checksum(files["myid"]) + `"}`,
		"receiveFile": string(files["myid"]),
	}
	conn := w.line("agent") // one for all, as the client keeps it
	r := bufio.NewReader(conn)
	played := 0
	for _, block := range strings.Split(string(captured), "#### ")[1:] {
		name, rest, _ := strings.Cut(block, "\n")
		rest = regexp.MustCompile(`(?m)^-- .*\n`).ReplaceAllString(rest, "")
		request, _, _ := strings.Cut(rest, "\n=> ")
		head, body, _ := strings.Cut(request, "\n\n")
		if _, err := io.WriteString(conn, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"+body); err != nil {
			t.Fatal(err)
		}
		a := w.hear(r)
		if a.Header.Get("Content-Encoding") == "gzip" {
			t.Errorf("%s: a small answer is compressed", name)
		}
		switch want, ok := answers[name]; {
		case ok:
			a.wants(t, http.StatusOK, want)
		case name == "delegated": // this certificate is no trusted host's
			a.contains(t, http.StatusForbidden, "TrustedHost")
		default: // ping
			a.contains(t, http.StatusOK, `"name": "Framework/DummyTornado"`)
		}
		played++
	}
	if played != 9 {
		t.Errorf("%d captures were played, want 9", played)
	}
}

// TestCompressedBodies: both ways.
func TestCompressedBodies(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	zip := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, s)
		_ = z.Close()
		return b.String()
	}
	ask := func(body, coding string) *answer {
		return w.ask("", post{path: dummyPath, contentType: urlencoded, body: body, header: [][2]string{{"Content-Encoding", coding}}})
	}
	const call = "method=sum&args=[1,2]"
	t.Run("requests", func(t *testing.T) {
		t.Parallel()
		ask(zip(call), "gzip").wants(t, 200, `{"OK": true, "Value": 3}`)
		ask(zip(call), "GZIP").wants(t, 200, `{"OK": true, "Value": 3}`)
		ask(zip("method=sum&")+zip("args=[1,2]"), "gzip").wants(t, 200, `{"OK": true, "Value": 3}`)
		ask(call, "identity").wants(t, 200, `{"OK": true, "Value": 3}`)
		ask(call, "gzip").contains(t, 400, "cannot be decompressed")
		ask(zip(call)[:20], "gzip").contains(t, 400, "cut off")
		ask(zip(call)+"rest", "gzip").contains(t, 400, "cannot be decompressed")
		ask("", "gzip").contains(t, 400, "")
		ask(call, "deflate").contains(t, 415, "Content-Encoding")
	})
	for _, c := range []struct {
		accept string
		zipped bool
	}{
		{"gzip, deflate", true},
		{"gzip", true},
		{"*", true},
		{"GZIP;q=0.5", true},
		{"br, gzip;q=0.001", true},
		{"x-gzip", true},
		{"", false},
		{"gzip;q=0", false},
		{"gzip;q=0.0, *", false},
		{"*;q=0", false},
		{"br", false},
		{"identity", false},
		{"gzip;q=x", false},
		{"notgzip", false},
	} {
		t.Run("answers, "+c.accept, func(t *testing.T) {
			t.Parallel()
			for times, large := range map[int]bool{300: true, 200: false} {
				header := [][2]string{{"Accept-Encoding", c.accept}}
				a := w.ask("", post{path: dummyPath + "/repeat", contentType: plainJSON, body: fmt.Sprintf(`["abcd",%d]`, times), header: header})
				body := a.body
				if a.Header.Get("Content-Encoding") == "gzip" {
					z, err := gzip.NewReader(strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					plain, err := io.ReadAll(z)
					if err != nil {
						t.Fatal(err)
					}
					body = string(plain)
				}
				if want := `{"OK":true,"Value":"` + strings.Repeat("abcd", times) + `"}`; body != want {
					t.Errorf("got %q, want %q", body, want)
				}
				if got := a.Header.Get("Content-Encoding") == "gzip"; got != (c.zipped && large) {
					t.Errorf("an answer of %d bytes: compressed %t, want %t", 4*times, got, c.zipped && large)
				}
				if a.ContentLength != int64(len(a.body)) || a.Header.Get("Vary") != "Accept-Encoding" {
					t.Errorf("Content-Length %d of %d, Vary: %s", a.ContentLength, len(a.body), a.Header.Get("Vary"))
				}
			}
		})
	}
	t.Run("raw answers never", func(t *testing.T) {
		t.Parallel()
		a := w.ask("", post{path: dummyPath + "/repeat?rawContent=1", contentType: plainJSON, body: `["abcd",300]`, header: [][2]string{{"Accept-Encoding", "gzip"}}})
		a.wants(t, 200, strings.Repeat("abcd", 300))
	})
}
