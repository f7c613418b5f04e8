package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
)

const grpcModule = "google.golang.org/grpc"

var grpcContender = &contender{
	name: "grpc", title: "grpc-go, bidirectional stream", module: grpcModule,
	does:    "a stream for each connection, default options; a codec that copies bytes, which costs less than protobuf would",
	lacks:   "with this codec no names, types or checks; the stream does not outlive its connection, no acks",
	batches: "its writer goroutine sends together what waits",
	serve:   serveGRPC, dial: dialGRPC,
}

var grpcUnaryContender = &contender{
	name: "grpc-unary", title: "grpc-go, unary", module: grpcModule,
	does:    "all callers on one connection; JSON as the others, in a codec that copies bytes",
	lacks:   "no check of arguments beyond the decoder's, no access rules",
	batches: "as the stream",
	serve:   serveGRPC, call: callGRPC,
}

// A grpcFrame is a message: bytes, valid until the next one is read into it.
type grpcFrame struct{ data []byte }

// grpcCodec passes bytes. There is no protoc here; and what it leaves out speaks
// for grpc-go.
type grpcCodec struct{}

// Marshal copies: the buffer is written after it has returned.
func (grpcCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*grpcFrame)
	if !ok {
		return nil, fmt.Errorf("want a frame, got %T", v)
	}
	return mem.BufferSlice{mem.Copy(f.data, mem.DefaultBufferPool())}, nil
}

// Unmarshal copies into the frame's own bytes.
func (grpcCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*grpcFrame)
	if !ok {
		return fmt.Errorf("want a frame, got %T", v)
	}
	n := data.Len()
	if cap(f.data) < n {
		f.data = make([]byte, n)
	}
	f.data = f.data[:n]
	data.CopyTo(f.data)
	return nil
}

// Name is the content's subtype.
func (grpcCodec) Name() string { return "bytes" }

// The service and its methods.
const (
	grpcService = "bench.Works"
	grpcStream  = "/" + grpcService + "/Stream"
	grpcReflect = "/" + grpcService + "/Reflect"
)

var grpcStreamDesc = grpc.StreamDesc{StreamName: "Stream", ServerStreams: true, ClientStreams: true}

func serveGRPC(s *serverSide) error {
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		return err
	}
	all := newCrowd()
	s.app.broadcast = all.broadcast
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(s.pki.serverTLS())), grpc.ForceServerCodecV2(grpcCodec{}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: s.KeepAlive / 2, PermitWithoutStream: true}),
	)
	stream := grpcStreamDesc
	stream.Handler = func(_ any, stream grpc.ServerStream) error { return serveGRPCStream(s.app, all, stream) }
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: grpcService, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{stream},
		Methods: []grpc.MethodDesc{{MethodName: "Reflect", Handler: grpcReflectHandler}},
	}, struct{}{})
	return server.Serve(l)
}

func serveGRPCStream(app *application, all *crowd, stream grpc.ServerStream) error {
	if err := stream.SendHeader(nil); err != nil { // the welcome
		return err
	}
	c := &grpcServerConn{stream: stream}
	all.add(c)
	defer all.remove(c)
	for f := (grpcFrame{}); ; {
		if err := stream.RecvMsg(&f); err != nil {
			return err
		}
		reply, err := app.receive(f.data)
		if err == nil && reply {
			err = c.Send(f.data)
		}
		if err != nil {
			return err
		}
	}
}

// A grpcServerConn is a stream on which one at a time may send.
type grpcServerConn struct {
	stream grpc.ServerStream
	mu     sync.Mutex
}

// Send sends a message.
func (c *grpcServerConn) Send(payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stream.SendMsg(&grpcFrame{payload})
}

// newGRPCClient makes what all calls and streams of a client share.
func newGRPCClient(o dialOptions) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+o.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(o.TLS)),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return o.Dial(ctx, "tcp", address) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(grpcCodec{})),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: o.KeepAlive, Timeout: 20 * time.Second}),
	)
}

func dialGRPC(ctx context.Context, o dialOptions) (conn, error) {
	client, err := newGRPCClient(o)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.Background())
	defer context.AfterFunc(ctx, cancel)() // a stream lives as long as its context
	stream, err := client.NewStream(life, &grpcStreamDesc, grpcStream)
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		cancel()
		_ = client.Close() // there is an error already
		return nil, err
	}
	c := &grpcConn{stream: stream, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer cancel()
		defer func() { _ = client.Close() }() // the stream has ended
		for f := (grpcFrame{}); stream.RecvMsg(&f) == nil; {
			if next := o.Receive(f.data); next != nil && c.Send(next) != nil {
				return
			}
		}
	}()
	return c, nil
}

// A grpcConn is a stream. It sends pings by itself.
type grpcConn struct {
	stream grpc.ClientStream
	done   chan struct{}
}

// Send sends a message. One at a time may.
func (c *grpcConn) Send(payload []byte) error { return c.stream.SendMsg(&grpcFrame{payload}) }

// Done is closed when the stream has ended.
func (c *grpcConn) Done() <-chan struct{} { return c.done }

//nolint:revive // context-as-argument: the signature is grpc-go's
func grpcReflectHandler(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var f grpcFrame
	if err := decode(&f); err != nil {
		return nil, err
	}
	var m callMessage
	if err := json.Unmarshal(f.data, &m); err != nil {
		return nil, err
	}
	out, err := json.Marshal(m)
	return &grpcFrame{out}, err
}

func callGRPC(_ context.Context, o dialOptions) (caller, error) {
	client, err := newGRPCClient(o)
	return grpcCaller{client}, err
}

type grpcCaller struct{ client *grpc.ClientConn }

// Call makes a call.
func (c grpcCaller) Call(ctx context.Context, m callMessage) (callMessage, error) {
	in, err := json.Marshal(m)
	if err != nil {
		return callMessage{}, err
	}
	var out grpcFrame
	if err := c.client.Invoke(ctx, grpcReflect, &grpcFrame{in}, &out); err != nil {
		return callMessage{}, err
	}
	var answer callMessage
	err = json.Unmarshal(out.data, &answer)
	return answer, err
}
