package rpcclient_test

import (
	"bytes"
	"errors"
	"testing"

	"busd/bus"
	"busd/rpc/rpcclient"
)

// A file where a result was asked for is known as one; the call was executed.
func TestAnswerIsFile(t *testing.T) {
	t.Parallel()
	kept := &files{all: map[string][]byte{"json": []byte(`{"OK": true, "Value": 1}`)}}
	c := overHTTP2(t, newService(kept))
	defer func() { _ = c.Close() }() // the test is over
	_, err := c.Call(t.Context(), "streamToClient", "json")
	if !errors.Is(err, rpcclient.ErrFile) || errors.Is(err, rpcclient.ErrNotExecuted) || bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("got %v, want that it is a file", err)
	}
	var got bytes.Buffer
	if _, err := c.Receive(t.Context(), &got, "streamToClient", "json"); err != nil || got.String() != `{"OK": true, "Value": 1}` {
		t.Errorf("Receive: got %q, %v", &got, err)
	}
}
