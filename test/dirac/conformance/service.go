// Package conformance is a service as DIRAC's own tests have one: methods for each
// behaviour that an HTTPS client of DIRAC can see.
package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"sync"

	"busd/access"
	"busd/bus"
	"busd/msgbus"
	"busd/rpc"
)

// files are what was sent, by name.
type files struct {
	mu     sync.Mutex
	byName map[string][]byte
}

// New makes the service. What its methods are for is said by their names.
func New() *msgbus.Service {
	s := rpc.NewService("Framework/Conformance")
	s.Allow = access.Authenticated
	f := &files{byName: map[string][]byte{}}
	rpc.Export(s, "add", func(a, b int64) int64 { return a + b }).Named("a", "b")
	rpc.Export(s, "fail", func(text string) error { return &rpc.Error{Message: text} })
	rpc.Export(s, "failWith", func(number int, text string) error { return rpc.Errno(number, text) })
	rpc.Export(s, "refuse", func() error { return bus.Errorf(bus.CodeNotFound, "no such thing") })
	rpc.Export(s, "secret", func() error { return errors.New("what only the log may know") })
	rpc.Export(s, "crash", func() { panic("of a method") })
	rpc.Export(s, "nothing", func() {})
	rpc.Export(s, "admin", func() string { return "done" }).Allow = access.MustRule("ServiceAdministrator")
	rpc.Export(s, "users", func() string { return "done" }).Allow = access.MustRule("group:dirac_user")
	rpc.Export(s, "anybody", func() string { return "done" }).Allow = access.Any
	rpc.Export(s, "whom", func(ctx context.Context) map[string]any {
		g := rpc.RequestOf(ctx).Grant
		return map[string]any{"user": g.User, "group": g.Group, "dn": g.DN, "by": g.ForwardedBy}
	})
	send := rpc.Export(s, "streamFromClient", f.take)
	send.MaxBody = 64 << 20
	rpc.Export(s, "streamToClient", f.give)
	return &msgbus.Service{Methods: s}
}

// take keeps a file; the answer is its length and its SHA-256.
func (f *files) take(name, _ string, _ int64, content io.Reader) (map[string]any, error) {
	b, err := io.ReadAll(content)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byName[name] = b
	sum := sha256.Sum256(b)
	return map[string]any{"size": len(b), "sha256": hex.EncodeToString(sum[:])}, nil
}

func (f *files) give(name string) (io.Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.byName[name]
	if !ok {
		return nil, bus.Errorf(bus.CodeNotFound, "no file %s", name)
	}
	return bytes.NewReader(b), nil
}
