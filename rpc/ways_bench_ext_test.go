package rpc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/rpc"
)

// BenchmarkWays is one small echo by every way that there is to call it, and by a
// bare net/http handler. bare, https and new-connection have a caller that does next to
// nothing, so that they compare handlers; client and h2 Go's client, and stable ours,
// so that they compare what callers get. Sockets of the loopback interface, TLS 1.3 with certificates
// on both sides, both ends in this process, all of them by turns. Figures are
// medians of the rounds.
func BenchmarkWays(b *testing.B) {
	svc := rpc.NewService("Test/Bench")
	server, err := msgbus.NewServer(msgbus.Config{}, &msgbus.Service{Methods: svc})
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/bare", bareEcho)
	mux.Handle("/", server)
	w := serve(b, mux, "h2", "http/1.1")
	b.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
	})
	const body = `["hello"]`
	bare := post{path: "/bare", contentType: plainJSON, body: body}.wire()
	echo := post{path: "/Test/Bench/echo", contentType: plainJSON, body: body}.wire()
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			lines := make([]*lean, callers)
			for i := range lines {
				conn := w.line("agent")
				lines[i] = &lean{conn, bufio.NewReader(conn)}
			}
			ways := []struct {
				name  string
				calls int
				call  func(caller int) error
			}{
				{"bare", 4000, func(i int) error { return lines[i].call([]byte(bare)) }},
				{"https", 4000, func(i int) error { return lines[i].call([]byte(echo)) }},
				{"client", 2000, overHTTP(b, w, body, 1)},
				{"h2", 1000, overHTTP(b, w, body, 2)},
				{"stable", 8000, overStable(b, w, body)},
				{"new-connection", 200, func(int) error {
					conn := w.line("agent")
					defer conn.Close()
					return (&lean{conn, bufio.NewReader(conn)}).call([]byte(echo))
				}},
			}
			took := map[string][]float64{}
			for b.Loop() {
				for _, way := range ways {
					took[way.name] = append(took[way.name], float64(round(b, callers, way.calls, way.call)))
				}
			}
			for _, way := range ways {
				own := median(took[way.name])
				b.ReportMetric(float64(time.Second)/own, way.name+"/s")
				b.ReportMetric(median(took["bare"])/own, way.name+"÷bare")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// round has each caller make its part of the calls, and returns the time for each
// call.
func round(b *testing.B, callers, calls int, call func(caller int) error) time.Duration {
	begin := time.Now()
	var work sync.WaitGroup
	for i := range callers {
		work.Go(func() {
			for range (calls + callers - 1) / callers {
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	return time.Since(begin) / time.Duration((calls+callers-1)/callers*callers)
}

// overHTTP calls with Go's client: on as many connections as there are callers, or on
// one of HTTP/2.
func overHTTP(b *testing.B, w *world, body string, major int) func(int) error {
	client := w.client("agent", major == 2)
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 32
	return func(int) error {
		resp, err := client.Post("https://"+host+"/Test/Bench/echo", plainJSON, strings.NewReader(body))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.ProtoMajor != major || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("got %s %s", resp.Proto, resp.Status)
		}
		return err
	}
}

// overStable calls over one stable connection.
func overStable(b *testing.B, w *world, body string) func(int) error {
	conf := clientTLS(b, "agent")
	conf.NextProtos = []string{"http/1.1"}
	c, err := msgclient.New(msgclient.Config{
		URL: "wss://" + host + "/Test/Bench", TLS: conf, DialContext: w.dial,
	})
	if err != nil {
		b.Fatal(err)
	}
	bustest.Run(b, c)
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	return func(int) error {
		_, err := c.Call(context.Background(), "echo", []byte(body))
		return err
	}
}
