package rpc_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"busd/access"
	"busd/msgbus"
	"busd/rpc"
	"busd/rpc/rpcclient"
)

// typed is what a small method returns.
type typed struct {
	ID   int64  `json:"id" bus:"id"`
	Text string `json:"text" bus:"text"`
}

// BenchmarkTyped is a small method with typed arguments that 32 callers call at a
// time: by a handler of net/http, by ours, and over one stable connection with our
// client. Both ends are in this process; cpu-ns/op is what they spend together.
func BenchmarkTyped(b *testing.B) {
	svc := rpc.NewService("Test/Bench")
	svc.Allow = access.Authenticated
	rpc.Export(svc, "reflect", func(id int64, text string) typed { return typed{id, text} }).Named("id", "text")
	server, err := msgbus.NewServer(msgbus.Config{}, &msgbus.Service{Methods: svc})
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/bare", func(w http.ResponseWriter, r *http.Request) {
		var m typed
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", plainJSON)
		_ = json.NewEncoder(w).Encode(m) // the caller says if it does not come
	})
	mux.Handle("/", server)
	w := serve(b, mux, "http/1.1")
	b.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
	})
	const callers, body = 32, `{"id":7,"text":"the quick brown fox"}`
	lines := make([]*lean, callers)
	for i := range lines {
		conn := w.line("agent")
		lines[i] = &lean{conn, bufio.NewReader(conn)}
	}
	conf := clientTLS(b, "agent")
	conf.NextProtos = []string{"http/1.1"}
	client, err := rpcclient.Dial(b.Context(), "wss://"+host+"/Test/Bench", rpcclient.Config{TLS: conf, DialContext: w.dial})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() }) // there is nothing left to lose
	bare := []byte(post{path: "/bare", contentType: plainJSON, body: body}.wire())
	ours := []byte(post{path: "/Test/Bench/reflect", contentType: plainJSON, body: body}.wire())
	for _, way := range []struct {
		name string
		call func(caller int) error
	}{
		{"bare", func(i int) error { return lines[i].call(bare) }},
		{"https", func(i int) error { return lines[i].call(ours) }},
		{"stable", func(int) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err := rpcclient.Call[typed](ctx, client, "reflect", int64(7), "the quick brown fox")
			return err
		}},
	} {
		b.Run(way.name, func(b *testing.B) { together(b, callers, way.call) })
	}
}

// together has callers make the benchmark's calls, and reports what they cost.
func together(b *testing.B, callers int, call func(caller int) error) {
	b.Helper()
	b.ReportAllocs()
	left := atomic.Int64{}
	left.Store(int64(b.N))
	spent := cpuTime(b)
	var work sync.WaitGroup
	for i := range callers {
		work.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	b.ReportMetric(float64(cpuTime(b)-spent)/float64(b.N), "cpu-ns/op")
}
