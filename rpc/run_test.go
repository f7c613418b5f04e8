package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/access"
	"busd/bus"
	"busd/rpc/jencode"
)

// A closer tells whether it was closed.
type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error {
	c.closed = true
	return nil
}

// newCall is a call as HTTP makes one.
func newCall(s *Service, method, args string) *call {
	return &call{
		method: s.find(method), args: []byte(args), dialect: jencode.JSON,
		request: &Request{Service: s.name, Method: method, ID: newRequestID(), Caller: &access.Caller{}, Grant: &access.Grant{}},
	}
}

// TestDownload: its place is kept and its context lives until it has ended, however
// long that takes.
func TestDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewService("Test/Files")
		content := &closer{Reader: strings.NewReader("content")}
		var given context.Context
		Export(s, "get", func(ctx context.Context) (*Stream, error) {
			given = ctx
			return &Stream{Reader: content, Size: 7}, nil
		})
		c := newCall(s, "get", "")
		result, err := s.do(t.Context(), c)
		if stream, ok := result.(*Stream); err != nil || !ok || stream.Reader != content {
			t.Fatalf("got %v, %v", result, err)
		}
		time.Sleep(time.Hour)
		if given.Err() != nil || s.Stats().Running != 1 || content.closed {
			t.Errorf("it is over: %v, %d calls run, closed %v", given.Err(), s.Stats().Running, content.closed)
		}
		c.done()
		if given.Err() == nil || s.Stats().Running != 0 || !content.closed {
			t.Errorf("it is not over: %v, %d calls run, closed %v", given.Err(), s.Stats().Running, content.closed)
		}
	})
}

// TestDownloadThatIsNone: nil is no download, an error closes what came with it.
func TestDownloadThatIsNone(t *testing.T) {
	t.Parallel()
	s := NewService("Test/Files")
	lost := &closer{}
	Export(s, "none", func() io.Reader { return nil })
	Export(s, "nobody", func() (*Stream, error) { return nil, nil })
	Export(s, "buffer", func() (*bytes.Buffer, error) { return nil, nil })
	Export(s, "lost", func() (io.Reader, error) { return lost, bus.Errorf(bus.CodeNotFound, "no") })
	for _, method := range []string{"none", "nobody", "buffer"} {
		c := newCall(s, method, "")
		if result, err := s.do(t.Context(), c); result != nil || err != nil {
			t.Errorf("%s: got %v, %v", method, result, err)
		}
		c.done()
	}
	c := newCall(s, "lost", "")
	result, err := s.do(t.Context(), c)
	if result != nil || bus.CodeOf(err) != bus.CodeNotFound || !lost.closed {
		t.Errorf("got %v, %v, closed %v", result, err, lost.closed)
	}
	c.done()
	c.done() // again is nothing
	if n := s.Stats().Running; n != 0 {
		t.Errorf("%d calls run, want none", n)
	}
}

// TestDownloadThatDoesNotBegin: the time is until it has begun; what comes then is
// closed.
func TestDownloadThatDoesNotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewService("Test/Files")
		content := &closer{}
		var cause error
		Export(s, "get", func(ctx context.Context) io.Reader {
			<-ctx.Done()
			cause = context.Cause(ctx)
			time.Sleep(time.Hour)
			return content
		})
		start := time.Now()
		_, err := s.do(t.Context(), newCall(s, "get", ""))
		var refused *refusal
		if !errors.As(err, &refused) || refused.Err.Code != bus.CodeDeadlineExceeded || time.Since(start) != DefaultTimeout {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if !content.closed || s.Stats().Running != 0 || !errors.Is(cause, errTooSlow) {
			t.Errorf("closed %v, %d calls run, its context ended by %v", content.closed, s.Stats().Running, cause)
		}
	})
}

// TestDownloadsCallerGoes: its context ends with the caller's, also once it has
// begun.
func TestDownloadsCallerGoes(t *testing.T) {
	t.Parallel()
	s := NewService("Test/Files")
	var given context.Context
	Export(s, "get", func(ctx context.Context) io.Reader {
		given = ctx
		return strings.NewReader("")
	})
	ctx, leave := context.WithCancel(t.Context())
	c := newCall(s, "get", "")
	if _, err := s.do(ctx, c); err != nil {
		t.Fatal(err)
	}
	leave()
	<-given.Done()
	c.done()
}

