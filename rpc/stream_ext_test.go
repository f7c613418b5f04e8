package rpc_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"busd/access"
	"busd/bus"
	"busd/rpc"
)

// pattern is n bytes that do not repeat soon.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8 + i>>16)
	}
	return p
}

// asForm is an upload as DIRAC's client makes it.
func asForm(content []byte) string {
	args := fmt.Sprintf(`["big", "", %d, {"__dCls": "b64", "obj": "%s"}]`, len(content), base64.StdEncoding.EncodeToString(content))
	return "method=streamFromClient&args=" + url.QueryEscape(args) + "&clientVO=vo&clientSetup=Test"
}

// TestUpload: each way to send bytes arrives as the same bytes, large or small.
func TestUpload(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	for _, size := range []int{0, 1, 7, 1 << 10, 700 << 10, rpc.SpoolFrom, 3 << 20} {
		content := pattern(size)
		want := `"Value": "big ` + checksum(content) + `"`
		plainWant := `"Value":"big ` + checksum(content) + `"`
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			form := asForm(content)
			w.ask("agent", post{path: dummyPath, contentType: urlencoded, body: form}).contains(t, 200, want)
			w.ask("", post{path: dummyPath, contentType: urlencoded, body: form}).contains(t, 200, want)
			_, argsFirst, _ := strings.Cut(form, "&")
			w.ask("agent", post{path: dummyPath, contentType: urlencoded, body: argsFirst + "&method=streamFromClient"}).contains(t, 200, want)
			w.ask("agent", post{path: dummyPath + "/streamFromClient", contentType: urlencoded, body: argsFirst}).contains(t, 200, want)
			twice := "args=[1]&" + argsFirst + "&method=nothing&method=streamFromClient"
			w.ask("agent", post{path: dummyPath, contentType: urlencoded, body: twice}).contains(t, 200, want)

			args := url.QueryEscape(fmt.Sprintf(`["big","",%d]`, size))
			w.ask("agent", post{path: dummyPath + "/streamFromClient?args=" + args, contentType: octets, body: string(content)}).contains(t, 200, plainWant)
			w.ask("agent", post{path: dummyPath + "?method=streamFromClient&args=" + args, contentType: octets, body: string(content)}).contains(t, 200, plainWant)

			multi := "--b\r\nContent-Disposition: form-data; name=\"method\"\r\n\r\nstreamFromClient\r\n" +
				"--b\r\nContent-Disposition: form-data; name=\"args\"\r\n\r\n" + fmt.Sprintf(`["big","",%d]`, size) + "\r\n" +
				"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n" + string(content) + "\r\n--b--\r\n"
			w.ask("agent", post{path: dummyPath, contentType: "multipart/form-data; boundary=b", body: multi}).contains(t, 200, want)
			multi = "--b\r\nContent-Disposition: form-data; name=\"args\"\r\n\r\n" +
				fmt.Sprintf(`["big", "", %d, {"__dCls": "b64", "obj": "%s"}]`, size, base64.StdEncoding.EncodeToString(content)) +
				"\r\n--b\r\nContent-Disposition: form-data; name=\"method\"\r\n\r\nstreamFromClient\r\n--b--\r\n"
			w.ask("agent", post{path: dummyPath, contentType: "multipart/form-data; boundary=b", body: multi}).contains(t, 200, want)
		})
	}
}

// TestUploadInJSON: base64 in plain JSON works as long as it is small.
func TestUploadInJSON(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	small, large := pattern(500<<10), pattern(1<<20)
	body := func(content []byte) string {
		return fmt.Sprintf(`["f","",%d,"%s"]`, len(content), base64.StdEncoding.EncodeToString(content))
	}
	w.ask("", post{path: dummyPath + "/streamFromClient", contentType: plainJSON, body: body(small)}).contains(t, 200, checksum(small))
	w.ask("", post{path: dummyPath + "/streamFromClient", contentType: plainJSON, body: body(large)}).contains(t, 413, "send what is larger as application/octet-stream")
	w.ask("agent", post{path: dummyPath, contentType: plainJSON, body: `{"method":"streamFromClient","args":` + body(small) + `}`}).contains(t, 200, checksum(small))
}

