package link

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"busd/internal/wire"
)

// inboxSize is the size of the body of frame n: most are small, some have a batch
// to themselves.
func inboxSize(n uint64) int {
	if n%97 == 96 {
		return 100_000
	}
	return int(n * n % 1013)
}

// body is that of frame n.
func body(n uint64) []byte { return bytes.Repeat([]byte{byte(n)}, inboxSize(n)) }

// TestInbox pushes and takes in turn: what comes out is what came, in order, also
// while more comes, and what is handled stays where it is meanwhile.
func TestInbox(t *testing.T) {
	t.Parallel()
	var q inbox
	var pushed, taken uint64
	var handled *Incoming
	for round := range uint64(3000) {
		for range round % 23 {
			b := body(pushed)
			q.push(&wire.Frame{Kind: wire.Request, N: pushed, Name: []byte("name"), Body: b, Size: len(b), Timeout: time.Second})
			clear(b) // it is the reader's
			pushed++
		}
		if handled != nil && (handled.N != taken-1 || !bytes.Equal(handled.Body, body(taken-1))) {
			t.Fatalf("frame %d has changed while it was handled: it is %d now", taken-1, handled.N)
		}
		bytesWaiting := 0
		for n := taken; n < pushed; n++ {
			bytesWaiting += inboxSize(n) + incomingSize
		}
		if q.memory() < bytesWaiting || q.memory() > 3*bytesWaiting+4*firstBytes<<(2*batchClasses) {
			t.Fatalf("%d bytes wait in a memory of %d", bytesWaiting, q.memory())
		}
		handled = nil
		for range round * 7 % 24 {
			in := q.next()
			if in == nil {
				handled = nil // and its memory is used again
				break
			}
			if in.N != taken || in.Name != "name" || in.Size != inboxSize(taken) || !bytes.Equal(in.Body, body(taken)) ||
				in.Timeout != time.Second || in.Arrived.IsZero() || in.canceled {
				t.Fatalf("got frame %d of %d bytes, want %d of %d: %+v", in.N, len(in.Body), taken, inboxSize(taken), in)
			}
			in.canceled = true // nobody sees it in the next one
			handled = in
			q.at++
			taken++
		}
	}
	for ; q.next() != nil; taken++ {
		q.at++
	}
	if taken != pushed || q.memory() != 0 || !q.empty() || q.last != nil {
		t.Errorf("%d of %d frames came out; left: %+v", taken, pushed, q)
	}
}

// What somebody beside the deliverer reads is not used again.
func TestInboxIsReadBeside(t *testing.T) {
	t.Parallel()
	for range 100 {
		var q inbox
		q.push(&wire.Frame{Kind: wire.Data, N: 1, Body: []byte("first")})
		beside := q.next()
		q.at++
		q.shared = true
		if q.next() != nil {
			t.Fatal("there is a second frame")
		}
		q.push(&wire.Frame{Kind: wire.Data, N: 2, Body: []byte("second")})
		if string(beside.Body) != "first" || beside.N != 1 {
			t.Fatalf("it became frame %d, %q", beside.N, beside.Body)
		}
		if in := q.next(); in == nil || string(in.Body) != "second" || q.shared {
			t.Fatalf("got %+v, shared %t", in, q.shared)
		}
	}
}

// A request is canceled wherever it waits, and no other one.
func TestInboxCancels(t *testing.T) {
	t.Parallel()
	var q inbox
	for n := range uint64(1000) {
		q.push(&wire.Frame{Kind: wire.Request, N: 2 * n})
	}
	for _, n := range []uint64{0, 6, 7, 8, 998, 1998, 5000} {
		q.cancel(n)
	}
	for in := q.next(); in != nil; in = q.next() {
		want := in.N == 0 || in.N == 6 || in.N == 8 || in.N == 998 || in.N == 1998
		if in.canceled != want {
			t.Errorf("request %d: canceled %t", in.N, in.canceled)
		}
		q.at++
	}
	q.push(&wire.Frame{Kind: wire.Data})
	if q.clear(); !q.empty() || q.memory() != 0 {
		t.Errorf("after it was cleared: %+v", q)
	}
	if q.push(&wire.Frame{Kind: wire.Data}); !q.empty() {
		t.Error("it takes more after it was cleared")
	}
}

func TestIncomingSize(t *testing.T) {
	t.Parallel()
	if got := reflect.TypeFor[Incoming]().Size(); got != incomingSize {
		t.Errorf("an Incoming takes %d bytes, incomingSize says %d", got, incomingSize)
	}
}

func BenchmarkInbox(b *testing.B) {
	for _, size := range []int{16, 256, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			const waiting = 1 << 8
			var q inbox
			f := &wire.Frame{Kind: wire.Data, Body: make([]byte, size), Size: size}
			for range waiting {
				q.push(f)
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				q.push(f)
				q.next()
				q.at++
			}
		})
	}
}
