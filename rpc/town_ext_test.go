package rpc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"busd/access"
	"busd/bus"
	"busd/rpc"
	"busd/rpc/jencode"
)

// dummy is the service that the captures were made with, and more: everybody may
// call it.
func dummy() *rpc.Service {
	s := rpc.NewService("Framework/DummyTornado")
	s.Allow = access.Any
	rpc.Export(s, "echo", func(values ...jencode.Raw) []jencode.Raw { return values })
	rpc.Export(s, "add", func(a int, b string) string { return b }).Named("a", "b")
	rpc.Export(s, "sum", func(a, b int) int { return a + b }).Named("a", "b")
	rpc.Export(s, "text", func() string { return "caf\u00e9" })
	rpc.Export(s, "bytes", func() []byte { return []byte{0, 1, 0xff} })
	rpc.Export(s, "nothing", func() {})
	rpc.Export(s, "fails", func() (string, error) { return "", &rpc.Error{Message: "no luck"} })
	rpc.Export(s, "failsOn", func() (string, error) { return "", rpc.Errno(2, "no luck") })
	rpc.Export(s, "mumbles", func() (string, error) { return "", rpc.Errno(2, "caf\xe9") })
	rpc.Export(s, "mumblesBytes", func() ([]byte, error) { return nil, &rpc.Error{Message: "caf\xe9"} })
	rpc.Export(s, "absent", func() ([]byte, error) { return nil, bus.Errorf(bus.CodeNotFound, "there is no such file") })
	rpc.Export(s, "panics", func() string { panic("canary") })
	rpc.Export(s, "unwritable", func() any { return make(chan int) })
	rpc.Export(s, "who", func(ctx context.Context) string {
		r := rpc.RequestOf(ctx)
		return r.VO + "/" + r.Setup
	})
	rpc.Export(s, "repeat", func(text string, times int) string { return string(bytes.Repeat([]byte(text), times)) })
	rpc.Export(s, "streamFromClient", streamFromClient).MaxBody = 512 << 20
	rpc.Export(s, "streamToClient", func(fileID string, _ *string) (*rpc.Stream, error) {
		content, ok := files[fileID]
		if !ok {
			return nil, rpc.Errno(2, fileID)
		}
		return &rpc.Stream{Reader: bytes.NewReader(content), Size: int64(len(content)), Name: fileID}, nil
	})
	return s
}

var files = map[string][]byte{"myid": []byte("hello\x00\xff"), "empty": {}}

// streamFromClient answers with the checksum of what it was sent; it reads all of
// it.
func streamFromClient(fileID, _ string, size int64, content io.Reader) (string, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, content)
	if err != nil {
		return "", err
	}
	if n != size {
		return "", errors.New("another size than was said")
	}
	return fileID + " " + hex.EncodeToString(sum.Sum(nil)), nil
}

func checksum(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// serveDummy serves it on loopback.
func serveDummy(t testing.TB) *world {
	t.Helper()
	return serve(t, serverOf(t, rpc.Config{}, dummy()))
}
