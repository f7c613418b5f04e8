package rpc

import (
	"testing"

	"busd/access"
	"busd/rpc/jencode"
)

// BenchmarkDo is a call without what carries it: room, arguments, time, the
// method.
func BenchmarkDo(b *testing.B) {
	s := NewService("Test/Bench")
	Export(s, "add", func(a, b int) int { return a + b })
	for _, c := range []struct{ method, args string }{{"echo", `["hello"]`}, {"add", "[1, 2]"}} {
		r := &Request{Service: s.name, Method: c.method, ID: newRequestID(), Caller: &access.Caller{}, Grant: &access.Grant{}}
		args := []byte(c.args)
		b.Run(c.method, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				one := &call{method: s.find(c.method), request: r, dialect: jencode.DIRAC, args: args}
				if _, err := s.do(b.Context(), one); err != nil {
					b.Fatal(err)
				}
				one.done()
			}
		})
	}
}

// BenchmarkCall is one over a stable connection, with access and the answer.
func BenchmarkCall(b *testing.B) {
	s := NewService("Test/Bench")
	Export(s, "add", func(a, b int) int { return a + b })
	c := &access.Caller{Via: access.ViaCertificate}
	c.Peer.Name = "dns:bench"
	for method, args := range map[string]string{"echo": `["hello"]`, "add": "[1, 2]"} {
		b.Run(method, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Call(b.Context(), c, access.Claim{}, method, []byte(args)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
