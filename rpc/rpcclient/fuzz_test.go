package rpcclient

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzRefusal: whatever a server answers instead of a result, what is said of it is a
// line that a terminal can show, and a time to wait that ends.
func FuzzRefusal(f *testing.F) {
	for _, seed := range []struct{ kind, after, body string }{
		{"application/json", "3", `{"code":"resource_exhausted","reason":"full","request_id":"x"}`},
		{"text/plain; charset=utf-8", "", "no\nmore"},
		{"application/json", "-1", `{"OK":false,"Errno":1101,"Message":"x"}`},
		{"text/html", "Fri, 31 Dec 9999 23:59:59 GMT", "<p>"},
		{"application/json", "99999999999999999999", `[`},
		{"text/plain", "1e9", "\x1b[2J\u202e\xff"},
		{";", " 7", ""},
	} {
		f.Add(seed.kind, seed.after, seed.body)
	}
	f.Fuzz(func(t *testing.T, kind, after, body string) {
		said := readRefusal(&http.Response{Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body))})
		if len(said.reason) > maxReason+len("…") || !utf8.ValidString(said.reason) || strings.ContainsFunc(said.reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: the reason is %q", body, said.reason)
		}
		if wait, ok := retryAfter(after); wait < 0 || wait > maxRetryAfter || !ok && wait != 0 {
			t.Errorf("Retry-After %q: got %v, %t", after, wait, ok)
		}
	})
}

// FuzzAnswer: an answer of DIRAC's form is a value or an error, and nothing else.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"OK": true, "Value": [1, 2]}`, `{"OK": false, "Message": "no", "Errno": 1101}`, `{"OK": 1}`, `{"OK": true}`, `{}`, `[]`, `{"OK": true, "OK": false, "Value": 1}`, `x`, ``,
		`{"OK": false, "Message": {"a": 1}, "Errno": "x", "Code": "unavailable"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		value, err := parseAnswer(body)
		if err != nil && (value != nil || err.Error() == "") {
			t.Errorf("%q: got %q beside %v", body, value, err)
		}
	})
}
