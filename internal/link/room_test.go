package link

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

func TestSendNow(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	hb := &handlers{handle: func(ctx context.Context, _ *end, _ *Incoming) error {
		select {
		case <-block:
		case <-ctx.Done():
		}
		return nil
	}}
	a, b := pair(t, nil, hb, options{credit: 4 << 10, buffer: 8 << 10})
	var err error
	sent := 0
	for ; err == nil && sent < 1000; sent++ {
		err = a.SendNow(dataFrame(1, strings.Repeat("x", 100)))
	}
	wantDropped(t, "SendNow without room", err, bus.CodeSlowConsumer)
	if sent < 60 {
		t.Errorf("room for %d messages of 120 bytes in 8 KiB", sent)
	}
	wantDropped(t, "SendNow after the end", a.SendNow(dataFrame(1, "")), bus.CodeSlowConsumer)
	close(block)
	wantDropped(t, "the slow consumer", b.wait(t), bus.CodeSlowConsumer)
	wantDropped(t, "the sender", a.wait(t), bus.CodeSlowConsumer)
}

func TestSendWaitsForRoom(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	hb := &handlers{handle: func(ctx context.Context, _ *end, _ *Incoming) error {
		select {
		case <-block:
		case <-ctx.Done():
		}
		return nil
	}}
	a, _ := pair(t, nil, hb, options{credit: 1 << 10, buffer: 2 << 10})
	frame := dataFrame(1, strings.Repeat("x", 100))
	fill := func() (err error) {
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			err = a.Send(ctx, frame)
			cancel()
			if err != nil {
				break
			}
		}
		return err
	}
	wantCode(t, "Send without room", fill(), bus.CodeDeadlineExceeded)
	results := make(chan error, 20)
	for range 20 {
		go func() { results <- a.Send(t.Context(), frame) }()
	}
	close(block)
	for range 20 {
		if err := receive(t, results, "a sender who waited"); err != nil {
			t.Errorf("a sender who waited: %v", err)
		}
	}
}

func TestSendersWakeAtTheEnd(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	defer close(block)
	hb := &handlers{handle: func(context.Context, *end, *Incoming) error { <-block; return nil }}
	a, _ := pair(t, nil, hb, options{credit: 1 << 10, buffer: 2 << 10})
	frame := dataFrame(1, strings.Repeat("x", 100))
	for a.Queued()+len(frame) <= 2<<10 {
		if err := a.Send(t.Context(), frame); err != nil {
			t.Fatal(err)
		}
	}
	results := make(chan error, 4)
	go func() { results <- a.Send(context.Background(), frame) }()
	go func() { results <- a.SendAcked(context.Background(), frame) }()
	go func() { results <- a.Flush(context.Background()) }()
	go func() { _, err := a.Request(context.Background(), frame); results <- err }()
	a.Drop(bus.Errorf(bus.CodeAborted, "enough"))
	for range 4 {
		if err := receive(t, results, "one who waited"); !errors.Is(err, bus.ErrDropped) {
			t.Errorf("one who waited: got %v, want ErrDropped", err)
		}
	}
}

func TestWithdrawGivesRoomBack(t *testing.T) {
	t.Parallel()
	pa, _ := Pipe(t, 1)
	a := newEnd(pa, nil, options{buffer: 2 << 10, credit: 1 << 10}.orDefaults()) // Run has not begun: nothing is written
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 15)
	frame := requestFrame(1, strings.Repeat("x", 100))
	for range cap(results) {
		go func() {
			_, err := a.Request(ctx, frame)
			results <- err
		}()
	}
	for a.Queued() < len(frame)*cap(results) {
		runtime.Gosched()
	}
	sent, flushed := make(chan error, 1), make(chan error, 1)
	go func() { sent <- a.Send(t.Context(), dataFrame(1, strings.Repeat("y", 1000))) }()
	cancel()
	for range cap(results) {
		wantCode(t, "a canceled request", receive(t, results, "a request"), bus.CodeCanceled)
	}
	if err := receive(t, sent, "who waited for room"); err != nil {
		t.Errorf("who waited for room: %v", err)
	}
	go func() { flushed <- a.Flush(t.Context()) }()
	a.Drop(bus.Errorf(bus.CodeAborted, "over"))
	wantDropped(t, "Flush", receive(t, flushed, "Flush"), bus.CodeAborted)
}

func TestFlushWithNothingButWithdrawn(t *testing.T) {
	t.Parallel()
	pa, _ := Pipe(t, 1)
	a := newEnd(pa, nil, options{}.orDefaults())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := a.Request(ctx, requestFrame(1, "")); done <- err }()
	for a.Queued() == 0 {
		runtime.Gosched()
	}
	flushed := make(chan error, 1)
	go func() { flushed <- a.Flush(t.Context()) }()
	cancel()
	receive(t, done, "the request")
	if err := receive(t, flushed, "Flush"); err != nil {
		t.Errorf("Flush: %v", err)
	}
}

