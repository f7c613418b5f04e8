package rpc_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"busd/rpc"
)

// BenchmarkHandler is what a call costs without what carries it.
func BenchmarkHandler(b *testing.B) {
	srv := serverOf(b, rpc.Config{}, rpc.NewService("Test/Bench"))
	for _, c := range []struct {
		name    string
		handler http.Handler
		post    post
	}{
		{"bare", http.HandlerFunc(bareEcho), post{path: "/bare", contentType: plainJSON, body: `["hello"]`}},
		{"json", srv, post{path: "/Test/Bench/echo", contentType: plainJSON, body: `["hello"]`}},
		{"dirac", srv, post{path: "/Test/Bench", contentType: urlencoded, body: "method=echo&args=%5B%22hello%22%5D&clientVO=vo&clientSetup=Test"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest(http.MethodPost, c.post.path, nil)
			r.Header.Set("Content-Type", c.post.contentType)
			r.ContentLength = int64(len(c.post.body))
			body := strings.NewReader("")
			r.Body = io.NopCloser(body)
			w := &silent{header: http.Header{}}
			for b.Loop() {
				body.Reset(c.post.body)
				clear(w.header)
				c.handler.ServeHTTP(w, r)
			}
		})
	}
}

// silent is a ResponseWriter that keeps nothing.
type silent struct{ header http.Header }

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
func (s *silent) WriteHeader(int)             {}

func (s *silent) SetReadDeadline(time.Time) error  { return nil }
func (s *silent) SetWriteDeadline(time.Time) error { return nil }
