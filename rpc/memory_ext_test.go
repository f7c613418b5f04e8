package rpc_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"busd/rpc"
)

// TestMemory: uploads and a download of 256 MiB, in each form, and nothing grows.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it moves two gigabytes")
	}
	const size = largeFile
	svc := dummy()
	rpc.Export(svc, "get", func() *rpc.Stream { return &rpc.Stream{Reader: io.LimitReader(endless{}, size), Size: size} })
	rpc.Export(svc, "put", func(content io.Reader) (int64, error) { return io.Copy(io.Discard, content) }).MaxBody = 512 << 20
	w := serve(t, serverOf(t, rpc.Config{}, svc))
	client := w.client("agent", false)
	send := func(path, contentType string, body io.Reader) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d, %d bytes, %v", path, resp.StatusCode, n, err)
		}
	}
	largest := watchHeap(t)
	send(dummyPath+"/put", octets, io.LimitReader(endless{}, size))
	send(dummyPath+"/get", plainJSON, nil)
	send(dummyPath, urlencoded, io.MultiReader(strings.NewReader("method=put&args=[{\"__dCls\":\"b64\",\"obj\":\""),
		io.LimitReader(&repeated{text: "QUJD"}, size), strings.NewReader("\"}]&clientVO=vo")))
	send(dummyPath, "multipart/form-data; boundary=b", io.MultiReader(
		strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"method\"\r\n\r\nput\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n"),
		io.LimitReader(&repeated{text: "QUJD"}, size), strings.NewReader("\r\n--b--\r\n")))
	grown := largest()
	t.Logf("the heap has grown by %d MiB", grown>>20)
	if grown > 32<<20 {
		t.Error("want less than 32")
	}
}

// repeated is a text again and again.
type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at%len(r.text)]
		r.at++
	}
	return len(p), nil
}

// watchHeap returns how much the heap has grown at most until it is asked.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	read := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	runtime.GC()
	before, most := read(), uint64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-tick.C:
				most = max(most, read())
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		return most - min(most, before)
	}
}