// TestBadUploads are forms of more than 1 MiB that are no calls.
func TestBadUploads(t *testing.T) {
	t.Parallel()
	w := serveDummy(t)
	large := strings.Repeat("QUJD", 500_000)
	form := func(args string) string { return "method=streamFromClient&args=" + url.QueryEscape(args) }
	b64 := `{"__dCls": "b64", "obj": "` + large + `"}`
	for _, c := range []struct {
		name, who, body string
		status          int
		part            string
	}{
		{"bytes without white space", "", form(`["f","",1500000,{"__dCls":"b64","obj":"` + large + `"}]`), 200, "f "},
		{"much white space", "", form(" [\n\"f\" , \"\", 1500000 , { \"__dCls\" : \"b64\" ,\n\"obj\" : \"" + large + "\" } ]\n "), 200, "f "},
		{"nested arguments before", "", form(`["]},{\"", {"a": [1, {"__dCls": "b64", "obj": "QUJD"}]}, 1500000, ` + b64 + `]`), 400, "arg2"},
		{"bytes in the middle", "", form(`["f", ` + b64 + `, 3, 4]`), 400, "whose last argument is bytes"},
		{"no list", "", form(b64), 400, "whose last argument is bytes"},
		{"an empty list", "", form(`[` + strings.Repeat(" ", 2<<20) + `]`), 400, "whose last argument is bytes"},
		{"a text at the end", "", form(`["f", "", 3, "` + large + `"]`), 400, "whose last argument is bytes"},
		{"a number at the end", "", form(`["f", "", ` + strings.Repeat("1", 2<<20) + `]`), 400, "whose last argument is bytes"},
		{"long arguments before", "", form(`["` + large + `", "", 3, {"__dCls": "b64", "obj": "QUJD"}]`), 400, "whose last argument is bytes"},
		{"no base64", "", form(`["f", "", 3, {"__dCls": "b64", "obj": "` + strings.Repeat("?", 2<<20) + `"}]`), 400, "no base64"},
		{"escapes in it", "", form(`["f", "", 3, {"__dCls": "b64", "obj": "` + large + `\n"}]`), 400, "no base64"},
		{"cut off", "", form(`["f", "", 3, {"__dCls": "b64", "obj": "` + large), 400, "cut off"},
		{"cut off after it", "", form(`["f", "", 3, ` + b64), 400, "whose last argument is bytes"},
		{"more after it", "", form(`["f", "", 3, ` + b64 + `] x`), 400, "whose last argument is bytes"},
		{"half an escape", "", form(`["f", "", 3, `+b64+`]`) + "%2", 400, "hexadecimal"},
		{"an escape that is none", "", form(`["f", "", 3, `+b64+`]`) + "%2x&a=1", 400, "hexadecimal"},
		{"a method that takes no stream", "", "method=add&args=" + url.QueryEscape(`[1, "`+large+`"]`), 413, "1048576"},
		{"the same, found late", "agent", "args=" + url.QueryEscape(`[1, "`+large+`"]`) + "&method=add", 413, "1048576"},
		{"an unknown method", "", "method=nosuch&args=" + large, 501, ""},
		{"an unknown method, found late", "agent", "args=" + large + "&method=nosuch", 501, ""},
		{"no method", "agent", "args=" + large, 400, "method is missing"},
		{"a method found late, by nobody", "", "args=" + large + "&method=streamFromClient", 401, "method as its first field"},
		{"another large field", "", "method=streamFromClient&clientVO=" + large, 413, "clientVO"},
		{"a large unknown field", "", "method=streamFromClient&junk=" + large, 413, "junk"},
		{"a large name", "", "method=streamFromClient&" + large, 400, "name"},
		{"many fields", "", "method=streamFromClient&" + strings.Repeat("&", 2<<20), 400, "fields"},
		{"a name that is not urlencoded", "", "method=streamFromClient&%zz=1&args=" + large, 400, "hexadecimal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w.ask(c.who, post{path: dummyPath, contentType: urlencoded, body: c.body}).contains(t, c.status, c.part)
		})
	}
}

