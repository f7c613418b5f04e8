package rpc

import (
	"net/http"
	"testing"
	"time"

	"busd/bus"
)

// TestStatus: each code has a status as a refusal, and one as a method's error where
// the answer is bytes.
func TestStatus(t *testing.T) {
	t.Parallel()
	want := map[bus.Code][2]int{
		bus.CodeCanceled:           {499, 422},
		bus.CodeInvalidArgument:    {400, 400},
		bus.CodeDeadlineExceeded:   {504, 504},
		bus.CodeNotFound:           {404, 404},
		bus.CodeAlreadyExists:      {500, 409},
		bus.CodePermissionDenied:   {403, 403},
		bus.CodeResourceExhausted:  {429, 429},
		bus.CodeFailedPrecondition: {400, 409},
		bus.CodeAborted:            {500, 409},
		bus.CodeOutOfRange:         {413, 400},
		bus.CodeUnimplemented:      {501, 501},
		bus.CodeUnavailable:        {503, 503},
		bus.CodeGoingAway:          {503, 422},
		bus.CodeUnauthenticated:    {401, 403},
		bus.CodeInvalidMessage:     {500, 400},
		bus.CodeCertificateExpired: {401, 422},
		bus.CodeCertificateRevoked: {401, 422},
	}
	for _, c := range bus.Codes() {
		row, ok := want[c]
		if !ok {
			row = [2]int{http.StatusInternalServerError, http.StatusUnprocessableEntity}
		}
		if got := [2]int{statusOf(c), statusOfError(c)}; got != row {
			t.Errorf("%s: got %v, want %v", c, got, row)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60"} {
		if got := retryAfter(bus.Retry{After: after}); got != want {
			t.Errorf("%v: got %s, want %s", after, got, want)
		}
	}
}

// TestSpools: a service has so many at a time, and a peer a part of them; one that
// is closed makes place.
func TestSpools(t *testing.T) {
	t.Parallel()
	all := room{most: MaxSpools}
	take := func(peer string, fits bool) {
		t.Helper()
		s, err := newSpool(&all, peer)
		if err == nil {
			t.Cleanup(s.close)
		}
		if fits != (err == nil) || err != nil && err.Code != bus.CodeUnavailable {
			t.Errorf("for %q: got %v, want one: %t", peer, err, fits)
		}
	}
	first, err := newSpool(&all, "a")
	if err != nil {
		t.Fatal(err)
	}
	for range MaxSpools/peersPart - 1 {
		take("a", true)
	}
	take("a", false)
	for _, peer := range []string{"b", "c", "d"} {
		for range MaxSpools / peersPart {
			take(peer, true)
		}
	}
	take("e", false)
	first.close()
	take("e", true)
}

// TestZippedRoom: what it takes to decompress a body is held as bodies are.
func TestZippedRoom(t *testing.T) {
	t.Parallel()
	bodies := room{most: MaxHeld}
	r := &http.Request{Body: http.NoBody, Header: http.Header{"Content-Encoding": {"gzip"}}}
	open := func() *body {
		b := &body{}
		_ = b.open(r, time.Now(), nil, &bodies) // it is its fault
		return b
	}
	var all []*body
	for range MaxHeld / peersPart / zippedState {
		b := open()
		if all = append(all, b); b.fault != nil {
			t.Fatal(b.fault)
		}
	}
	if b := open(); b.fault == nil || b.status != http.StatusServiceUnavailable {
		t.Errorf("one more: got %v, want 503", b.fault)
	}
	for _, b := range all {
		b.close()
	}
	if bodies.all != 0 || len(bodies.of) != 0 {
		t.Errorf("%d bytes are still held, by %v", bodies.all, bodies.of)
	}
}
