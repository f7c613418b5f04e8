//go:build linux

package hostile_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is wrong in a script is told with its line.
func TestScriptFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"send x\"00\"":                           "before the first case",
		"case T1":                                "want the number of an attack and a name",
		"case garbage":                           "want the number of an attack and a name",
		"case T1 x\nat nowhere":                  "there is no point",
		"case T1 x\nat tcp\nsent x\"00\"":        "there is no step",
		"case T1 x\nat tcp\nsend":                "no bytes",
		"case T1 x\nat tcp\nsend x\"0\"":         "odd length",
		"case T1 x\nat tcp\nsend rep(2, \"a\"":   "want ) or ,",
		"case T1 x\nat tcp\nsend [1, {\"a\" 2}]": "want a colon",
		"case T1 x\nat tcp\nsend \"a\")":         "too many words",
		"case T1 x\nat tcp\ndrip 1 soon \"a\"":   "invalid duration",
	} {
		path := filepath.Join(t.TempDir(), "wrong.script")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readScript(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "wrong.script:") {
			t.Errorf("%q: got %v, want the line, and %q", text, err, want)
		}
	}
}

// The bytes of a script are those that it says.
func TestExpressions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"a\r\n" x"00 ff"`:              "a\r\n\x00\xff",
		`[4, -1, 300, "Ping"]`:          "\x94\x04\xff\xd3\x00\x00\x00\x00\x00\x00\x01\x2c\xa4Ping",
		`{"a": [nil, true], "b": b"x"}`: "\x82\xa1a\x92\xc0\xc3\xa1b\xc6\x00\x00\x00\x01x",
		`[rep(2, x"91") 1.5]`:           "\x91\x91\x91\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00",
		`each(i, 1, 3, 2, u16(i))`:      "\x00\x01\x00\x03\x00\x05",
		`len(rep(12, "a"))`:             "12",
		`frame(0x82, "ab")`:             "\x82\x82\x00\x00\x00\x00ab",
		`record(22, handshake(1, "a"))`: "\x16\x03\x01\x00\x05\x01\x00\x00\x01a",
		`get("/a", "-Host", "+X: y")`:   "GET /a HTTP/1.1\r\nX: y\r\n\r\n",
		`bin(word)`:                     "\xc6\x00\x00\x00\x03abc",
	} {
		e, err := parseExpression(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := e.bytes(scope{"word": "abc"}); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`nothing`: "nothing is named nothing", `what(1)`: "there is no function what", `1`: "is no bytes",
		`rep("a", "b")`: "is no number", `u16()`: "want 1 numbers",
	} {
		e, err := parseExpression(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := e.bytes(scope{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
}

// A server that ends otherwise than a script says is found out.
func TestWrongEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ says, want, got string }{
		{"\x15\x03\x03\x00\x02\x02\x46", "alert 70, closed", ""},
		{"\x15\x03\x03\x00\x02\x02\x46", "alert 40, closed", `got "alert 70, closed"`},
		{"\x15\x03\x03\x00\x02\x02\x46", "closed | open", `got "alert 70, closed"`},
		{"", "alert 40, closed", `got "closed"`},
		{"\x16\x03\x03\x00\x04\x02", "serverhello, closed", `got "half a record`},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "400, closed", `got "200, closed"`},
		{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "200, closed", `got "200, half an answer`},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { // ends with the client
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, test.says)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}()
		steps := []step{{verb: "at", words: []string{"tcp"}}, {verb: "expect", time: defaultWithin, want: strings.Split(test.want, " | ")}}
		p := &player{t: t, script: &script{steps: steps}, server: &server{addr: l.Addr().String()}, made: make([][]byte, 2)}
		err = p.play()
		p.end()
		l.Close()
		if test.got == "" && err != nil || test.got != "" && (err == nil || !strings.Contains(err.Error(), test.got)) {
			t.Errorf("a server that says %q, want %s: got %v, want %q", test.says, test.want, err, test.got)
		}
	}
}

// A secret is found as it is, and in other clothes.
func TestSecretsAreFound(t *testing.T) {
	t.Parallel()
	var p planted
	p.plant([]byte("0123456789abcdef"))
	for text, want := range map[string]int{
		"nothing": 0, "a " + canary + " b": 1, "30313233343536373839616263646566": 1, "MDEyMzQ1Njc4OWFiY2RlZg==": 2, "U0VDUkVUQ0FOQVJZN2YzYQ": 1,
	} {
		if got := p.in(text); len(got) != want {
			t.Errorf("%q: found %q, want %d", text, got, want)
		}
	}
}
