package link

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"busd/bus"
	"busd/internal/wire"
)

func TestCallFlood(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	defer close(block)
	h := &handlers{handle: func(context.Context, *end, *Incoming) error { <-block; return nil }}
	_, peer := rawPeer(t, h, options{credit: 4 << 10})
	call := []byte{0x94, byte(wire.Call), 0xa4, 'e', 'c', 'h', 'o', 0xc4, 0}
	peer.say(dataFrame(1, ""))
	for range 64 {
		peer.say(call)
	}
	wantCode(t, "calls without credit", peer.hearDrop(), bus.CodeProtocolError)
}

func TestAnswersThatNobodyAcknowledges(t *testing.T) {
	t.Parallel()
	handled := make(chan struct{}, 1000)
	h := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
		err := e.Reply(ctx, in.N, must(wire.AppendAnswer(nil, in.N, msg("Note"), note{Text: strings.Repeat("x", 1000)})))
		handled <- struct{}{}
		return err
	}}
	a, peer := rawPeer(t, h, options{buffer: 10 << 10, credit: 64 << 10})
	for range 100 {
		peer.say(requestFrame(1, ""))
	}
	for range 10 {
		receive(t, handled, "a handler")
	}
	for n := uint64(0); n < 10; n = peer.hear(wire.Answer).N {
		continue
	}
	if got := a.Queued(); got > 10<<10 {
		t.Errorf("%d bytes of answers are kept, want at most %d", got, 10<<10)
	}
	peer.write(wire.AppendAck(nil, 10, 0))
	for range 10 {
		receive(t, handled, "a handler after the ack")
	}
}

func TestAnswersToNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		frame []byte
		say   int
		sent  int
		want  bus.Code
	}{
		{"answer to what was never sent", must(wire.AppendAnswer(nil, 9, nil, nil)), 1, 1, bus.CodeProtocolError},
		{"answer to number 0", must(wire.AppendAnswer(nil, 0, nil, nil)), 1, 1, bus.CodeProtocolError},
		{"error to what was never sent", wire.AppendError(nil, 9, bus.Errorf(bus.CodeInternal, "")), 1, 1, bus.CodeProtocolError},
		{"answer to a one-way message", must(wire.AppendAnswer(nil, 1, nil, nil)), 1, 1, 0},
		{"the same for ever", must(wire.AppendAnswer(nil, 1, nil, nil)), 3, 2, bus.CodeProtocolError},
		{"errors for ever", wire.AppendError(nil, 1, bus.Errorf(bus.CodeInternal, "")), 3, 2, bus.CodeProtocolError},
		{"an error without a map", []byte{0x94, byte(wire.Error), 1, 0xc0}, 1, 1, bus.CodeProtocolError},
	}
	for _, tt := range tests {
		a, peer := rawPeer(t, nil, options{})
		for i := range tt.sent {
			if err := a.Send(t.Context(), dataFrame(int64(i), "")); err != nil {
				t.Fatal(err)
			}
			peer.hear(wire.Data)
		}
		for range tt.say {
			peer.say(tt.frame)
		}
		if tt.want != 0 {
			wantCode(t, tt.name, peer.hearDrop(), tt.want)
			continue
		}
		peer.say(requestFrame(1, "still there"))
		peer.hear(wire.Answer)
	}
}

func TestErrorFlood(t *testing.T) {
	t.Parallel()
	h := &handlers{}
	a, peer := rawPeer(t, h, options{room: 4096})
	const n = 1000
	for i := range int64(n) {
		if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
			t.Fatal(err)
		}
	}
	for peer.hear(wire.Data).N < n {
		continue
	}
	h.mu.Lock() // whoever reports waits
	long := &bus.Error{Code: bus.CodeInternal, Reason: strings.Repeat("x", 1000)}
	waiting := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.inbox.failures)
	}
	peer.say(wire.AppendError(nil, 1, long))
	peer.write(wire.AppendAck(nil, n, 0))
	if err := a.Flush(t.Context()); err != nil { // so it has read everything
		t.Fatal(err)
	}
	for waiting() > 0 { // until it is being reported
		runtime.Gosched()
	}
	for i := range uint64(n - 1) {
		peer.say(wire.AppendError(nil, i+2, long))
	}
	peer.say(requestFrame(1, ""))
	peer.hear(wire.Answer) // so it has read all that
	if n := waiting(); n != maxFailures {
		t.Errorf("%d errors wait, want %d", n, maxFailures)
	}
	h.mu.Unlock()
	for len(h.failures()) < 1+maxFailures {
		runtime.Gosched()
	}
}
