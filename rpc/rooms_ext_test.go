package rpc_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/access"
	"busd/rpc"
)

// givesText has a method that gives a text of n bytes.
func givesText(name string, n int) *rpc.Service {
	svc := rpc.NewService(name)
	text := strings.Repeat("x", n)
	rpc.Export(svc, "text", func() string { return text })
	return svc
}

// asked sends a call as somebody, and hears nothing of the answer yet.
func (w *world) asked(name string, p post) *bufio.Reader {
	w.t.Helper()
	conn := w.line(name)
	if _, err := io.WriteString(conn, p.wire()); err != nil {
		w.t.Fatal(err)
	}
	return bufio.NewReaderSize(conn, 16)
}

// TestAnswersPlace: a call keeps its place until its answer is sent, but for what
// is small.
func TestAnswersPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := givesText("Test/Answers", 100_000)
		svc.MaxConcurrent = 1
		w := serveInMemory(t, serverOf(t, rpc.Config{}, svc), tunings["no timeouts"])
		text := post{path: "/Test/Answers/text", contentType: plainJSON}
		slow := w.asked("agent", text)
		synctest.Wait()
		if n := svc.Stats().Running; n != 1 {
			t.Errorf("%d calls run while one is answered, want 1", n)
		}
		w.ask("other", text).contains(t, http.StatusServiceUnavailable, "has as many calls as it takes")
		if a := w.hear(slow); a.StatusCode != http.StatusOK || len(a.body) < 100_000 {
			t.Errorf("got %d, %d bytes", a.StatusCode, len(a.body))
		}
		if n := svc.Stats().Running; n != 0 {
			t.Errorf("%d calls run, want none", n)
		}
	})
}

// TestOneAfterAnother: whoever has his answer finds his place free.
func TestOneAfterAnother(t *testing.T) {
	t.Parallel()
	svc := givesText("Test/Answers", 70_000)
	svc.MaxConcurrent = 1
	w := serve(t, serverOf(t, rpc.Config{}, svc))
	conn := w.line("agent")
	r := bufio.NewReader(conn)
	for range 300 {
		if _, err := io.WriteString(conn, post{path: "/Test/Answers/text", contentType: plainJSON}.wire()); err != nil {
			t.Fatal(err)
		}
		if a := w.hear(r); a.StatusCode != http.StatusOK {
			t.Fatalf("got %d %s", a.StatusCode, a.body)
		}
	}
}

// TestAnswersRoom: what answers hold while they are sent is bounded, for each peer
// and for all; one that finds no room waits for it, and is then given up.
func TestAnswersRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serveInMemory(t, serverOf(t, rpc.Config{}, givesText("Test/Answers", 12<<20)), tunings["no timeouts"])
		text := post{path: "/Test/Answers/text", contentType: plainJSON}
		first, begun := w.asked("one", text), time.Now()
		synctest.Wait()
		w.ask("one", text).contains(t, http.StatusGatewayTimeout, "no room")
		if took := time.Since(begun); took != rpc.AnswerPatience {
			t.Errorf("it waited %v, want %v", took, rpc.AnswerPatience)
		}
		second := w.asked("one", text)
		synctest.Wait()
		for _, r := range []*bufio.Reader{first, second} {
			if a := w.hear(r); a.StatusCode != http.StatusOK || len(a.body) < 12<<20 {
				t.Errorf("got %d, %d bytes, want all of it", a.StatusCode, len(a.body))
			}
		}
		for i := range 5 {
			w.asked(fmt.Sprint("slow-", i), text)
		}
		synctest.Wait()
		w.ask("other", text).contains(t, http.StatusGatewayTimeout, "no room")
		w.ask("other", post{path: "/Test/Answers/echo", contentType: plainJSON, body: `["small"]`}).wants(t, 200, `{"OK":true,"Value":"small"}`)
	})
}

