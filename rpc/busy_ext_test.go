package rpc_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"busd/bus"
	"busd/rpc"
)

// While the program can take no more calls they are refused by whichever way they come,
// with when to try again; and then they are taken.
func TestBusy(t *testing.T) {
	t.Parallel()
	var busy atomic.Bool
	s := rpc.NewService("Test/Busy")
	rpc.Export(s, "one", func() int { return 1 })
	w := serve(t, serverOf(t, rpc.Config{Busy: busy.Load}, s))
	for _, now := range []bool{false, true, false} {
		busy.Store(now)
		_, err := ask(t, s, "one", "[]")
		got := w.ask("agent", post{path: "/Test/Busy/one", contentType: plainJSON, body: "[]"})
		if !now {
			if err != nil || got.StatusCode != http.StatusOK {
				t.Errorf("with room: got %v, %s", err, got.Status)
			}
			continue
		}
		fails(t, err, bus.CodeUnavailable, "Test/Busy takes no calls for now: the server is short of memory")
		wantRetry(t, err)
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			t.Errorf("over HTTPS: got %s, %v", got.Status, got.Header)
		}
	}
}