// A large frame that waits for room is not passed by small ones for ever.
func TestRoomIsGivenInOrder(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		handled := make(chan int64, 1000)
		gate := make(chan struct{})
		hb := &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
			<-gate
			m, err := unpackNote(in.Body)
			handled <- m.ID
			return err
		}}
		a, _ := pair(t, nil, hb, options{credit: 4 << 10, buffer: 4 << 10})
		send := func(id int64, size int) chan error {
			sent := make(chan error, 1)
			go func() { sent <- a.Send(t.Context(), dataFrame(id, strings.Repeat("x", size))) }()
			synctest.Wait()
			return sent
		}
		for waiting := false; !waiting; { // until neither credit nor buffer is left
			send(0, 100)
			a.mu.Lock()
			waiting = len(a.waiters[bulk]) > 0
			a.mu.Unlock()
		}
		large, small := send(1, 800), send(2, 1)
		close(gate)
		for _, sent := range []chan error{large, small} {
			if err := receive(t, sent, "who waited for room"); err != nil {
				t.Errorf("who waited for room: %v", err)
			}
		}
		for id := int64(0); id != 1; {
			if id = receive(t, handled, "a message"); id == 2 {
				t.Fatal("a small message passed a large one that waited for room")
			}
		}
	})
}

// Who flushes asks for the ack once, not as fast as the line takes it.
func TestFlushAsksOnce(t *testing.T) {
	t.Parallel()
	a, peer := rawPeer(t, nil, options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int64
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for {
			b, err := peer.Read()
			if err != nil {
				_ = peer.Close(bus.CloseNormal, "")
				return
			}
			for len(b) > 0 {
				f, err := wire.Decoder{Contract: contract}.Next(b)
				if err != nil {
					t.Errorf("a frame: %v", err)
					return
				}
				if b = b[f.Size:]; f.Kind == wire.Ack && f.AckAtOnce() && asked.Add(1) == 1 {
					time.AfterFunc(100*time.Millisecond, cancel) // a peer far away
				}
			}
		}
	}()
	if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "Flush", a.Flush(ctx), bus.CodeCanceled)
	a.Drop(bus.Errorf(bus.CodeGoingAway, "the test is over"))
	_ = a.wait(t)
	<-heard
	if n := asked.Load(); n != 1 {
		t.Errorf("an ack was asked for %d times, want once", n)
	}
}

// A reply that finds no room in its time does not take the request's one answer
// with it: the request is answered when its handler returns.
func TestReplyWithoutRoom(t *testing.T) {
	t.Parallel()
	gaveUp := make(chan struct{})
	h := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
		m, err := unpackNote(in.Body)
		if err != nil {
			return err
		}
		if m.ID == 2 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			defer close(gaveUp)
		}
		return e.Reply(ctx, in.N, must(wire.AppendAnswer(nil, in.N, msg("Note"), note{Text: strings.Repeat("x", 900)})))
	}}
	_, peer := rawPeer(t, h, options{buffer: 1000})
	peer.say(requestFrame(1, ""), requestFrame(2, ""))
	if f := peer.hear(wire.Answer); f.Re != 1 {
		t.Fatalf("got the answer to %d, want that to 1", f.Re)
	}
	receive(t, gaveUp, "the second reply")
	peer.write(wire.AppendAck(nil, 1, 0))
	if f := peer.hear(wire.Error); f.Re != 2 {
		t.Errorf("got an error for %d, want one for 2", f.Re)
	}
}

// A handler that waits for room while nothing carries the session waits on; once
// there is a peer again, that has its time to give something back.
func TestRoomOverACut(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		sent := make(chan error, 1)
		h := &handlers{handle: func(ctx context.Context, e *end, _ *Incoming) error {
			var err error
			for err == nil {
				err = e.Send(ctx, dataFrame(1, strings.Repeat("x", 100)))
			}
			sent <- err
			return nil
		}}
		a, peer := rawPeer(t, h, options{ends: lives, buffer: 1 << 10})
		peer.say(dataFrame(1, ""))
		time.Sleep(roomLimit / 2)
		a.pipe.Abort()
		time.Sleep(10 * roomLimit)
		if len(sent) != 0 {
			t.Fatalf("it does not wait on: %v", <-sent)
		}
		begin := time.Now()
		pa, pb := Pipe(t, 64)
		pb.Handle(func(string) {}, func(string) {})
		if err := a.resume(pa, 1, 0); err != nil {
			t.Fatal(err)
		}
		wantDropped(t, "Send in the handler", <-sent, bus.CodeSlowConsumer)
		if took := time.Since(begin); took != roomLimit {
			t.Errorf("it took %s after the resume, want %s", took, roomLimit)
		}
		wantDropped(t, "the session", a.Stream.Cause(), bus.CodeSlowConsumer)
		pa.Abort()
		_ = a.wait(t)
	})
}
