package wire

import (
	"bytes"
	"errors"
	"testing"
)

// TestArgsAreBounded: connect arguments live as long as their connection, so
// what 16 KiB can decode to is bounded.
func TestArgsAreBounded(t *testing.T) {
	t.Parallel()
	list := func(n int) []byte { // {"a": [{}, {}, …]}: the map, its key, the list and n values
		b := appendListHead(appendString(appendMapHead(nil, 1), "a"), n)
		return append(b, bytes.Repeat([]byte{0x80}, n)...)
	}
	args, err := DecodeArgs(list(maxArgs - 3))
	if err != nil || len(args["a"].([]any)) != maxArgs-3 {
		t.Errorf("%d values: got %v, %v", maxArgs, args, err)
	}
	if _, err := DecodeArgs(list(maxArgs - 2)); !errors.Is(err, errArgs) {
		t.Errorf("%d values: got %v, want %v", maxArgs+1, err, errArgs)
	}
	if _, err := AppendArgs(map[string]any{"a": make([]any, maxArgs)}); !errors.Is(err, errArgs) {
		t.Errorf("sending too many: got %v, want %v", err, errArgs)
	}
}
