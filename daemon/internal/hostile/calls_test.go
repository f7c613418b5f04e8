package hostile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	jsonType = "Content-Type: application/json"
	formType = "Content-Type: application/x-www-form-urlencoded"
)

// posted is a call: POST to the service's path and what is said below it, with a
// body and its length.
func posted(below string, body []byte, headers ...string) []byte {
	headers = append(headers, fmt.Sprintf("Content-Length: %d", len(body)))
	return join(request("POST "+callPath+below+" HTTP/1.1", headers...), body)
}

// asked is a call with a body that is a text.
func asked(kind, below, body string) func(*client) {
	return sends(posted(below, []byte(body), kind))
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close() // a buffer takes everything
	return out.Bytes()
}

func TestCalls(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	hidden := string(posted("/add", []byte("[666, 1]"), jsonType))
	bomb := zipped(make([]byte, 64<<20))
	deep := strings.Repeat("[", 100_000)

	cases := []hostileCase{
		// What is allowed, so that the others fail for their own reason.
		{name: "good", do: asked(jsonType, "/add", "[1, 2]"), want: "200, open"},
		{name: "good in a form", do: asked(formType, "", "method=add&args=%5B1%2C+2%5D"), want: "200, open"},
		{name: "nobody, where everybody may", at: tlsNobody, do: asked(jsonType, "/shout", `["x"]`), want: "200, open"},
		{name: "good in chunks", do: sends(request("POST "+callPath+"/add HTTP/1.1", jsonType, "Transfer-Encoding: chunked"), []byte("6\r\n[1, 2]\r\n0\r\n\r\n")), want: "200, open"},

		// Who may.
		{name: "nobody", at: tlsNobody, do: asked(jsonType, "/add", "[666, 1]"), want: "401, open"},
		{name: "nobody in a form", at: tlsNobody, do: asked(formType, "", "method=add&args=%5B666%2C+2%5D"), want: "401, open"},
		{name: "without the property", do: asked(jsonType, "/secret", "[]"), want: "403, open"},
		{name: "claiming a group", do: asked(formType, "", "method=secret&extraCredentials=%22Nobody%22"), want: "403, open"},
		{name: "claiming to be a host", do: asked(formType, "", "method=secret&extraCredentials=%22hosts%22"), want: "403, open"},
		{name: "in the name of somebody", do: asked(formType, "", "method=add&args=%5B666%2C+2%5D&extraCredentials=%5B%22%2FCN%3Dalice%22%2C+%22g%22%5D"), want: "403, open"},
		{name: "a bearer token of nobody's", at: tlsNobody, do: sends(posted("/add", []byte("[666, 1]"), jsonType, "Authorization: Bearer e30.e30.")), want: "401, open"},
		{name: "a proxy's word", at: tlsNobody, do: sends(posted("/add", []byte("[666, 1]"), jsonType, "X-Ssl-Client-Verify: SUCCESS", "X-Ssl-Cert: x")), want: "401, open"},
		{name: "a page elsewhere", do: sends(posted("/add", []byte("[666, 1]"), jsonType, "Origin: https://evil.example")), want: "403, open"},
		{name: "a form of a page elsewhere", do: sends(posted("", []byte("method=add&args=%5B666%2C+2%5D"), formType, "Sec-Fetch-Site: cross-site")), want: "403, open"},

		// Methods and paths.
		{name: "GET of a method", do: sends(plain("GET", callPath+"/add")), want: "405, open"},
		{name: "PUT", do: sends(plain("PUT", callPath)), want: "405, open"},
		{name: "DELETE of a method", do: sends(plain("DELETE", callPath+"/add")), want: "405, open"},
		{name: "HEAD", do: sends(plain("HEAD", callPath)), head: true, want: "200, open"},
		{name: "the override header", do: sends(plain("GET", callPath+"/add", "X-HTTP-Method-Override: POST")), want: "405, open"},
		{name: "two elements below", do: asked(jsonType, "/add/x", "[666, 1]"), want: "404, open"},
		{name: "a slash behind", do: asked(jsonType, "/add/", "[666, 1]"), want: "404, open"},
		{name: "a slash behind the service", do: asked(jsonType, "/", "[666, 1]"), want: "404, open"},
		{name: "two slashes", do: asked(jsonType, "//add", "[666, 1]"), want: "404, open"},
		{name: "an encoded letter", do: asked(jsonType, "/%61dd", "[666, 1]"), want: "404, open"},
		{name: "an encoded slash", do: asked(jsonType, "%2fadd", "[666, 1]"), want: "404, open"},
		{name: "dot segments", do: asked(jsonType, "/x/../add", "[666, 1]"), want: "404, open"},
		{name: "a NUL", do: asked(jsonType, "/add%00", "[666, 1]"), want: "501, open"},
		{name: "no such method", do: asked(jsonType, "/nope", "[]"), want: "501, open"},
		{name: "a method of Python", do: asked(jsonType, "/__class__", "[]"), want: "501, open"},
		{name: "a method of the handler", do: asked(formType, "", "method=export_add&args=%5B666%2C+2%5D"), want: "501, open"},
		{name: "a method of the type", do: asked(jsonType, "/ServeHTTP", "[]"), want: "501, open"},
		{name: "a method's name of 5,000 bytes", do: asked(jsonType, "/"+strings.Repeat("a", 5000), "[]"), want: "501, open"},
		{name: "two names", do: asked(formType, "/shout", "method=add&args=%5B666%2C+2%5D"), want: "400, open"},

		// Bodies.
		{name: "no content type", do: sends(posted("/add", []byte("[666, 1]"))), want: "415, open"},
		{name: "a content type that is none of ours", do: asked("Content-Type: text/xml", "/add", "[666, 1]"), want: "415, open"},
		{name: "multipart without a boundary", do: asked("Content-Type: multipart/form-data", "", "x"), want: "415, open"},
		{name: "a compression that nobody knows", do: sends(posted("/add", []byte("x"), jsonType, "Content-Encoding: br")), want: "415, closed"},
		{name: "gzip that is none", do: sends(posted("/add", []byte("[666, 1]"), jsonType, "Content-Encoding: gzip")), want: "400, open"},
		{name: "a bomb", do: sends(posted("/shout", bomb, jsonType, "Content-Encoding: gzip")), want: "413, closed"},
		{name: "a bomb in a bomb", do: sends(posted("/shout", zipped(bomb), jsonType, "Content-Encoding: gzip, gzip")), want: "415, closed"},
		{name: "10 GiB", do: func(c *client) {
			c.send(request("POST "+callPath+"/shout HTTP/1.1", jsonType, "Content-Length: 10737418240"))
			drips(64<<10, 0, make([]byte, 64<<10))(c)
		}, want: "413, closed"},
		{name: "10 GiB that are asked for first", do: sends(request("POST "+callPath+"/shout HTTP/1.1", jsonType, "Content-Length: 10737418240", "Expect: 100-continue")), want: "413, closed"},
		{name: "endless chunks", do: func(c *client) {
			c.send(request("POST "+callPath+"/shout HTTP/1.1", jsonType, "Transfer-Encoding: chunked"))
			drips(64<<10, 0, bytes.Repeat([]byte("4000\r\n"+strings.Repeat(" ", 0x4000)+"\r\n"), 4))(c)
		}, want: "413, closed"},
		{name: "endless chunks of one byte", do: func(c *client) {
			c.send(request("POST "+callPath+"/shout HTTP/1.1", jsonType, "Transfer-Encoding: chunked"))
			drips(6, 10*time.Millisecond, []byte("1\r\n \r\n"))(c)
		}, within: 2*pace + 8*time.Second, want: "408, closed"},
		{name: "a body that never comes", do: sends(request("POST "+callPath+"/shout HTTP/1.1", jsonType, "Content-Length: 100")), within: 2*pace + 8*time.Second, want: "408, closed"},
		{name: "a stream that never comes", do: sends(request("POST "+callPath+"/store HTTP/1.1", "Content-Type: application/octet-stream", "Content-Length: 100")), within: 2*pace + 8*time.Second, want: "408, closed"},
		{name: "a body that never comes, of nobody", at: tlsNobody, do: sends(request("POST "+callPath+"/add HTTP/1.1", jsonType, "Content-Length: 100")), within: 2*pace + 8*time.Second, want: "401, closed"},
		{name: "chunks of garbage", do: sends(request("POST "+callPath+"/shout HTTP/1.1", jsonType, "Transfer-Encoding: chunked"), []byte("zz\r\nwhat\r\n")), want: "400, closed"},
		{name: "half a body", do: func(c *client) {
			c.send(request("POST "+callPath+"/add HTTP/1.1", jsonType, "Content-Length: 100"))
			c.send([]byte("[666"))
			_ = c.raw.Close()
		}, want: "closed"},

		// JSON.
		{name: "100,000 brackets", do: asked(jsonType, "/shout", deep), want: "400, open"},
		{name: "100,000 brackets in a form", do: asked(formType, "", "method=shout&args="+strings.Repeat("%5B", 20_000)), want: "400, open"},
		{name: "30,000 values", do: asked(jsonType, "/echo", "[["+strings.Repeat("0,", 30_000)+"0]]"), want: "400, open"},
		{name: "a number of 10,000 digits", do: asked(jsonType, "/echo", "["+strings.Repeat("9", 10_000)+"]"), want: "400, open"},
		{name: "NaN", do: asked(jsonType, "/echo", "[NaN]"), want: "400, open"},
		{name: "a BOM", do: asked(jsonType, "/echo", "\ufeff[1]"), want: "400, open"},
		{name: "not UTF-8", do: asked(jsonType, "/echo", "[\"\xff\"]"), want: "400, open"},
		{name: "half a surrogate", do: asked(jsonType, "/shout", `["\ud800"]`), want: "400, open"},
		{name: "two values", do: asked(jsonType, "/add", "[666, 1] [666, 1]"), want: "400, open"},
		{name: "a comma too many", do: asked(jsonType, "/add", "[666, 1,]"), want: "400, open"},
		{name: "a comment", do: asked(jsonType, "/add", "[666, 1] // x"), want: "400, open"},
		{name: "names twice", do: asked(jsonType, "/add", `{"a": 666, "b": 1, "a": 666}`), want: "400, open"},
		{name: "names in capitals", do: asked(jsonType, "/add", `{"A": 666, "B": 1}`), want: "400, open"},
		{name: "names that there are not", do: asked(jsonType, "/add", `{"a": 666, "b": 1, "__proto__": {}}`), want: "400, open"},
		{name: "nothing", do: asked(jsonType, "", ""), want: "400, open"},
		{name: "a text", do: asked(jsonType, "/add", `"666"`), want: "400, open"},
		{name: "texts for numbers", do: asked(jsonType, "/add", `["666", "1"]`), want: "400, open"},
		{name: "floats for ints", do: asked(jsonType, "/add", `[666.0, 1]`), want: "400, open"},
		{name: "true for an int", do: asked(jsonType, "/add", `[true, 1]`), want: "400, open"},
		{name: "numbers beyond 64 bits", do: asked(jsonType, "/add", `[18446744073709552282, 1]`), want: "400, open"},
		{name: "a class", do: asked(formType, "", `method=add&args=%5B%7B%22__dCls%22%3A+%22os.system%22%7D%2C+1%5D`), want: "400, open"},

		// Forms.
		{name: "half an escape", do: asked(formType, "", "method=add&args=%5B666%2C+2%5"), want: "400, open"},
		{name: "600 fields", do: asked(formType, "", "method=add&args=%5B666%2C+2%5D"+strings.Repeat("&a=b", 600)), want: "400, open"},
		{name: "100,000 empty fields", do: asked(formType, "", "method=add&args=%5B666%2C+2%5D"+strings.Repeat("&", 100_000)), want: "400, open"},
		{name: "args that are no list", do: asked(formType, "", "method=add&args=666"), want: "400, open"},

		// A second call inside the first: at most one answer for one request.
		{name: "a length and chunks", do: sends(request("POST "+callPath+"/shout HTTP/1.1", jsonType, "Content-Length: 4", "Transfer-Encoding: chunked"), []byte("0\r\n\r\n")), want: "400, open"},
		{name: "chunks by two headers", do: sends(request("POST "+callPath+"/shout HTTP/1.1", jsonType, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), []byte("0\r\n\r\n"+hidden)), want: "501, closed"},
		{name: "a call hidden in a body", do: sends(posted("/shout", []byte(hidden), jsonType)), want: "400, open"},
		{name: "a call hidden in a refused body", do: sends(posted("/nope", []byte(hidden), jsonType)), want: "501, open"},
		{name: "a call hidden in the body of a contract", do: sends(request("GET "+callPath+" HTTP/1.1", fmt.Sprintf("Content-Length: %d", len(hidden))), []byte(hidden)), want: "200, open"},
	}
	for i := range cases {
		if cases[i].at == tcpOpen {
			cases[i].at = tlsOpen
		}
	}
	s.run(t, cases)
}
