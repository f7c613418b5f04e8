package rpcclient_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/rpc/jencode"
	"busd/rpc/rpcclient"
)

// What DIRAC's server sends where content was asked for: content, and what is none.
func TestTornadoContent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		section string
		content string
		code    bus.Code
		text    string
	}{
		{"rawContent", "\x00\x07\x0e\x15\x1c#*18?FMT[bipw~\x85", 0, ""},
		{"rawContent of S_ERROR", "", bus.CodeUnknown, "x"},
		{"rawContent=False (a string)", "", bus.CodeProtocolError, `it is a result, in place of content: "{\"OK\": true, \"Value\": 1}"`},
		{"rawContent of S_OK", "", bus.CodeInternal, "gives no details"},
		{"str result", "", bus.CodeProtocolError, "it is a page of HTML"},
		{"None result", "", bus.CodeProtocolError, "it is a page of HTML"},
		{"list result", "", bus.CodeProtocolError, "it is JSON, in place of content"},
		{"unknown path", "", bus.CodeNotFound, "is not found"},
	} {
		t.Run(tt.section, func(t *testing.T) {
			t.Parallel()
			c := client(t, rpcclient.Config{}, serve(t, tornado(t, tt.section)))
			var got bytes.Buffer
			_, err := c.Receive(t.Context(), &got, "", "myid")
			if got.String() != tt.content {
				t.Errorf("wrote %q, want %q", got.String(), tt.content)
			}
			if tt.code == 0 && err != nil || bus.CodeOf(err) != tt.code || tt.code != 0 && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %s %q", err, tt.code, tt.text)
			}
		})
	}
}

// A download is asked for as DIRAC's client does, its upload is what DIRAC's servers
// take.
func TestFilesOnTheWire(t *testing.T) {
	t.Parallel()
	var got logged
	c := client(t, rpcclient.Config{VO: "vo", Setup: "TestSetup"}, serve(t, records(&got)))
	_, _ = c.Receive(t.Context(), io.Discard, "", "myid") // the answer is no content
	if want := "method=streamToClient&args=%5B%22myid%22%5D&clientVO=vo&clientSetup=TestSetup&rawContent=True"; got.last() != want {
		t.Errorf("got  %s\nwant %s", got.last(), want)
	}

	var form http.Request
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 {
			t.Error("the length is not said")
		}
		if err := r.ParseMultipartForm(10 << 20); err != nil {
			t.Errorf("form: %v", err)
		}
		form = *r
		answers(fine)(w, r)
	})
	c = client(t, rpcclient.Config{VO: "vo", Setup: "TestSetup", Host: true}, s)
	content := []byte("hello\x00\xff")
	for _, n := range []int{0, 1, 2, 3, 7, 48 << 10, 48<<10 + 1, 1 << 20} {
		large := bytes.Repeat(content, n/len(content)+1)[:n]
		if _, err := c.Send(t.Context(), bytes.NewReader(large), int64(n), "", "myid"); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"method": "streamFromClient", "clientVO": "vo", "clientSetup": "TestSetup", "extraCredentials": `"hosts"`} {
			if got := form.PostFormValue(name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		want, err := jencode.Append(nil, []any{"myid", "", n, large}, jencode.DIRAC)
		if got := form.PostFormValue("args"); err != nil || got != string(want) {
			t.Errorf("args of %d bytes: got %.200s, want %.200s", n, got, want)
		}
	}
	for _, args := range [][]any{nil, {"id", "", 3}} {
		if _, err := c.Send(t.Context(), bytes.NewReader(content), 7, "", args...); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%v: got %v", args, err)
		}
	}
	if _, err := c.Send(t.Context(), bytes.NewReader(content), -1, "", "id"); bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("no size: got %v", err)
	}
}

// content answers with bytes.
func content(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b)
	}
}

