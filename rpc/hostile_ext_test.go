package rpc_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"busd/access"
	"busd/rpc"
)

// careful is a service of which nobody may call anything but echo.
func careful() *rpc.Service {
	s := rpc.NewService("Test/Careful")
	s.Allow = access.Authenticated
	s.MaxBody = 64 << 10
	rpc.Export(s, "one", func() int { return 1 })
	rpc.Export(s, "large", func(text string) int { return len(text) }).MaxBody = 4 << 20
	rpc.Export(s, "put", func(content io.Reader) (int64, error) { return io.Copy(io.Discard, content) }).MaxBody = 32 << 20
	return s
}

// TestRefusedBeforeTheBody: who may not call it need not send it.
func TestRefusedBeforeTheBody(t *testing.T) {
	t.Parallel()
	w := serve(t, serverOf(t, rpc.Config{}, careful()))
	const expect = "Expect: 100-continue\r\n"
	for _, c := range []struct {
		name, who, head string
		status          int
	}{
		{"nobody, JSON", "", "POST /Test/Careful/one HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n" + expect, 401},
		{"nobody, bytes", "", "POST /Test/Careful/put HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Length: 100000\r\n", 401},
		{"nobody, a form with the method in the path", "", "POST /Test/Careful/one HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n" + expect, 401},
		{"nobody, endless chunks", "", "POST /Test/Careful/put HTTP/1.1\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n", 401},
		{"an unknown method", "agent", "POST /Test/Careful/nosuch HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n" + expect, 501},
		{"another path", "agent", "POST /Test/Other HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n" + expect, 404},
		{"another type", "agent", "POST /Test/Careful/one HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n" + expect, 415},
		{"10 GiB", "agent", "POST /Test/Careful/put HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Length: 10737418240\r\n", 413},
		{"10 GiB of a form", "agent", "POST /Test/Careful HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10737418240\r\n", 413},
		{"one byte too many", "agent", "POST /Test/Careful/one HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 65537\r\n", 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			line, rest, _ := strings.Cut(c.head, "\r\n")
			a := w.say(c.who, line+"\r\nHost: "+host+"\r\n"+rest+"\r\n")
			if a.StatusCode != c.status {
				t.Errorf("got %d %s, want %d", a.StatusCode, a.body, c.status)
			}
		})
	}
}

// TestExpectContinue: who is welcome is told to go on.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	w := serve(t, serverOf(t, rpc.Config{}, careful()))
	conn := w.line("agent")
	r := bufio.NewReader(conn)
	fmt.Fprintf(conn, "POST /Test/Careful/put HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", host, octets)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("got %v, %v, want 100", resp, err)
	}
	_, _ = io.WriteString(conn, "hello")
	w.hear(r).wants(t, 200, `{"OK":true,"Value":5}`)
}

// bomb is n bytes that are small.
func bomb(n int, before, after string) string {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = io.WriteString(z, before)
	block := bytes.Repeat([]byte("0"), 1<<20)
	for ; n > 0; n -= len(block) {
		_, _ = z.Write(block[:min(n, len(block))])
	}
	_, _ = io.WriteString(z, after)
	_ = z.Close()
	return b.String()
}

// formParts is a multipart form of fields and their values.
func formParts(fields ...string) string {
	var b strings.Builder
	for i := 0; i < len(fields); i += 2 {
		fmt.Fprintf(&b, "--b\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", fields[i], fields[i+1])
	}
	return b.String() + "--b--\r\n"
}