// registered is a service of which only who acts in the group staff may call most,
// and a policy that knows ann, whom nothing makes one of it but her claim, and eve.
func registered(t *testing.T) (*rpc.Service, rpc.Config) {
	t.Helper()
	policy, err := access.New(access.Config{Registry: access.RegistryConfig{
		Users: []access.UserConfig{{Name: "ann", Peers: []string{"dns:ann"}}, {Name: "eve", Peers: []string{"dns:eve"}}},
		Groups: []access.GroupConfig{
			{Name: "all", Users: []string{"ann", "eve"}},
			{Name: "staff", Users: []string{"ann"}, Properties: []string{"Staff"}},
		},
		DefaultGroups: []string{"all"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	svc := rpc.NewService("Test/Staff")
	svc.Allow = access.MustRule("Staff")
	rpc.Export(svc, "len", func(text string) int { return len(text) })
	rpc.Export(svc, "put", func(content io.Reader) (int64, error) { return io.Copy(io.Discard, content) }).MaxBody = 8 << 20
	return svc, rpc.Config{Access: policy}
}

// TestStrangersBodies: who is not known has not more than a small part of his body
// read for a method that he may not call.
func TestStrangersBodies(t *testing.T) {
	t.Parallel()
	svc, cfg := registered(t)
	w := serve(t, serverOf(t, cfg, svc))
	const multipart = "multipart/form-data; boundary=b"
	field := func(name, value string) string {
		return fmt.Sprintf("--b\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", name, value)
	}
	const file = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n"
	text := strings.Repeat("x", 40<<10)
	for _, c := range []struct {
		name, who, path, contentType, body string
		status                             int
	}{
		{"a form", "stranger", "", urlencoded, `method=len&args=["` + text, 403},
		{"a form with its method in the path", "stranger", "/len", urlencoded, `args=["` + text, 403},
		{"a form with its method at the end", "stranger", "", urlencoded, `args=["` + text, 403},
		{"parts", "stranger", "", multipart, field("method", "put") + file + text, 403},
		{"parts with the method at the end", "stranger", "", multipart, file + text, 403},
		{"JSON with the method in it", "stranger", "", plainJSON, `{"method": "len", "args": ["` + text, 403},
		{"a form of nobody", "", "", urlencoded, `method=len&args=["` + text, 401},
		{"JSON of nobody", "", "", plainJSON, `{"method": "len", "args": ["` + text, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := w.line(c.who)
			if _, err := fmt.Fprintf(conn, "POST /Test/Staff%s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 900000\r\n\r\n%s", c.path, c.contentType, c.body); err != nil {
				t.Fatal(err)
			}
			if a := w.hear(bufio.NewReader(conn)); a.StatusCode != c.status {
				t.Errorf("got %d %s, want %d", a.StatusCode, a.body, c.status)
			}
		})
	}
	large := `["` + strings.Repeat("x", 100_000) + `"]`
	for _, c := range []struct {
		name, who, contentType, body string
		status                       int
	}{
		{"a claim at the end", "ann", urlencoded, `method=len&args=` + large + `&extraCredentials="staff"`, 200},
		{"the method at the end", "ann", urlencoded, `args=` + large + `&extraCredentials="staff"&method=len`, 200},
		{"a claim at the end, in parts", "ann", multipart, field("method", "len") + field("args", large) + field("extraCredentials", `"staff"`) + "--b--\r\n", 200},
		{"a claim that is not true", "eve", urlencoded, `method=len&args=` + large + `&extraCredentials="staff"`, 403},
		{"a method for everybody", "stranger", urlencoded, `method=echo&args=` + large, 200},
		{"a method for everybody, in parts", "stranger", multipart, field("method", "echo") + field("args", large) + "--b--\r\n", 200},
		{"a method for everybody, and then another", "stranger", urlencoded, `method=echo&args=` + large + `&method=len`, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if a := w.ask(c.who, post{path: "/Test/Staff", contentType: c.contentType, body: c.body}); a.StatusCode != c.status {
				t.Errorf("got %d %.200s, want %d", a.StatusCode, a.body, c.status)
			}
		})
	}
}

// TestRestOfAnUpload: what its method has left of a body is read while the call
// keeps its place, and within its time.
func TestRestOfAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := rpc.NewService("Test/Uploads")
		m := rpc.Export(svc, "refuse", func(io.Reader) error { return rpc.Errno(13, "no") })
		m.MaxBody, m.Timeout = 1<<30, time.Minute
		w := serveInMemory(t, serverOf(t, rpc.Config{}, svc), tunings["no timeouts"])
		conn := w.line("agent")
		go func() { // ends with the connection
			_, err := fmt.Fprintf(conn, "POST /Test/Uploads/refuse HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", octets, 1<<30)
			for err == nil {
				_, err = conn.Write(make([]byte, 5000))
				time.Sleep(time.Second)
			}
		}()
		begun := time.Now()
		time.Sleep(30 * time.Second)
		if n := svc.Stats().Running; n != 1 {
			t.Errorf("%d calls run while the rest is read, want 1", n)
		}
		a := w.hear(bufio.NewReader(conn))
		if took := time.Since(begun); !a.Close || took > 2*time.Minute {
			t.Errorf("got %d %s after %v, want an answer after a minute, and the connection ended", a.StatusCode, a.body, took)
		}
		conn.Close()
	})
}
