package rpcclient_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/rpc"
	"busd/rpc/jencode"
	"busd/rpc/rpcclient"
)

// files is what the test's service keeps.
type files struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (f *files) put(id string, from io.Reader) (int, error) {
	content, err := io.ReadAll(from)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[id] = content
	return len(content), nil
}

func (f *files) get(id string) (*rpc.Stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, ok := f.all[id]
	if !ok {
		return nil, rpc.Errno(2, "no file "+id)
	}
	return &rpc.Stream{Reader: bytes.NewReader(content), Size: int64(len(content))}, nil
}

type query struct {
	Owner string `bus:"owner"`
	Most  *int   `bus:"most"`
}

// newService is a service with methods of each kind.
func newService(kept *files) *rpc.Service {
	s := rpc.NewService("Framework/Conformance")
	s.MaxBody = 2 << 20
	rpc.Export(s, "add", func(a, b int) int { return a + b })
	rpc.Export(s, "find", func(q query) string { return fmt.Sprint(q.Owner, q.Most != nil) })
	rpc.Export(s, "fails", func(errno int) error { return rpc.Errno(errno, "it failed") })
	rpc.Export(s, "exists", func() error { return bus.Errorf(bus.CodeAlreadyExists, "it is there") })
	rpc.Export(s, "crashes", func() int { panic("secret") })
	rpc.Export(s, "secret", func() int { return 1 }).Allow = access.MustRule("Operator")
	rpc.Export(s, "waits", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	rpc.Export(s, "large", func(n int) string { return strings.Repeat("x", n) })
	rpc.Export(s, "streamToClient", func(id string) (*rpc.Stream, error) { return kept.get(id) })
	rpc.Export(s, "breaks", func() *rpc.Stream {
		return &rpc.Stream{Reader: io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), broken{}), Size: 2 << 20}
	})
	rpc.Export(s, "streamFromClient", func(id, _ string, size int64, r io.Reader) (string, error) {
		n, err := kept.put(id, r)
		return fmt.Sprintf("%d of %d", n, size), err
	})
	rpc.Export(s, "upload", func(id string, r io.Reader) (int, error) { return kept.put(id, r) })
	return s
}

// broken is a reader that fails.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