// TestNoPlaceForUploads: where no file can be made the client may come again.
func TestNoPlaceForUploads(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nowhere"))
	w := serveDummy(t)
	a := w.ask("agent", post{path: dummyPath, contentType: urlencoded, body: asForm(pattern(2 << 20))})
	a.wants(t, 503, "large uploads cannot be kept now")
	if a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
	}
}

// TestUploadStops: a method that does not read all of it, and one that goes on
// reading after its call has ended.
func TestUploadStops(t *testing.T) {
	t.Parallel()
	svc := rpc.NewService("Test/Lazy")
	svc.Allow = access.Any
	readOn, read := make(chan struct{}), make(chan error, 1)
	rpc.Export(svc, "first", func(content io.Reader) (int, error) {
		n, err := io.ReadFull(content, make([]byte, 10))
		return n, err
	}).MaxBody = 8 << 20
	rpc.Export(svc, "later", func(content io.Reader) string {
		go func() {
			<-readOn
			_, err := content.Read(make([]byte, 10))
			read <- err
		}()
		return "soon"
	})
	w := serve(t, serverOf(t, rpc.Config{}, svc))
	large := post{path: "/Test/Lazy/first", contentType: octets, body: string(pattern(4 << 20))}
	w.ask("agent", large).wants(t, 200, `{"OK":true,"Value":10}`)

	// The connection lives where little was left unread.
	conn := w.line("agent")
	r := bufio.NewReader(conn)
	for range 2 {
		if _, err := io.WriteString(conn, post{path: "/Test/Lazy/first", contentType: octets, body: string(pattern(1000))}.wire()); err != nil {
			t.Fatal(err)
		}
		w.hear(r).wants(t, 200, `{"OK":true,"Value":10}`)
	}
	w.ask("agent", post{path: "/Test/Lazy/later", contentType: octets, body: "abc"}).wants(t, 200, `{"OK":true,"Value":"soon"}`)
	close(readOn)
	if err := <-read; bus.CodeOf(err) != bus.CodeCanceled {
		t.Errorf("reading on: got %v, want canceled", err)
	}
}

// files of downloads.
func downloads(t *testing.T) *rpc.Service {
	svc := rpc.NewService("Test/Files")
	svc.Allow = access.Any
	content := pattern(200_000)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	rpc.Export(svc, "file", func() (*os.File, error) { return os.Open(path) })
	rpc.Export(svc, "memory", func() io.Reader { return bytes.NewReader(content) })
	rpc.Export(svc, "pipe", func() io.Reader { return io.MultiReader(bytes.NewReader(content)) })
	rpc.Export(svc, "named", func() *rpc.Stream {
		return &rpc.Stream{Reader: io.MultiReader(bytes.NewReader(content)), Size: int64(len(content)), ContentType: "image/png", Name: "a \"b\"\r\n.png"}
	})
	rpc.Export(svc, "any", func() any { return strings.NewReader("dynamic") })
	rpc.Export(svc, "none", func() (*rpc.Stream, error) { return nil, nil })
	rpc.Export(svc, "refused", func() (io.Reader, error) { return nil, bus.Errorf(bus.CodePermissionDenied, "not yours") })
	rpc.Export(svc, "late", func() io.Reader { return &failing{left: 0} })
	rpc.Export(svc, "broken", func() io.Reader { return &failing{left: 100_000} })
	rpc.Export(svc, "short", func() *rpc.Stream { return &rpc.Stream{Reader: bytes.NewReader(content), Size: 300_000} })
	rpc.Export(svc, "long", func() *rpc.Stream { return &rpc.Stream{Reader: bytes.NewReader(content), Size: 100_000} })
	rpc.Export(svc, "wrong", func() *rpc.Stream { return &rpc.Stream{Reader: strings.NewReader("abc"), Size: 100} })
	rpc.Export(svc, "stuck", func() io.Reader { return stuck{} })
	return svc
}

// stuck reads nothing, for ever.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// failing fails after so many bytes.
type failing struct{ left int }

func (f *failing) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, errors.New("the disk has gone: canary")
	}
	n := min(len(p), f.left)
	f.left -= n
	return n, nil
}

