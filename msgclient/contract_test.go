package msgclient

import (
	"runtime"
	"testing"
	"time"

	"busd/internal/wire"
	"busd/schema"
)

// A shelf has a contract for as long as somebody uses it, and forgets its key with it.
func TestContractShelf(t *testing.T) {
	t.Parallel()
	var shelf contractShelf
	compile := func() *wire.Contract {
		return wire.Compile(schema.MustNew("Test/Shelf", schema.Definition{Name: "M", From: schema.FromClient}))
	}
	if shelf.get("a") != nil {
		t.Error("something is on an empty shelf")
	}
	first, second := compile(), compile()
	shelf.put("a", first)
	shelf.put("a", first)
	if shelf.get("a") != first {
		t.Error("what was put is not there")
	}
	shelf.put("a", second)
	runtime.KeepAlive(first)
	collected(t, "the second", func() bool { return shelf.get("a") == second })
	runtime.KeepAlive(second)
	collected(t, "nothing", func() bool {
		shelf.mu.Lock()
		defer shelf.mu.Unlock()
		return len(shelf.contracts) == 0
	})
}

// collected collects garbage, several times, until there is what must be left.
func collected(t *testing.T, left string, ok func() bool) {
	t.Helper()
	for range 5 {
		runtime.GC()
	}
	for deadline := time.Now().Add(10 * time.Second); !ok(); runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatalf("the garbage collector does not leave %s", left)
		}
	}
}