// names lists a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// A file is there when all of it is there; else there is nothing, or what was there
// before.
func TestReceiveFile(t *testing.T) {
	t.Parallel()
	whole := bytes.Repeat([]byte("content"), 100_000)
	half := hijack(func(_ *bufio.Reader, c net.Conn) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%s", len(whole), whole[:300_000])
	})
	for _, before := range []string{"", "what was there"} {
		for _, tt := range []struct {
			name    string
			handler http.HandlerFunc
			code    bus.Code
		}{
			{"whole", content(whole), 0},
			{"empty", content(nil), 0},
			{"half", half, bus.CodeUnavailable},
			{"not found", status(404), bus.CodeNotFound},
			{"S_ERROR", tornado(t, "rawContent of S_ERROR"), bus.CodeUnknown},
		} {
			t.Run(tt.name+", "+before, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				path, want := filepath.Join(dir, "file"), before
				if before != "" {
					write(t, path, []byte(before))
				}
				c := client(t, rpcclient.Config{}, serve(t, tt.handler))
				var last int64
				err := c.Watch(func(done, _ int64) { last = done }).ReceiveFile(t.Context(), path, "", "id")
				if bus.CodeOf(err) != tt.code {
					t.Fatalf("got %v, want %s", err, tt.code)
				}
				switch tt.name {
				case "whole":
					want = string(whole)
				case "empty":
					want = ""
				}
				got, err := os.ReadFile(path)
				if string(got) != want || err != nil && (tt.code == 0 || before != "") {
					t.Errorf("the file has %d bytes, %v; want %d", len(got), err, len(want))
				}
				if list := names(t, dir); list != "" && list != "file" {
					t.Errorf("left behind: %s", list)
				}
				if tt.name == "whole" && last != int64(len(whole)) {
					t.Errorf("progress ended at %d", last)
				}
			})
		}
	}
	c := client(t, rpcclient.Config{}, serve(t, content(whole)))
	for _, path := range []string{filepath.Join(t.TempDir(), "none", "file"), t.TempDir()} {
		if err := c.ReceiveFile(t.Context(), path, ""); bus.CodeOf(err) != bus.CodeFailedPrecondition || !errors.Is(err, rpcclient.ErrNotExecuted) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// A download is tried elsewhere as calls are, as long as nothing of it was passed on.
func TestReceiveFailover(t *testing.T) {
	t.Parallel()
	half := says("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\nhalf")
	nothing := says("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\n")
	for _, tt := range []struct {
		name            string
		first           http.HandlerFunc
		plain, repeated bool
	}{
		{"half", half, false, false},
		{"nothing", nothing, false, true},
		{"busy", later(503, "unavailable"), true, true},
	} {
		for _, idempotent := range []bool{false, true} {
			b := serve(t, content([]byte("all")))
			c, want := client(t, rpcclient.Config{}, serve(t, tt.first), b), tt.plain
			if idempotent {
				c, want = c.Idempotent(), tt.repeated
			}
			var got bytes.Buffer
			_, err := c.Receive(t.Context(), &got, "")
			if want != (err == nil && got.String() == "all") || b.calls.Load() > 0 != want {
				t.Errorf("%s, idempotent %t: got %q, %v", tt.name, idempotent, got.String(), err)
			}
		}
	}
}

// full is a writer without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestReceiveWhereThereIsNoRoom(t *testing.T) {
	t.Parallel()
	c := client(t, rpcclient.Config{}, serve(t, content([]byte("all"))))
	if _, err := c.Idempotent().Receive(t.Context(), full{}, ""); bus.CodeOf(err) != bus.CodeAborted || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("got %v", err)
	}
}

