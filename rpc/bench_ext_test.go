package rpc_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"busd/rpc"
)

// BenchmarkHTTPS compares echo calls with a bare net/http handler that reads and
// writes the same JSON: HTTPS over loopback with client certificates, connections
// that are kept, a client that does next to nothing; all of them by turns, so that
// one run's ratio holds on a busy machine. Figures are medians of the rounds.
func BenchmarkHTTPS(b *testing.B) {
	mux := http.NewServeMux()
	mux.HandleFunc("/bare", bareEcho)
	mux.HandleFunc("/bytes", bytesEcho)
	mux.Handle("/", serverOf(b, rpc.Config{}, rpc.NewService("Test/Bench")))
	w := serve(b, mux)
	contenders := []struct {
		name string
		post post
	}{
		{"bare", post{path: "/bare", contentType: plainJSON, body: `["hello"]`}},
		{"bytes", post{path: "/bytes", contentType: plainJSON, body: `["hello"]`}},
		{"json", post{path: "/Test/Bench/echo", contentType: plainJSON, body: `["hello"]`}},
		{"dirac", post{path: "/Test/Bench", contentType: urlencoded, body: "method=echo&args=%5B%22hello%22%5D&clientVO=vo&clientSetup=Test"}},
	}
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			crowd := make([]*lean, callers)
			for i := range crowd {
				conn := w.line("agent")
				crowd[i] = &lean{conn, bufio.NewReader(conn)}
			}
			took, cpu := map[string][]float64{}, map[string][]float64{}
			for b.Loop() {
				for _, c := range contenders {
					before := cpuTime(b)
					took[c.name] = append(took[c.name], float64(callAll(b, crowd, []byte(c.post.wire()))))
					cpu[c.name] = append(cpu[c.name], float64(cpuTime(b)-before)/callsPerRound)
				}
			}
			for _, c := range contenders {
				own := median(took[c.name])
				b.ReportMetric(float64(time.Second)/own, c.name+"/s")
				b.ReportMetric(median(took["bare"])/own, c.name+"÷bare")
				b.ReportMetric(median(cpu[c.name])/1000, c.name+"-cpu-µs")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// callsPerRound is how many calls make a round.
const callsPerRound = 4000

// callAll makes a round, and returns the time for each call.
func callAll(b *testing.B, crowd []*lean, request []byte) time.Duration {
	begin := time.Now()
	var work sync.WaitGroup
	for _, each := range crowd {
		work.Go(func() {
			for range callsPerRound / len(crowd) {
				if err := each.call(request); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	return time.Since(begin) / callsPerRound
}

// cpuTime is what this process has used of the processors, both ends together.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// bareEcho is what a Go programmer writes.
func bareEcho(w http.ResponseWriter, r *http.Request) {
	var args []any
	if err := json.NewDecoder(r.Body).Decode(&args); err != nil || len(args) != 1 {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"OK": true, "Value": args[0]})
}

// bytesEcho does less than any echo can: it reads and writes bytes.
func bytesEcho(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"OK":true,"Value":`))
	_, _ = w.Write(body[1 : len(body)-1])
	_, _ = w.Write([]byte("}"))
}

// A lean client does no more than a benchmark needs.
type lean struct {
	conn net.Conn
	r    *bufio.Reader
}

func (l *lean) call(request []byte) error {
	if _, err := l.conn.Write(request); err != nil {
		return err
	}
	length, ok := 0, false
	for first := true; ; first = false {
		line, err := l.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first {
			ok = bytes.HasPrefix(line, []byte("HTTP/1.1 200"))
		}
		if len(line) == 2 {
			break
		}
		if value, is := bytes.CutPrefix(line, []byte("Content-Length: ")); is {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	body, err := l.r.Peek(length)
	if err == nil && !ok {
		err = fmt.Errorf("got %s", body)
	}
	_, _ = l.r.Discard(length)
	return err
}