func TestDownload(t *testing.T) {
	t.Parallel()
	w := serve(t, serverOf(t, rpc.Config{}, downloads(t)), "h2", "http/1.1")
	content := string(pattern(200_000))
	for _, c := range []struct {
		method string
		status int
		body   string
		length int64 // below 0: not known before
	}{
		{"file", 200, content, 200_000},
		{"memory", 200, content, 200_000},
		{"pipe", 200, content, -1},
		{"named", 200, content, 200_000},
		{"any", 200, "dynamic", 7},
		{"none", 200, "", 0},
		{"refused", 403, "not yours", 9},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, http2=%t", c.method, http2), func(t *testing.T) {
				t.Parallel()
				resp, body, err := fetch(t, w.client("", http2), c.method)
				if err != nil || resp.StatusCode != c.status || body != c.body || resp.ContentLength != c.length {
					t.Errorf("got %d, %d bytes (Content-Length %d), %v; want %d, %d (%d)", resp.StatusCode, len(body), resp.ContentLength, err, c.status, len(c.body), c.length)
				}
				if http2 != (resp.ProtoMajor == 2) {
					t.Errorf("got %s", resp.Proto)
				}
				wantType := "application/octet-stream; charset=iso-8859-1"
				switch c.method {
				case "named":
					wantType = "image/png"
					if d := resp.Header.Get("Content-Disposition"); strings.ContainsAny(d, "\r\n") || !strings.HasPrefix(d, "attachment; filename") {
						t.Errorf("Content-Disposition: %q", d)
					}
				case "refused":
					wantType = "text/plain; charset=utf-8"
				}
				if got := resp.Header.Get("Content-Type"); got != wantType {
					t.Errorf("Content-Type: got %s, want %s", got, wantType)
				}
			})
		}
	}
}

// fetch calls a download as DIRAC's client does, and reads it.
func fetch(t *testing.T, client *http.Client, method string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/Test/Files", strings.NewReader("method="+method+"&rawContent=True"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", urlencoded)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// TestDownloadFails: before the first byte there is a status; after it nobody takes
// a part for the whole.
func TestDownloadFails(t *testing.T) {
	t.Parallel()
	w := serve(t, serverOf(t, rpc.Config{}, downloads(t)), "h2", "http/1.1")
	for _, http2 := range []bool{false, true} {
		for _, method := range []string{"late", "wrong", "stuck"} {
			t.Run(fmt.Sprintf("%s, http2=%t", method, http2), func(t *testing.T) {
				t.Parallel()
				resp, body, err := fetch(t, w.client("", http2), method)
				if err != nil || resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "the method failed") || strings.Contains(body, "canary") {
					t.Errorf("got %d %q, %v; want 422", resp.StatusCode, body, err)
				}
			})
		}
		for _, method := range []string{"broken", "short", "long"} {
			t.Run(fmt.Sprintf("%s, http2=%t", method, http2), func(t *testing.T) {
				t.Parallel()
				resp, body, err := fetch(t, w.client("", http2), method)
				if err == nil || resp.StatusCode != http.StatusOK {
					t.Errorf("got %d, %d bytes, and no error", resp.StatusCode, len(body))
				}
			})
		}
	}
}

// TestDownloadFlows: what is slow to come is not held back, and the stream is
// closed when its reader has gone.
func TestDownloadFlows(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%t", http2), func(t *testing.T) {
			t.Parallel()
			svc := rpc.NewService("Test/Files")
			svc.Allow = access.Any
			from, to := io.Pipe()
			ended := make(chan struct{})
			rpc.Export(svc, "tail", func(ctx context.Context) io.Reader {
				context.AfterFunc(ctx, func() { close(ended) })
				return from
			})
			w := serve(t, serverOf(t, rpc.Config{}, svc), "h2", "http/1.1")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/Test/Files/tail", nil)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.WriteString(to, "first line") }()
			resp, err := w.client("", http2).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got := make([]byte, 10)
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "first line" {
				t.Errorf("got %q, %v", got, err)
			}
			cancel()
			<-ended
			for err = nil; err == nil; { // until somebody has closed it
				_, err = io.WriteString(to, "more")
			}
		})
	}
}