// A transfer may take as long as it moves; without progress it ends.
func TestTransferTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		drip := func(n int) http.HandlerFunc {
			return hijack(func(r *bufio.Reader, c net.Conn) {
				_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\n")
				for i := 0; i < n && err == nil; i++ {
					time.Sleep(50 * time.Second)
					_, err = io.WriteString(c, "x")
				}
				_, _ = r.ReadByte() // until the client has gone
			})
		}
		slow := client(t, rpcclient.Config{Timeout: time.Minute}, serve(t, drip(10)))
		if n, err := slow.Receive(t.Context(), io.Discard, ""); n != 10 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		stuck := client(t, rpcclient.Config{Timeout: time.Minute}, serve(t, drip(5)))
		began := time.Now()
		n, err := stuck.Receive(t.Context(), io.Discard, "")
		if took := time.Since(began); n != 5 || bus.CodeOf(err) != bus.CodeDeadlineExceeded || took != 310*time.Second {
			t.Errorf("got %d, %v after %s", n, err, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		if n, err := slow.Receive(ctx, io.Discard, ""); n != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

// once is a reader that cannot be rewound, and counts its bytes.
type once struct {
	from io.Reader
	n    atomic.Int64
}

func (o *once) Read(p []byte) (int, error) {
	n, err := o.from.Read(p)
	o.n.Add(int64(n))
	return n, err
}

// An upload that is refused before it begins has read nothing, and is made elsewhere;
// one that has begun only if what is sent can be read again.
func TestSendFailover(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("x"), 1<<20)
	late := func(w http.ResponseWriter, r *http.Request) { // first takes some of it
		control := http.NewResponseController(w)
		err := control.EnableFullDuplex() // else net/http ends the connection before all was read
		_, _ = io.CopyN(io.Discard, r.Body, 200_000)
		later(503, "unavailable")(w, r)
		if err = errors.Join(err, control.Flush()); err != nil {
			t.Errorf("flush: %v", err)
		}
		_, _ = io.Copy(io.Discard, r.Body) // until the client gives up
	}
	for _, tt := range []struct {
		name  string
		first http.HandlerFunc
		seek  bool
		again bool
	}{
		{"busy, at once", later(503, "unavailable"), false, true},
		{"busy, at once, a file", later(503, "unavailable"), true, true},
		{"busy, late", late, false, false},
		{"busy, late, a file", late, true, true},
		{"not allowed", status(403), false, false},
	} {
		for _, method := range []string{"", "upload"} {
			t.Run(fmt.Sprint(tt.name, method), func(t *testing.T) {
				t.Parallel()
				var size atomic.Int64
				b := serve(t, func(w http.ResponseWriter, r *http.Request) {
					n, err := io.Copy(io.Discard, r.Body)
					if size.Store(n); err != nil {
						t.Errorf("the second got %d bytes, %v", n, err)
					}
					answers(fine)(w, r)
				})
				c := client(t, rpcclient.Config{}, serve(t, tt.first), b)
				from := &once{from: bytes.NewReader(large)}
				var r io.Reader = from
				if tt.seek {
					r = bytes.NewReader(large)
				}
				got, err := c.Send(t.Context(), r, int64(len(large)), method, "id")
				again := tt.again && (method == "" || tt.name != "busy, late, a file") // of which busd's own form has begun
				if again != (err == nil && got == "fine" && size.Load() >= int64(len(large))) || b.calls.Load() > 0 != again {
					t.Errorf("got %v, %v; the second got %d bytes", got, err, size.Load())
				}
				if !tt.again && !tt.seek && tt.name == "not allowed" && from.n.Load() > 0 {
					t.Errorf("%d bytes were read for a call that is not allowed", from.n.Load())
				}
			})
		}
	}
}

// zeros has as many as are wanted.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A transfer takes the same memory whatever its size.
func TestTransferMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it moves 100 MiB")
	}
	const size = 32 << 20
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("rawContent") != "" {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.Copy(w, io.LimitReader(zeros{}, size))
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		answers(fine)(w, r)
	})
	sink := serve(t, answers(fine))
	down, up := client(t, rpcclient.Config{}, s), client(t, rpcclient.Config{}, sink)
	for name, move := range map[string]func() error{
		"download":       func() error { _, err := down.Receive(t.Context(), io.Discard, ""); return err },
		"upload":         func() error { _, err := up.Send(t.Context(), zeros{}, size, "upload"); return err },
		"DIRAC's upload": func() error { _, err := up.Send(t.Context(), zeros{}, size, "", "id"); return err },
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		if err := move(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > size/2 { // mostly the race detector's
			t.Errorf("%s of %d bytes: %d bytes were allocated", name, size, grown)
		}
	}
}

// A file goes as long as it is.
func TestSendFile(t *testing.T) {
	t.Parallel()
	var got logged
	c := client(t, rpcclient.Config{}, serve(t, func(w http.ResponseWriter, r *http.Request) {
		got.add(r.URL.Path + "?" + r.URL.RawQuery)
		records(&got)(w, r)
	}))
	path := write(t, filepath.Join(t.TempDir(), "f"), []byte("content"))
	if _, err := c.SendFile(t.Context(), path, "upload", "id"); err != nil || got.last() != "content" || got.all[0] != service+"/upload?args=%5B%22id%22%5D" {
		t.Errorf("got %v, %q", err, got.all)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		if _, err := c.SendFile(t.Context(), path, "", "id"); bus.CodeOf(err) != bus.CodeFailedPrecondition || !errors.Is(err, rpcclient.ErrNotExecuted) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
