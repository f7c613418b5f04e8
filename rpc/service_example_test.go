package rpc_test

import (
	"context"
	"fmt"

	"busd/access"
	"busd/bus"
	"busd/rpc"
)

// A service is plain Go functions. The server is an http.Handler, for
// POST /Test/Calculator and POST /Test/Calculator/divide; the service answers calls
// over stable connections too, as here.
func Example() {
	calc := rpc.NewService("Test/Calculator")
	rpc.Export(calc, "add", func(a, b int) int { return a + b }).Named("a", "b")
	rpc.Export(calc, "divide", func(_ context.Context, a, b float64) (float64, error) {
		if b == 0 {
			return 0, bus.Errorf(bus.CodeInvalidArgument, "nobody can divide by 0")
		}
		return a / b, nil
	}).Named("a", "b").Describe("Divides a by b.")
	server, err := rpc.NewServer(rpc.Config{}, calc) // http.Server{Handler: server, …}
	if err != nil {
		fmt.Println(err)
		return
	}

	caller := &access.Caller{Via: access.ViaCertificate, Peer: bus.Peer{Name: "dns:agent-7"}}
	for _, c := range []struct{ method, args string }{
		{"add", `[1, 2]`},
		{"add", `[1, "2"]`},
		{"divide", `{"b": 4, "a": 1}`},
		{"divide", `[1, 0]`},
		{"echo", `["there is also echo, ping and whoami"]`},
	} {
		answer, err := calc.Call(context.Background(), caller, access.Claim{}, c.method, []byte(c.args))
		if err != nil {
			fmt.Println(err)
		} else {
			fmt.Println(string(answer))
		}
	}
	fmt.Println(server.Stats()[0].Methods[3].Calls)
	// Output:
	// 3
	// invalid_argument: add(b): want int, got string
	// 0.25
	// invalid_argument: nobody can divide by 0
	// "there is also echo, ping and whoami"
	// map[invalid_argument:1 ok:1]
}