// TestTooLarge: however it is wrapped up, a body has no more bytes than its method
// takes.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	w := serve(t, serverOf(t, rpc.Config{}, careful()))
	zipped := [][2]string{{"Content-Encoding", "gzip"}}
	chunked := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	chunk := func(n int) string { return chunked(strings.Repeat("0", n)) }
	path := "/Test/Careful"
	for _, c := range []struct {
		name    string
		request string
		status  int
	}{
		{"JSON at its limit", post{path: path + "/echo", contentType: plainJSON, body: `["` + strings.Repeat("x", 64<<10-4) + `"]`}.wire(), 200},
		{"JSON beyond it", post{path: path + "/echo", contentType: plainJSON, body: `["` + strings.Repeat("x", 64<<10-3) + `"]`}.wire(), 413},
		{"a form at its limit", post{path: path, contentType: urlencoded, body: `method=echo&args=["` + strings.Repeat("x", 64<<10-21) + `"]`}.wire(), 200},
		{"a form beyond it", post{path: path, contentType: urlencoded, body: `method=echo&args=["` + strings.Repeat("x", 64<<10-20) + `"]`}.wire(), 413},
		{"the limit of another method", post{path: path, contentType: urlencoded, body: `method=large&args=["` + strings.Repeat("x", 3<<20) + `"]`}.wire(), 200},
		{"that beyond it", post{path: path, contentType: urlencoded, body: `method=large&args=["` + strings.Repeat("x", 4<<20) + `"]`}.wire(), 413},
		{"found late", post{path: path, contentType: urlencoded, body: `args=["` + strings.Repeat("x", 3<<20) + `"]&method=echo`}.wire(), 413},
		{"found late, and it may", post{path: path, contentType: urlencoded, body: `args=["` + strings.Repeat("x", 3<<20) + `"]&method=large`}.wire(), 200},
		{"bytes beyond it", post{path: path + "/put", contentType: octets, body: strings.Repeat("x", 1<<20), header: [][2]string{{"X", "1"}}}.wire(), 200},
		{"a small bomb that fits", post{path: path + "/echo", contentType: plainJSON, body: bomb(60<<10, `["`, `"]`), header: zipped}.wire(), 200},
		{"a bomb for JSON", post{path: path + "/echo", contentType: plainJSON, body: bomb(16<<20, `["`, `"]`), header: zipped}.wire(), 413},
		{"a bomb for a form", post{path: path, contentType: urlencoded, body: bomb(16<<20, `method=large&args=["`, `"]`), header: zipped}.wire(), 413},
		{"a bomb for a stream", post{path: path + "/put", contentType: octets, body: bomb(64<<20, "", ""), header: zipped}.wire(), 413},
		{"a bomb in parts", post{path: path, contentType: "multipart/form-data; boundary=b", body: bomb(64<<20, "--b\r\nContent-Disposition: form-data; name=\"method\"\r\n\r\nput\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n", ""), header: zipped}.wire(), 413},
		{"empty members without end", "POST " + path + "/put HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunked(strings.Repeat(bomb(0, "", ""), 1000)), 34<<20/len(bomb(0, "", ""))/1000) + "0\r\n\r\n", 413},
		{"chunks", "POST " + path + "/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[\"a\r\n2\r\n\"]\r\n0\r\n\r\n", 200},
		{"chunks beyond it", "POST " + path + "/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk(1000), 70), 413},
		{"chunks of a stream beyond it", "POST " + path + "/put HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk(1<<20), 33), 413},
		{"found late, in parts", post{path: path, contentType: "multipart/form-data; boundary=b", body: formParts("args", `["`+strings.Repeat("x", 3<<20)+`"]`, "method", "large")}.wire(), 200},
		{"found late, in parts, and it may not", post{path: path, contentType: "multipart/form-data; boundary=b", body: formParts("args", `["`+strings.Repeat("x", 3<<20)+`"]`, "method", "echo")}.wire(), 413},
		{"600,000 fields", post{path: path, contentType: urlencoded, body: "method=large&" + strings.Repeat("a=1&", 600_000)}.wire(), 400},
		{"values", post{path: path, contentType: urlencoded, body: "method=large&args=[" + strings.Repeat("0,", 600_000) + "0]"}.wire(), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := w.line("agent")
			go func() { _, _ = io.WriteString(conn, c.request) }() // it ends with the connection
			a := w.hear(bufio.NewReader(conn))
			if a.StatusCode != c.status {
				t.Errorf("got %d %.200s, want %d", a.StatusCode, a.body, c.status)
			}
		})
	}
}

// TestOneAnswer: what cannot be framed is never two requests.
func TestOneAnswer(t *testing.T) {
	t.Parallel()
	w := serve(t, serverOf(t, rpc.Config{}, careful()))
	smuggled := post{path: "/Test/Careful/one", contentType: plainJSON}.wire()
	for _, head := range []string{
		"Content-Length: 4\r\nContent-Length: 5", "Transfer-Encoding: chunked, identity",
		"Transfer-Encoding: xchunked", "Content-Length: +4", "Content-Length: 4, 5", "Content-Length : 4", "Transfer-Encoding:\x0bchunked",
	} {
		t.Run(head, func(t *testing.T) {
			t.Parallel()
			conn := w.line("agent")
			_, _ = fmt.Fprintf(conn, "POST /Test/Careful/one HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n0\r\n\r\n%s", head, smuggled)
			_ = conn.CloseWrite()
			heard, _ := io.ReadAll(conn)
			if n := bytes.Count(heard, []byte("HTTP/1.1 ")); n > 1 || bytes.Contains(heard, []byte(`"Value":1`)) {
				t.Errorf("%d answers:\n%s", n, heard)
			}
		})
	}
}

// TestRoom: bodies of one service hold 64 MiB together, those of one peer or of
// nobody 16; small calls need none of it.
func TestRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose time is not that of a slow machine: after PaceTime who waits is given up
		svc := rpc.NewService("Test/Room")
		svc.Allow, svc.MaxBody = access.Any, 8<<20
		rpc.Export(svc, "take", func(text string) int { return len(text) })
		w := serveInMemory(t, serverOf(t, rpc.Config{}, svc), tunings["no timeouts"])
		most := post{path: "/Test/Room/take", contentType: plainJSON, body: `["` + strings.Repeat("x", 7<<20) + `"]`}.wire()
		most = most[:9<<19] // there is place for all of it from 4 MiB on
		var lines sync.WaitGroup
		fill := func(who string, n, refused int) {
			t.Helper()
			told := make(chan *http.Response, n)
			for range n {
				conn := w.line(who)
				lines.Go(func() { _, _ = io.WriteString(conn, most) })
				lines.Go(func() {
					if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
						told <- resp // the others wait for the rest of their body
					}
				})
				t.Cleanup(func() { conn.Close() })
			}
			for range refused {
				if resp := <-told; resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" {
					t.Errorf("got %d, Retry-After: %s; want 503, 1", resp.StatusCode, resp.Header.Get("Retry-After"))
				}
			}
		}
		t.Cleanup(lines.Wait) // after they were closed
		fill("", 4, 2)
		for _, peer := range []string{"a", "b", "c"} {
			fill(peer, 3, 1)
		}
		fill("d", 2, 1)
		w.ask("", post{path: "/Test/Room/take", contentType: plainJSON, body: `["small"]`}).wants(t, 200, `{"OK":true,"Value":5}`)
	})
}
