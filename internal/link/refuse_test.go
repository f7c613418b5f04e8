package link

import (
	"errors"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

func TestGoodbyeIsAnswered(t *testing.T) {
	t.Parallel()
	a, peer := rawPeer(t, nil, options{})
	if err := peer.Close(bus.CloseNormal, "bye"); err != nil {
		t.Fatal(err)
	}
	wantDropped(t, "Run", a.wait(t), bus.CodeGoingAway)
	for {
		in, err := peer.receive()
		if err != nil {
			t.Fatalf("no goodbye came back: %v", err)
		}
		if in.kind == 'c' {
			break
		}
	}
}

func TestProtocolErrorsEndTheLink(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		bytes []byte
		close int
	}{
		{"not msgpack", []byte{0xc1}, bus.CloseInvalidPayload},
		{"half a frame", []byte{0x94, 4, 1}, bus.CloseInvalidPayload},
		{"an unknown kind", []byte{0x92, 0x20, 0x80}, bus.CodeProtocolError.CloseCode()},
		{"a hello", []byte{0x92, 0, 0x80}, bus.CodeProtocolError.CloseCode()},
		{"a welcome", []byte{0x92, 1, 0x80}, bus.CodeProtocolError.CloseCode()},
		{"a number twice", wire.AppendNumber(wire.AppendNumber(nil, dataFrame(1, ""), 1), dataFrame(1, ""), 1), bus.CodeProtocolError.CloseCode()},
		{"a number left out", wire.AppendNumber(nil, dataFrame(1, ""), 2), bus.CodeProtocolError.CloseCode()},
		{"an ack of what was not sent", wire.AppendAck(nil, 1, 0), bus.CodeProtocolError.CloseCode()},
		{"credit that was not spent", wire.AppendAck(nil, 0, 1), bus.CodeProtocolError.CloseCode()},
		{"a drop without sense", []byte{0x92, 2, 0x81, 0xa4, 'c', 'o', 'd', 'e', 0xa1, 'x'}, bus.CodeProtocolError.CloseCode()},
	}
	for _, tt := range tests {
		a, peer := rawPeer(t, nil, options{})
		peer.write(tt.bytes)
		wantCode(t, tt.name, peer.hearDrop(), bus.CodeProtocolError)
		in, err := peer.receive()
		if err != nil || in.kind != 'c' || in.code != tt.close {
			t.Errorf("%s: got %c %d, %v; want the close code %d", tt.name, in.kind, in.code, err, tt.close)
		}
		if err := peer.Close(bus.CloseNormal, ""); err != nil {
			t.Fatal(err)
		}
		wantDropped(t, tt.name, a.wait(t), bus.CodeProtocolError)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	remote := bus.Errorf(bus.CodeGoingAway, "bye")
	remote.Remote = true
	tests := []struct {
		name  string
		err   error
		drop  bool
		close int
	}{
		{"an error of ours", bus.Errorf(bus.CodeAlreadyExists, "connected already"), true, bus.CodeAlreadyExists.CloseCode()},
		{"a fault below the frames", &Fault{Err: bus.Errorf(bus.CodeProtocolError, "text"), Close: bus.CloseUnsupportedData}, true, bus.CloseUnsupportedData},
		{"a foreign error", errors.New("secret"), true, bus.CodeUnknown.CloseCode()},
		{"the peer's goodbye", remote, false, bus.CloseNormal},
	}
	for _, tt := range tests {
		pa, pb := Pipe(t, 4)
		pb.Handle(func(string) {}, func(string) {})
		done := make(chan struct{})
		go func() { defer close(done); Refuse(pa, tt.err) }()
		peer := &raw{pipe: pb, t: t}
		if tt.drop {
			why := peer.hearDrop()
			wantCode(t, tt.name, why, bus.AsError(tt.err).Code)
			if strings.Contains(why.Reason, "secret") {
				t.Errorf("%s: the peer is told %q", tt.name, why.Reason)
			}
		}
		if in, err := pb.receive(); err != nil || in.kind != 'c' || in.code != tt.close {
			t.Errorf("%s: got %c %d, %v; want a close frame with %d", tt.name, in.kind, in.code, err, tt.close)
		}
		if err := pb.Close(bus.CloseNormal, ""); err != nil {
			t.Fatal(err)
		}
		receive(t, done, "Refuse")
	}
}

func TestRefuseOfAPeerThatTakesNothing(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, _ := Pipe(t, 0)
		begin := time.Now()
		Refuse(pa, bus.Errorf(bus.CodeInternal, "no"))
		if took := time.Since(begin); took != closeLimit {
			t.Errorf("it took %s, want %s", took, closeLimit)
		}
	})
}
