package rpc_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
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
	server := serverOf(t, rpc.Config{Busy: busy.Load}, s)
	post := func() *http.Response {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://x/Test/Busy/one", strings.NewReader("[]"))
		r.Header.Set("Content-Type", "application/json")
		server.ServeHTTP(w, r)
		return w.Result()
	}
	for _, now := range []bool{false, true, false} {
		busy.Store(now)
		_, err := ask(t, s, "one", "[]")
		got := post()
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
