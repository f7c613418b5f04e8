package rpc_test

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"busd/access"
	"busd/bus"
	"busd/rpc"
)

// example is the service of docs/http.md.
func example() (svc *rpc.Service, busy, release chan struct{}) {
	svc = rpc.NewService("Framework/Example")
	svc.Allow = access.Authenticated
	busy, release = make(chan struct{}), make(chan struct{})
	read := func(name string) (io.Reader, error) {
		if name == "motto" {
			return strings.NewReader("nuts & bolts"), nil
		}
		return nil, rpc.Errno(2, name)
	}
	rpc.Export(svc, "add", func(a, b int) int { return a + b }).Named("a", "b")
	rpc.Export(svc, "find", func(name string) (string, error) { return "", rpc.Errno(2, name) })
	rpc.Export(svc, "read", read)
	rpc.Export(svc, "write", func(_ string, content io.Reader) (int64, error) { return io.Copy(io.Discard, content) })
	rpc.Export(svc, "crash", func() int { panic(bus.Errorf(bus.CodeInternal, "on purpose")) })
	rpc.Export(svc, "secret", func() int { return 0 }).Allow = access.MustRule("Operator")
	rpc.Export(svc, "busy", func() { close(busy); <-release }).MaxConcurrent = 1
	return svc, busy, release
}

var (
	played    = regexp.MustCompile("(?s)```\n(> .*?)```")
	requestID = regexp.MustCompile(`\b[0-9a-f]{16}\b`)
)

// TestDocument plays the examples of docs/http.md.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	svc, busy, release := example()
	w := serve(t, serverOf(t, rpc.Config{}, svc))
	ended := make(chan struct{})
	conn := w.line("agent")
	go func() {
		defer close(ended)
		_, _ = io.WriteString(conn, post{path: "/Framework/Example/busy", contentType: plainJSON}.wire())
		_, _ = conn.Read(make([]byte, 1))
	}()
	<-busy
	examples := played.FindAllStringSubmatch(string(text), -1)
	for _, m := range examples {
		var request, answer []string
		for line := range strings.Lines(m[1]) {
			line = strings.TrimRight(line, "\n")
			if said, ok := strings.CutPrefix(line, "<"); ok {
				answer = append(answer, strings.TrimPrefix(said, " "))
			} else {
				request = append(request, strings.TrimPrefix(strings.TrimPrefix(line, ">"), " "))
			}
		}
		wantHead, wantBody, _ := strings.Cut(strings.Join(answer, "\n"), "\n\n")
		wantLines := strings.Split(wantHead, "\n")
		got := w.say("agent", asRequest(request))
		if body := requestID.ReplaceAllString(got.body, "…"); got.Status[:3] != wantLines[0] || body != wantBody {
			t.Errorf("%s:\ngot  %s\n%s\nwant %s\n%s", request[0], got.Status, body, wantLines[0], wantBody)
		}
		for _, header := range wantLines[1:] {
			name, value, _ := strings.Cut(header, ": ")
			if got.Header.Get(name) != value {
				t.Errorf("%s: got %s: %s, want %s", request[0], name, got.Header.Get(name), value)
			}
		}
	}
	if len(examples) < 15 {
		t.Errorf("%d examples were found, want at least 15", len(examples))
	}
	close(release)
	<-ended
}

// asRequest makes a request of the lines that a document shows of it.
func asRequest(lines []string) string {
	head, body := lines, []string(nil)
	for i, line := range lines {
		if line == "" {
			head, body = lines[:i], lines[i+1:]
			break
		}
	}
	method, path, _ := strings.Cut(head[0], " ")
	path = strings.NewReplacer(`"`, "%22", "[", "%5B", "]", "%5D").Replace(path)
	content := strings.Join(body, "\n")
	if strings.Contains(strings.Join(head, "\n"), "multipart") {
		content = strings.Join(body, "\r\n")
	}
	headers := append([]string{"Host: " + host, fmt.Sprint("Content-Length: ", len(content))}, head[1:]...)
	return method + " " + path + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n" + content
}