// TestUpload: the body, or bytes as the last argument.
func TestUpload(t *testing.T) {
	t.Parallel()
	s := NewService("Test/Files")
	Export(s, "put", func(name string, size *int, content io.Reader) (string, error) {
		all, err := io.ReadAll(content)
		if size != nil {
			name += "!"
		}
		return name + "=" + string(all), err
	}).Named("name", "size", "content")
	for _, c := range []struct{ args, named, body, want string }{
		{`["a", null]`, ``, "body", "a=body"},
		{`["a", 1]`, ``, "body", "a!=body"},
		{`{"name": "a", "size": null}`, ``, "body", "a=body"},
		{`["a"]`, `{"size": null}`, "body", "a=body"},
		{`["a", null, "Ym9keQ=="]`, ``, "", "a=body"},
		{`{"name": "a", "size": 1, "content": "Ym9keQ=="}`, ``, "", "a!=body"},

		{`["a"]`, ``, "body", "put(): want 3 arguments (name, size, content), got 2"},
		{`["a", null]`, ``, "", "put(): want 3 arguments (name, size, content), got 2"},
		{`["a", null, "Ym9keQ=="]`, ``, "body", "put(): want at most 2 arguments beside the body, got 3"},
		{`{"name": "a", "size": 1, "content": "Ym9keQ=="}`, ``, "body", "put(content): it is given twice: as the body and as an argument"},
		{`{"name": "a", "size": 1}`, ``, "", "put(content): it is missing: want bytes"},
		{`{"name": "a"}`, ``, "body", "put(size): it is missing: want int"},
		{`["a", null, 7]`, ``, "", "put(content): want bytes in base64 (standard alphabet, padded), got int 7"},
	} {
		call := newCall(s, "put", c.args)
		call.named = []byte(c.named)
		if c.body != "" {
			call.upload = strings.NewReader(c.body)
		}
		result, err := s.do(t.Context(), call)
		call.done()
		got, _ := result.(string)
		var refused *refusal
		if errors.As(err, &refused) {
			got = refused.Err.Text()
		}
		if got != c.want {
			t.Errorf("%s %s: got %q, %v, want %q", c.args, c.named, got, err, c.want)
		}
	}
}

// TestUploadsTime: the time of a method that takes a stream is its own, or long.
func TestUploadsTime(t *testing.T) {
	t.Parallel()
	s := NewService("Test/Files")
	s.Timeout = time.Second
	put := Export(s, "put", func(io.Reader) {})
	if got := s.timeLimit(put); got != DefaultUploadTimeout {
		t.Errorf("got %s, want %s", got, DefaultUploadTimeout)
	}
	put.Timeout = time.Minute
	if got := s.timeLimit(put); got != time.Minute {
		t.Errorf("got %s, want 1m", got)
	}
}

// TestPositionAndName: a list and an object together.
func TestPositionAndName(t *testing.T) {
	t.Parallel()
	s := NewService("Test/Both")
	type span struct {
		From int  `bus:"from"`
		To   int  `bus:"to"`
		Step *int `bus:"step"`
	}
	Export(s, "sub", func(a, b int) int { return a - b }).Named("a", "b")
	Export(s, "len", func(s span) int { return s.To - s.From })
	Export(s, "sum", func(first int, rest ...int) int { return first + 10*len(rest) }).Named("first", "rest")
	for _, c := range []struct {
		method, args, named string
		want                any
	}{
		{"sub", `[5]`, `{"b": 3}`, 2},
		{"sub", `[]`, `{"a": 5, "b": 3}`, 2},
		{"sub", ``, `{"a": 5, "b": 3}`, 2},
		{"sub", `[5, 3]`, ` null `, 2},
		{"len", `[5]`, `{"to": 7}`, 2},
		{"len", `[5, 7]`, `{"step": 1}`, 2},
		{"sum", `[5]`, `{"rest": [1, 2]}`, 25},
		{"sub", `[5, 3]`, `{"b": 3}`, "sub(b): it is given twice: by position and by name"},
		{"sub", `{"a": 5}`, `{"b": 3}`, "sub(): want one object of named arguments, got two"},
		{"sub", `[5]`, `[3]`, "sub(): want object, got list"},
		{"sub", `[5]`, `{"c": 3}`, `sub(): it has no argument "c" (did you mean "a"?)`},
		{"sub", `[5, 3, 1]`, `{}`, `sub(): want 2 arguments (a, b), got 3`},
		{"sub", `[5`, ``, "sub(): want a comma or ], got the end at byte 2"},
		{"sub", ``, `{"a": 1, "a": 2}`, `sub(): want each name of an object once, got a twice at byte 9`},
		{"len", `[5]`, `{"from": 7}`, "len(from): it is given twice: by position and by name"},
		{"len", `[{"from": 1}]`, `{"to": 7}`, "len(from): want int, got object"},
		{"sum", `[5, 6]`, `{"rest": [1]}`, "sum(rest): it is given twice: by position and by name"},
	} {
		call := newCall(s, c.method, c.args)
		call.named = []byte(c.named)
		got, err := s.do(t.Context(), call)
		call.done()
		var refused *refusal
		if errors.As(err, &refused) {
			got = refused.Err.Text()
		}
		if got != c.want {
			t.Errorf("%s %s %s: got %v, %v, want %v", c.method, c.args, c.named, got, err, c.want)
		}
	}
}
