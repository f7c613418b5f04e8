package rpcclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	"busd/bus"
	"busd/rpc/rpcclient"
)

// A client calls a service's methods; the URL's scheme says how.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := rpcclient.Dial(ctx, "https://bus.example:8443/Framework/Adder", rpcclient.Config{
		CertFile: "agent.crt", KeyFile: "agent.key", CAFiles: []string{"ca.crt"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	sum, err := rpcclient.Call[int](ctx, c, "add", 1, 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum)
}

// Errors say what went wrong, and whether the call may have been executed.
func ExampleError() {
	var c *rpcclient.Client // made by Dial

	_, err := c.Call(context.Background(), "submit", "job.jdl")
	var e *rpcclient.Error
	switch {
	case err == nil:
	case errors.Is(err, rpcclient.ErrNotExecuted):
		fmt.Println("nothing has happened:", err) // another attempt does no harm
	case errors.As(err, &e) && e.Returned:
		fmt.Println("the method says:", e.Errno, e.Message)
	case bus.CodeOf(err) == bus.CodeUnavailable:
		fmt.Println("nobody knows:", err)
	}
}

// Calls that may be executed twice are tried again also after a cut.
func ExampleClient_Idempotent() {
	var c *rpcclient.Client // made by Dial, with several URLs

	status, err := rpcclient.Call[map[string]any](context.Background(), c.Idempotent(), "getStatus", 4711)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status["state"])
}

// A call can be stored as JSON and made later.
func ExampleStub() {
	var c *rpcclient.Client // made by Dial

	stub, err := c.Stub("setStatus", 4711, "Done")
	if err != nil {
		log.Fatal(err)
	}
	text, err := json.Marshal(stub)
	if err != nil {
		log.Fatal(err)
	}

	var stored rpcclient.Stub
	if err := json.Unmarshal(text, &stored); err != nil {
		log.Fatal(err)
	}
	if _, err := c.Replay(context.Background(), stored); err != nil {
		log.Fatal(err)
	}
}

// Files pass through in pieces, whatever their size.
func ExampleClient_ReceiveFile() {
	var c *rpcclient.Client // made by Dial

	shown := c.Watch(func(done, total int64) { fmt.Printf("%d of %d\n", done, total) })
	if err := shown.ReceiveFile(context.Background(), "sandbox.tar", rpcclient.StreamToClient, "SB:4711"); err != nil {
		log.Fatal(err)
	}
}