// ways are a client for each transport, and for HTTP/2, of one service.
func ways(t *testing.T) map[string]*rpcclient.Client {
	t.Helper()
	methods := newService(&files{all: map[string][]byte{}})
	srv := bustest.NewServer(t, msgbus.Config{}, &msgbus.Service{Methods: methods})
	all := map[string]*rpcclient.Client{}
	for name, url := range map[string]string{"https": strings.Replace(srv.URL(), "wss", "https", 1), "wss": srv.URL()} {
		c, err := rpcclient.Dial(t.Context(), url, rpcclient.Config{TLS: bustest.ClientTLS(t, "agent"), DialContext: srv.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		all[name] = c
	}
	all["h2"] = overHTTP2(t, newService(&files{all: map[string][]byte{}}))
	t.Cleanup(func() {
		for name, c := range all {
			if err := c.Close(); err != nil {
				t.Errorf("Close of %s: %v", name, err)
			}
		}
	})
	return all
}

// overHTTP2 is a client of a service whose server speaks HTTP/2, on a real port.
func overHTTP2(t *testing.T, methods *rpc.Service) *rpcclient.Client {
	t.Helper()
	node, err := rpc.NewServer(rpc.Config{}, methods)
	if err != nil {
		t.Fatal(err)
	}
	w := newTown(t)
	srv := w.serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("asked over %s", r.Proto)
		}
		node.ServeHTTP(w, r)
	})
	cert, key := w.client(t, "agent")
	c, err := rpcclient.New(rpcclient.Config{URL: srv.URL + service, CertPEM: cert, KeyPEM: key, CAPEM: w.ca.CertPEM()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The calls are the same by every way, and so are the errors.
func TestWays(t *testing.T) {
	t.Parallel()
	for name, c := range ways(t) {
		t.Run(name, func(t *testing.T) {
			testCalls(t, c)
			testErrors(t, c, name == "wss")
			testFiles(t, c)
		})
	}
}

// The group to act in goes with each request, or with the connection.
func TestGroup(t *testing.T) {
	t.Parallel()
	policy, err := access.New(access.Config{Registry: access.RegistryConfig{
		Users:  []access.UserConfig{{Name: "agent", Peers: []string{"dns:agent"}}},
		Groups: []access.GroupConfig{{Name: "users", Users: []string{"agent"}}, {Name: "admins", Users: []string{"agent"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	methods := newService(&files{all: map[string][]byte{}})
	if _, err := rpc.NewServer(rpc.Config{Access: policy}, methods); err != nil {
		t.Fatal(err)
	}
	srv := bustest.NewServer(t, msgbus.Config{Access: policy}, &msgbus.Service{Methods: methods, AllowConnect: access.Authenticated})
	for _, scheme := range []string{"https", "wss"} {
		for group, want := range map[string]string{"": "users", "admins": "admins"} {
			c := connect(t, srv, scheme, rpcclient.Config{Group: group})
			if who, err := rpcclient.Call[map[string]any](t.Context(), c, "whoami"); err != nil || who["group"] != want {
				t.Errorf("%s, group %q: got %v, %v", scheme, group, who, err)
			}
		}
	}
}

func testCalls(t *testing.T, c *rpcclient.Client) {
	ctx := t.Context()
	if sum, err := rpcclient.Call[int](ctx, c, "add", 1, 2); err != nil || sum != 3 {
		t.Errorf("add: got %d, %v", sum, err)
	}
	if got, err := rpcclient.CallNamed[string](ctx, c, "find", query{Owner: "me"}); err != nil || got != "mefalse" {
		t.Errorf("find: got %q, %v", got, err)
	}
	if got, err := c.CallNamed(ctx, "find", map[string]any{"owner": "me", "most": 3}); err != nil || got != "metrue" {
		t.Errorf("find: got %q, %v", got, err)
	}
	if who, err := rpcclient.Call[map[string]any](ctx, c, "whoami"); err != nil || who["username"] == "" {
		t.Errorf("whoami: got %v, %v", who, err)
	}
	if got, err := c.CallRaw(ctx, "add", jencode.Raw(`[1180591620717411303424, 0]`)); err == nil {
		t.Errorf("a number that is too large: got %s", got)
	}
	values := []any{
		nil, true, int64(1), 2.5, math.Copysign(0, -1), math.Inf(-1), "é☃😀\x7f\n",
		[]byte{0, 0xff},
		[]any{},
		map[string]any{"a": []any{int64(1)}},
		time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC),
		jencode.Date{Year: 2020, Month: 1, Day: 2},
		new(big.Int).Lsh(big.NewInt(1), 70),
	}
	for _, v := range values {
		if got, err := c.Call(ctx, "echo", v); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("echo of %#v: got %#v, %v", v, got, err)
		}
	}
	stub, err := c.Stub("add", 20, 22)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Replay(ctx, stub); err != nil || got != int64(42) {
		t.Errorf("replay: got %v, %v", got, err)
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if got, err := rpcclient.Call[int](ctx, c, "add", i, i); err != nil || got != 2*i {
				t.Errorf("one of many: got %d, %v; want %d", got, err, 2*i)
			}
		})
	}
	wg.Wait()
	// What is too large for a message goes as a request.
	long := strings.Repeat("x", 600<<10)
	if got, err := rpcclient.Call[[]byte](ctx, c, "echo", []byte(long)); err != nil || string(got) != long {
		t.Errorf("echo of %d bytes: got %d, %v", len(long), len(got), err)
	}
}

func testErrors(t *testing.T, c *rpcclient.Client, stable bool) {
	for _, tt := range []struct {
		method   string
		args     []any
		code     bus.Code
		errno    int
		own      bool // the method's own
		text     string
		executed bool
	}{
		{method: "nosuch", code: bus.CodeUnimplemented, errno: 38, text: "nosuch"},
		{method: "add", args: []any{1}, code: bus.CodeInvalidArgument, errno: 22, text: "2"},
		{method: "add", args: []any{1, "x"}, code: bus.CodeInvalidArgument, errno: 22, text: "int"},
		{method: "secret", code: bus.CodePermissionDenied, errno: 13, text: "Operator"},
		{method: "fails", args: []any{2}, code: bus.CodeNotFound, errno: 2, own: true, text: "No such file or directory ( 2 : it failed)", executed: true},
		{method: "fails", args: []any{1112}, code: bus.CodeUnknown, errno: 1112, own: true, text: "Unknown error 1112 ( 1112 : it failed)", executed: true},
		{method: "exists", code: bus.CodeAlreadyExists, errno: 17, own: true, text: "it is there", executed: true},
		{method: "crashes", code: bus.CodeInternal, errno: 5, text: "the service failed", executed: true},
	} {
		_, err := c.Call(t.Context(), tt.method, tt.args...)
		e := failure(t, err)
		if e.Err.Code != tt.code || e.Errno != tt.errno || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret ") {
			t.Errorf("%s%v: got %v, errno %d; want %s, %d, %q", tt.method, tt.args, err, e.Errno, tt.code, tt.errno, tt.text)
		}
		if !stable && (e.Returned != tt.own || errors.Is(err, rpcclient.ErrNotExecuted) == tt.executed || e.RequestID == "") {
			t.Errorf("%s%v: its own %t, %v, request %q", tt.method, tt.args, e.Returned, err, e.RequestID)
		}
		if stable && errors.Is(err, rpcclient.ErrNotExecuted) {
			t.Errorf("%s%v: nobody can know that: %v", tt.method, tt.args, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // in which it has begun
	defer cancel()
	_, err := c.Call(ctx, "waits")
	if bus.CodeOf(err) != bus.CodeDeadlineExceeded || errors.Is(err, rpcclient.ErrNotExecuted) {
		t.Errorf("got %v, want that the time is over", err)
	}
}

func testFiles(t *testing.T, c *rpcclient.Client) {
	ctx := t.Context()
	content := make([]byte, 1<<20+1)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method string
		size   int
		want   any
	}{
		{"", 0, "0 of 0"},
		{"", 100, "100 of 100"},
		{"", len(content), "1048577 of 1048577"},
		{"upload", 0, int64(0)},
		{"upload", len(content), int64(len(content))},
	} {
		var steps []int64
		watched := c.Watch(func(done, total int64) {
			if steps = append(steps, done); total != int64(tt.size) {
				t.Errorf("progress: %d of %d", done, total)
			}
		})
		if got, err := watched.Send(ctx, bytes.NewReader(content[:tt.size]), int64(tt.size), tt.method, "id"); err != nil || got != tt.want {
			t.Errorf("%q of %d bytes: got %v, %v", tt.method, tt.size, got, err)
			continue
		}
		if tt.size > 0 && (len(steps) == 0 || steps[len(steps)-1] != int64(tt.size)) {
			t.Errorf("progress: %v", steps)
		}
		var back bytes.Buffer
		if n, err := c.Receive(ctx, &back, "", "id"); err != nil || n != int64(tt.size) || !bytes.Equal(back.Bytes(), content[:tt.size]) {
			t.Errorf("%q of %d bytes: got %d bytes back, %v", tt.method, tt.size, n, err)
		}
	}
	if got, err := c.Send(ctx, iotestReader(bytes.NewReader(content)), -1, "upload", "id"); err != nil || got != int64(len(content)) {
		t.Errorf("a size that is not known: got %v, %v", got, err)
	}
	n, err := c.Receive(ctx, io.Discard, "", "nosuch")
	e := failure(t, err)
	if n != 0 || e.Err.Code != bus.CodeNotFound || e.Errno != 2 || !e.Returned || errors.Is(err, rpcclient.ErrNotExecuted) || err.Error() != "No such file or directory ( 2 : no file nosuch)" {
		t.Errorf("no such file: got %d, %v, own %t", n, err, e.Returned)
	}
	_, err = c.Receive(ctx, io.Discard, "secret")
	if e := failure(t, err); e.Err.Code != bus.CodePermissionDenied || e.Returned || !errors.Is(err, rpcclient.ErrNotExecuted) {
		t.Errorf("not allowed: got %v", err)
	}
	_, err = c.Send(ctx, iotestReader(io.LimitReader(zeros{}, 3<<20)), -1, "upload", "id")
	if bus.CodeOf(err) != bus.CodeOutOfRange || errors.Is(err, rpcclient.ErrNotExecuted) {
		t.Errorf("more than is taken: got %v", err)
	}
	n, err = c.Receive(ctx, io.Discard, "breaks")
	if bus.CodeOf(err) != bus.CodeUnavailable || n == 0 || errors.Is(err, rpcclient.ErrNotExecuted) {
		t.Errorf("a download that breaks: got %d, %v", n, err)
	}
	_, err = c.Send(ctx, broken{}, 10, "upload", "id")
	if bus.CodeOf(err) != bus.CodeAborted || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("what cannot be read: got %v", err)
	}
	_, err = c.Send(ctx, strings.NewReader("short"), 10, "", "id")
	if bus.CodeOf(err) != bus.CodeAborted || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("less than was said: got %v", err)
	}
}

// iotestReader hides that a reader can be rewound, and its length.
func iotestReader(r io.Reader) io.Reader { return struct{ io.Reader }{r} }
