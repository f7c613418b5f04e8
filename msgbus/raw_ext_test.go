package msgbus_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"busd/bus"
	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
	"busd/schema"
)

// A raw client says what its test wants, frame by frame.
type raw struct {
	t        *testing.T
	line     *tap // beneath TLS
	sock     *websocket.Conn
	contract *wire.Contract
	conf     *tls.Config
	hello    wire.HelloFrame

	// What the service answered to the hello: one of them.
	welcome *wire.WelcomeFrame
	refused *bus.Error

	said  uint64 // the number of the last frame that it sent
	seen  uint64 // and of the last that it got
	batch []byte // what has come and was not read yet
}

// aHello is what a client says that has nothing to resume, and cannot move.
func aHello(instance string) wire.HelloFrame {
	return wire.HelloFrame{
		Instance: instance, Credit: 1 << 20, Features: []string{wire.FeatureResume},
	}
}

// greet connects to a service and says hello. The certificate is that of
// bustest's default peer unless conf is another.
func greet(t *testing.T, srv *bustest.Server, svc *msgbus.Service, conf *tls.Config, hello wire.HelloFrame) *raw {
	t.Helper()
	r := begin(t, srv, svc, conf, hello)
	r.hear()
	return r
}

// begin is greet that does not wait for the answer.
func begin(t *testing.T, srv *bustest.Server, svc *msgbus.Service, conf *tls.Config, hello wire.HelloFrame) *raw {
	t.Helper()
	if conf == nil {
		conf = bustest.ClientTLS(t, bustest.DefaultPeer)
	}
	r := &raw{t: t, conf: conf, hello: hello, contract: wire.Compile(svc.Schema)}
	d := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := srv.DialContext(ctx, network, address)
			if err == nil {
				r.line = newTap(c)
			}
			return r.line, err
		},
		TLSClientConfig: conf,
		Subprotocols:    []string{wire.Subprotocol},
	}
	sock, _, err := d.DialContext(t.Context(), "wss://"+bustest.Host+"/"+svc.Name(), nil)
	if err != nil {
		t.Fatalf("raw client: %v", err)
	}
	t.Cleanup(r.cut)
	r.sock = sock
	r.write(wire.AppendHello(nil, &hello))
	return r
}

// hear reads the answer to the hello.
func (r *raw) hear() {
	r.t.Helper()
	switch f := r.next(); f.Kind {
	case wire.Welcome:
		w, err := wire.DecodeWelcome(f.Body)
		if err != nil {
			r.t.Fatalf("raw client: %v", err)
		}
		r.welcome = w
		if w.Resumed {
			r.said, r.seen = uint64(w.Seen), uint64(r.hello.Seen)
		}
	case wire.Drop:
		r.refused = r.drop(f)
	default:
		r.t.Fatalf("raw client: got %s, want a welcome or a drop", f.Kind)
	}
}

// again is the hello that resumes.
func (r *raw) again() wire.HelloFrame {
	hello := r.hello
	hello.Session, hello.Token, hello.Seen = r.welcome.Session, r.welcome.Token, int64(r.seen)
	return hello
}

func (r *raw) write(b []byte) {
	r.t.Helper()
	if err := r.sock.WriteMessage(websocket.BinaryMessage, b); err != nil {
		r.t.Fatalf("raw client: %v", err)
	}
}

// send sends a one-way message with the next number.
func (r *raw) send(m schema.Message) {
	r.t.Helper()
	frame, err := wire.AppendData(nil, r.message(m), m, wire.DataOptions{AckAtOnce: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.said++
	r.write(wire.AppendNumber(nil, frame, r.said))
}

func (r *raw) message(m schema.Message) *wire.Message {
	found, ok := r.contract.Message(m.MessageName())
	if !ok {
		r.t.Fatalf("raw client: no message %s", m.MessageName())
	}
	return found
}

// read returns the next frame, or why there is none.
func (r *raw) read() (wire.Frame, error) {
	if len(r.batch) == 0 {
		if err := r.sock.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return wire.Frame{}, err
		}
		_, b, err := r.sock.ReadMessage()
		if err != nil {
			return wire.Frame{}, err
		}
		r.batch = b
	}
	f, err := wire.Decoder{Contract: r.contract, From: schema.FromService, Limit: 1 << 20}.Next(r.batch)
	if err != nil {
		return wire.Frame{}, err
	}
	r.batch = r.batch[f.Size:]
	if f.Kind.Numbered() {
		r.seen = f.N
	}
	return f, nil
}

func (r *raw) next() wire.Frame {
	r.t.Helper()
	f, err := r.read()
	if err != nil {
		r.t.Fatalf("raw client: waited for a frame: %v", err)
	}
	return f
}

// until returns the next frame of a kind; others are passed over.
func (r *raw) until(kind wire.Kind) wire.Frame {
	r.t.Helper()
	for {
		if f := r.next(); f.Kind == kind {
			return f
		}
	}
}

func (r *raw) drop(f wire.Frame) *bus.Error {
	r.t.Helper()
	why, err := wire.DecodeDrop(f.Body)
	if err != nil {
		r.t.Fatalf("raw client: %v", err)
	}
	return why
}

// ended reads to the end of the line.
func (r *raw) ended() {
	r.t.Helper()
	for {
		if _, err := r.read(); err != nil {
			return
		}
	}
}

// cut ends the line without a word.
func (r *raw) cut() { _ = r.line.Conn.Close() }

// wantResumed checks that a session goes on, or why it does not.
func (r *raw) wantResumed(reason string) {
	r.t.Helper()
	switch {
	case r.welcome == nil:
		r.t.Fatalf("%s: got refused (%v), want a welcome", r.hello.Instance, r.refused)
	case r.welcome.Resumed != (reason == "") || r.welcome.ResumeReason != reason:
		r.t.Fatalf("%s: got resumed %t, reason %q; want %t, %q", r.hello.Instance, r.welcome.Resumed, r.welcome.ResumeReason, reason == "", reason)
	}
}

// wantNew checks that a session begins, and that none was asked for.
func (r *raw) wantNew() {
	r.t.Helper()
	if r.welcome == nil || r.welcome.Resumed || r.welcome.ResumeReason != "" {
		r.t.Fatalf("%s: got welcome %+v, refused %v; want a new session", r.hello.Instance, r.welcome, r.refused)
	}
}

// call calls a method, and returns the error that answers it, or nil.
func (r *raw) call(method string, args []byte) error {
	r.t.Helper()
	r.said++
	n := r.said
	r.write(wire.AppendNumber(nil, wire.AppendCall(nil, method, args, 0), n))
	for {
		f := r.next()
		if f.Re != n || (f.Kind != wire.Answer && f.Kind != wire.Error) {
			continue
		}
		if f.Kind == wire.Answer {
			return nil
		}
		e, err := wire.DecodeError(f.Body)
		if err != nil {
			r.t.Fatal(err)
		}
		return e
	}
}
