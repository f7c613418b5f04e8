package rpc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"busd/bus"
	"busd/rpc"
)

// tunings are timeouts of the http.Server: those of the program, and none.
var tunings = map[string]func(*http.Server){
	"as the program": func(*http.Server) {},
	"no timeouts":    func(s *http.Server) { s.ReadTimeout, s.ReadHeaderTimeout, s.WriteTimeout = 0, 0, 0 },
}

// TestSlowBodies: what makes no progress costs its own request, after 10 s.
func TestSlowBodies(t *testing.T) {
	for name, tune := range tunings {
		for _, c := range []struct{ name, request string }{
			{"silence", "POST /Test/Careful/one HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"},
			{"silence of a form", "POST /Test/Careful HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nmethod="},
			{"silence of a stream", "POST /Test/Careful/put HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"},
		} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := serveInMemory(t, serverOf(t, rpc.Config{}, careful()), tune)
					begin := time.Now()
					a := w.say("agent", c.request)
					if a.StatusCode != http.StatusRequestTimeout || time.Since(begin) != rpc.PaceTime || !a.Close {
						t.Errorf("got %d %s after %v, want 408 after %v, and the connection ended", a.StatusCode, a.body, time.Since(begin), rpc.PaceTime)
					}
				})
			})
		}
		t.Run("a drip, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := serveInMemory(t, serverOf(t, rpc.Config{}, careful()), tune)
				begin := time.Now()
				a := w.dripped(1000, 1000)
				if a.StatusCode != http.StatusRequestTimeout || time.Since(begin) > 2*rpc.PaceTime {
					t.Errorf("got %d %s after %v, want 408", a.StatusCode, a.body, time.Since(begin))
				}
			})
		})
		t.Run("slow, but not too slow, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := serveInMemory(t, serverOf(t, rpc.Config{}, careful()), tune)
				w.dripped(2000, 100).wants(t, 200, `{"OK":true,"Value":200000}`)
			})
		})
	}
}

// dripped sends so many bytes a second, so often.
func (w *world) dripped(bytes, times int) *answer {
	w.t.Helper()
	conn := w.line("agent")
	go func() {
		_, err := fmt.Fprintf(conn, "POST /Test/Careful/put HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", bytes*times)
		for n := 0; err == nil && n < times; n++ {
			_, err = conn.Write(make([]byte, bytes))
			time.Sleep(time.Second)
		}
	}()
	defer conn.Close()
	return w.hear(bufio.NewReader(conn))
}

// TestSlowMethods: neither the time that a method takes, nor that in which it does
// not read, is the client's fault; and the http.Server's timeouts end neither.
func TestSlowMethods(t *testing.T) {
	const pause = 30 * time.Second
	methods := map[string]any{
		"before": func(content io.Reader) (int64, error) {
			time.Sleep(pause)
			return io.Copy(io.Discard, content)
		},
		"after": func(content io.Reader) (int64, error) {
			n, err := io.Copy(io.Discard, content)
			time.Sleep(pause)
			return n, err
		},
		"between": func(content io.Reader) (int64, error) {
			n := int64(0)
			for {
				more, err := content.Read(make([]byte, 5000))
				n += int64(more)
				if errors.Is(err, io.EOF) {
					return n, nil
				}
				if err != nil {
					return n, err
				}
				time.Sleep(pause)
			}
		},
		"download": func() io.Reader { return &sleepy{left: 10} },
	}
	for name, fn := range methods {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, http2=%t", name, http2), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					svc := rpc.NewService("Test/Slow")
					rpc.Export(svc, "slow", fn)
					w := serveInMemory(t, serverOf(t, rpc.Config{}, svc), func(*http.Server) {}, "h2", "http/1.1")
					p, want := post{contentType: octets, body: strings.Repeat("x", 40_000)}, `{"OK":true,"Value":40000}`
					if name == "download" {
						p, want = post{contentType: plainJSON, body: "[]"}, strings.Repeat("x", 10)
					}
					half := len(p.body) / 2 // the rest comes while nobody reads
					body := io.MultiReader(strings.NewReader(p.body[:half]), &sleepy{text: p.body[half:]})
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/Test/Slow/slow", body)
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", p.contentType)
					client := w.client("agent", http2)
					defer client.CloseIdleConnections()
					resp, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					got, err := io.ReadAll(resp.Body)
					if err != nil || string(got) != want || http2 != (resp.ProtoMajor == 2) {
						t.Errorf("got %s %q, %v, want %q", resp.Proto, got, err, want)
					}
				})
			})
		}
	}
}

// sleepy gives a text, after a while; or a byte now and then.
type sleepy struct {
	text string
	left int
}

func (s *sleepy) Read(p []byte) (int, error) {
	if s.left == 0 && s.text == "" {
		return 0, io.EOF
	}
	if s.left == 0 {
		time.Sleep(9 * time.Second)
		n := copy(p, s.text)
		s.text = s.text[n:]
		return n, nil
	}
	time.Sleep(25 * time.Second)
	s.left--
	return copy(p, "x"), nil
}

// TestSlowReaders: an answer that nobody takes is given up.
func TestSlowReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := rpc.NewService("Test/Slow")
		ended := make(chan time.Time, 1)
		rpc.Export(svc, "endless", func(ctx context.Context) io.Reader {
			context.AfterFunc(ctx, func() { ended <- time.Now() })
			return endless{}
		})
		core, logged := observer.New(zap.InfoLevel)
		w := serveInMemory(t, serverOf(t, rpc.Config{Logger: zap.New(core)}, svc), tunings["no timeouts"])
		conn := w.line("agent")
		begin := time.Now()
		if _, err := io.WriteString(conn, post{path: "/Test/Slow/endless", contentType: plainJSON}.wire()); err != nil {
			t.Fatal(err)
		}
		if took := (<-ended).Sub(begin); took != rpc.PaceTime {
			t.Errorf("given up after %v, want %v", took, rpc.PaceTime)
		}
		time.Sleep(6 * time.Second) // so long TLS tries to say goodbye
		synctest.Wait()
		if got := logged.FilterField(zap.String("code", bus.CodeSlowConsumer.String())).Len(); got != 1 {
			t.Errorf("%d lines say slow_consumer, want 1: %v", got, logged.All())
		}
		conn.Close()
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
