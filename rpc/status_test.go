package rpc

import (
	"net/http"
	"sync/atomic"
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

// TestSpools: a service has so many at a time; one that is closed makes place.
func TestSpools(t *testing.T) {
	t.Parallel()
	var count atomic.Int64
	var all []*spool
	for range MaxSpools {
		s, err := newSpool(&count)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		all = append(all, s)
	}
	if _, err := newSpool(&count); err == nil || err.Code != bus.CodeUnavailable {
		t.Errorf("one more: got %v, want unavailable", err)
	}
	last := all[len(all)-1]
	last.close()
	s, err := newSpool(&count)
	if err != nil {
		t.Fatalf("after one was closed: %v", err)
	}
	*last = *s // closed with the others
}
