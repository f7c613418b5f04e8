package hostile

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// plain is a request of a method and a path as they are.
func plain(method, target string, headers ...string) []byte {
	return request(method+" "+target+" HTTP/1.1", headers...)
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	get := plain("GET", pingPath)
	hostilePing := frame(fin|opBinary, packed(kindRequest, num(1), str("Ping"), ping(forbidden)))
	hiddenGet := "GET " + pingPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n"

	cases := []hostileCase{
		// Methods.
		{name: "HEAD", do: sends(plain("HEAD", pingPath)), head: true, want: "200, open"},
		{name: "POST", do: sends(plain("POST", pingPath, "Content-Length: 2"), []byte("{}")), want: "405, open"},
		{name: "PUT without a body", do: sends(plain("PUT", pingPath)), want: "405, open"},
		{name: "CONNECT", do: sends(plain("CONNECT", "other:443")), want: "404, open"},
		{name: "TRACE", do: sends(plain("TRACE", pingPath)), want: "405, open"},
		{name: "a method that nobody knows", do: sends(plain("PWN", pingPath)), want: "405, open"},
		{name: "a method with a space before it", do: sends(plain(" GET", pingPath)), want: "400, closed"},
		{name: "the override header", do: sends(plain("POST", pingPath, "X-HTTP-Method-Override: GET")), want: "405, open"},

		// Paths.
		{name: "no service", do: sends(plain("GET", "/No/Service")), want: "404, open"},
		{name: "the root", do: sends(plain("GET", "/")), want: "404, open"},
		{name: "another case", do: sends(plain("GET", strings.ToLower(pingPath))), want: "404, open"},
		{name: "a slash behind", do: sends(plain("GET", pingPath+"/")), want: "404, open"},
		{name: "two slashes before", do: sends(plain("GET", "/"+pingPath)), want: "404, open"},
		{name: "an encoded slash", do: sends(plain("GET", "/Framework%2fPingPong")), want: "404, open"},
		{name: "an encoded letter", do: sends(plain("GET", "/Framework/%50ingPong")), want: "404, open"},
		{name: "dot segments", do: sends(plain("GET", "/x/.."+pingPath)), want: "404, open"},
		{name: "encoded dot segments", do: sends(plain("GET", "/%2e%2e"+pingPath)), want: "404, open"},
		{name: "a NUL", do: sends(plain("GET", pingPath+"%00")), want: "404, open"},
		{name: "a bare NUL", do: sends(plain("GET", pingPath+"\x00")), want: "400, closed"},
		{name: "overlong UTF-8", do: sends(plain("GET", "/Framework%c0%afPingPong")), want: "404, open"},
		{name: "half an escape", do: sends(plain("GET", pingPath+"%2")), want: "400, closed"},
		{name: "another host's URI", do: sends(plain("GET", "http://elsewhere/No/Service")), want: "404, open"},
		{name: "no path", do: sends(plain("GET", "*")), want: "404, open"},
		{name: "a path of 15 KiB", do: sends(plain("GET", "/"+strings.Repeat("a", 15<<10))), want: "404, open"},
		{name: "a path of 1 MiB", do: sends(plain("GET", "/"+strings.Repeat("a", 1<<20))), want: "431, closed"},

		// Headers.
		{name: "40 KiB in one header", do: sends(plain("GET", pingPath, "X: "+strings.Repeat("a", 40<<10))), want: "431, closed"},
		{name: "4,000 headers", do: sends(plain("GET", pingPath, strings.Split(strings.Repeat("X: aaaaaaaaaa\n", 4000), "\n")[:4000]...)), want: "431, closed"},
		{name: "endless headers", do: func(c *client) {
			c.send([]byte("GET / HTTP/1.1\r\n"))
			drips(4<<10, 0, []byte(strings.Repeat("X-Y: z\r\n", 512)))(c)
		}, want: "431, closed"},
		{name: "slow headers", do: drips(1, 100*time.Millisecond, upgrade(pingPath)), want: "400, closed"},
		{name: "half a request", do: sends(get[:len(get)-2]), want: "closed"},
		{name: "half a request line", do: sends([]byte("GE")), want: "400, closed"},
		{name: "no Host", do: sends([]byte("GET / HTTP/1.1\r\n\r\n")), want: "400, closed"},
		{name: "two Hosts", do: sends(plain("GET", pingPath, "Host: elsewhere")), want: "400, closed"},
		{name: "a Host that is none", do: sends([]byte("GET / HTTP/1.1\r\nHost: a b\r\n\r\n")), want: "400, closed"},
		{name: "a header without a name", do: sends(plain("GET", pingPath, ": x")), want: "400, closed"},
		{name: "a header with a space in its name", do: sends(plain("GET", pingPath, "X Y: x")), want: "400, closed"},
		{name: "a NUL in a header", do: sends(plain("GET", pingPath, "X: a\x00b")), want: "400, closed"},
		{name: "a folded header", do: sends(plain("GET", pingPath, "X: a\r\n b")), want: "200, open"},
		{name: "HTTP/1.0", do: sends([]byte("GET " + pingPath + " HTTP/1.0\r\n\r\n")), want: "200, closed"},
		{name: "HTTP/0.9", do: sends([]byte("GET " + pingPath + "\r\n\r\n")), want: "400, closed"},
		{name: "HTTP/3.7", do: sends([]byte("GET " + pingPath + " HTTP/3.7\r\nHost: localhost\r\n\r\n")), want: "505, closed"},
		{name: "the preface of HTTP/2", do: sends([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")), want: "404, closed"},
		{name: "an upgrade to h2c", do: sends(plain("GET", pingPath, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")), want: "200, open"},

		// Bodies.
		{name: "a body of 10 GiB", do: func(c *client) {
			c.send(plain("POST", pingPath, "Content-Length: 10737418240"))
			drips(64<<10, 0, make([]byte, 64<<10))(c)
		}, want: "405, closed"},
		{name: "a body that never comes", do: sends(plain("POST", pingPath, "Content-Length: 100")), want: "405, closed"},
		{name: "a body that is asked for first", do: sends(plain("POST", pingPath, "Content-Length: 100", "Expect: 100-continue")), want: "405, closed"},
		{name: "endless chunks", do: func(c *client) {
			c.send(plain("POST", pingPath, "Transfer-Encoding: chunked"))
			drips(16, time.Millisecond, []byte("8\r\naaaaaaaa\r\n"))(c)
		}, want: "405, closed"},
		{name: "chunks of garbage", do: sends(plain("POST", pingPath, "Transfer-Encoding: chunked"), []byte("zz\r\nwhat\r\n")), want: "405, closed"},
		{name: "a chunk of 2^64 bytes", do: sends(plain("POST", pingPath, "Transfer-Encoding: chunked"), []byte("fffffffffffffffff\r\n")), want: "405, closed"},
		{name: "a transfer encoding that nobody knows", do: sends(plain("POST", pingPath, "Transfer-Encoding: gzip")), want: "501, closed"},
		{name: "a length below zero", do: sends(plain("POST", pingPath, "Content-Length: -1")), want: "400, closed"},
		{name: "two lengths", do: sends(plain("POST", pingPath, "Content-Length: 2", "Content-Length: 3"), []byte("{}")), want: "400, closed"},

		// A second request inside the first: at most one answer.
		{name: "a length and chunks", do: sends(plain("GET", pingPath, "Content-Length: 4", "Transfer-Encoding: chunked"), []byte("0\r\n\r\n"+hiddenGet)), want: "200, 200, open"},
		{name: "chunks by two headers", do: sends(plain("GET", pingPath, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), []byte("0\r\n\r\n"+hiddenGet)), want: "501, closed"},
		{name: "chunks with a space before the colon", do: sends(plain("GET", pingPath, "Transfer-Encoding : chunked"), []byte("0\r\n\r\n"+hiddenGet)), want: "400, closed"},
		{name: "a request hidden in a body", do: sends(plain("GET", pingPath, fmt.Sprintf("Content-Length: %d", len(hiddenGet))), []byte(hiddenGet)), want: "200, open"},
		{name: "a bare CR in a header", do: sends(plain("GET", pingPath, "X: a\rTransfer-Encoding: chunked")), want: "400, closed"},
	}

	// Upgrades that are none. Never a 101.
	cases = append(cases, []hostileCase{
		{name: "upgrade: no Connection", do: sends(without(upgrade(pingPath), "Connection")), want: "200, open"},
		{name: "upgrade: no Upgrade", do: sends(without(upgrade(pingPath), "Upgrade")), want: "200, open"},
		{name: "upgrade: no version", do: sends(without(upgrade(pingPath), "Sec-WebSocket-Version")), want: "426, closed"},
		{name: "upgrade: version 8", do: sends(without(upgrade(pingPath, "sec-websocket-version: 8"), "Sec-WebSocket-Version")), want: "426, closed"},
		{name: "upgrade: no key", do: sends(without(upgrade(pingPath), "Sec-WebSocket-Key")), want: "400, open"},
		{name: "upgrade: two keys", do: sends(upgrade(pingPath, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")), want: "400, closed"},
		{name: "upgrade: a short key", do: sends(without(upgrade(pingPath, "sec-websocket-key: AAAA"), "Sec-WebSocket-Key")), want: "400, open"},
		{name: "upgrade: a key that is not base64", do: sends(without(upgrade(pingPath, "sec-websocket-key: ????????????????????????"), "Sec-WebSocket-Key")), want: "400, open"},
		{name: "upgrade: no subprotocol", do: sends(without(upgrade(pingPath), "Sec-WebSocket-Protocol")), want: "426, open"},
		{name: "upgrade: another subprotocol", do: sends(without(upgrade(pingPath, "sec-websocket-protocol: msgbus.v2, chat"), "Sec-WebSocket-Protocol")), want: "426, open"},
		{name: "upgrade: an Origin", do: sends(upgrade(pingPath, "Origin: https://localhost")), want: "403, open"},
		{name: "upgrade: the null Origin", do: sends(upgrade(pingPath, "Origin: null")), want: "403, open"},
		{name: "upgrade: an empty Origin", do: sends(upgrade(pingPath, "Origin:")), want: "403, open"},
		{name: "upgrade: an Origin as nobody", at: tlsNobody, do: sends(upgrade(pingPath, "Origin: https://localhost")), want: "403, open"},
		{name: "upgrade: POST", do: sends([]byte(strings.Replace(string(upgrade(pingPath)), "GET", "POST", 1))), want: "405, open"},
		{name: "upgrade: HTTP/1.0", do: sends([]byte(strings.Replace(string(upgrade(pingPath)), "HTTP/1.1", "HTTP/1.0", 1))), want: "400, closed"},
		{name: "upgrade: a body", do: sends(upgrade(pingPath, "Content-Length: 5"), []byte("hello")), want: "400, closed"},
		{name: "upgrade: a body that never comes", do: sends(upgrade(pingPath, "Content-Length: 5")), want: "400, closed"},
		{name: "upgrade: a body in chunks", do: sends(upgrade(pingPath, "Transfer-Encoding: chunked"), []byte("0\r\n\r\n")), want: "400, closed"},
		{name: "upgrade: no service", do: sends(upgrade("/No/Service")), want: "404, open"},
		{name: "upgrade: two upgrades", do: sends(upgrade(pingPath), upgrade(pingPath)), want: "closed"},
		{name: "upgrade: a frame before the 101", do: sends(upgrade(pingPath), frame(fin|opBinary, hello("early")), hostilePing), want: "closed"},
		{name: "upgrade: compression is not granted", do: sends(upgrade(pingPath, "Sec-WebSocket-Extensions: permessage-deflate")), want: "101, drop deadline_exceeded, close 4004"},
		{name: "upgrade: silence before the hello", do: sends(upgrade(pingPath)), want: "101, drop deadline_exceeded, close 4004"},
	}...)
	for i := range cases {
		if cases[i].at == tcpOpen {
			cases[i].at = tlsOpen
		}
	}
	s.run(t, cases)
}
