package jencode_test

import (
	"bytes"
	"runtime"
	"testing"

	"busd/rpc/jencode"
)

// TestFileIsCopiedOnce: DIRAC sends files whole, in one text.
func TestFileIsCopiedOnce(t *testing.T) {
	const size = 1 << 20
	contents := bytes.Repeat([]byte("\x00\xff"), size/2)
	text, err := jencode.Append(nil, []any{"name", contents}, jencode.DIRAC)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	args, err := jencode.Elements(text, jencode.DIRAC)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	if err := jencode.Unmarshal(args[1], &got, jencode.DIRAC); err != nil || !bytes.Equal(got, contents) {
		t.Fatalf("got %d bytes, %v; want %d", len(got), err, size)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > size*5/4 {
		t.Errorf("%d bytes were allocated for a file of %d", n, size)
	}
}

// TestWritingNeedsNoMemory but what is appended to.
func TestWritingNeedsNoMemory(t *testing.T) {
	buf := make([]byte, 0, 1<<10)
	for _, v := range []any{benchStruct, benchMap, benchList, &benchStruct, []string{"a"}} {
		for _, d := range []jencode.Dialect{jencode.DIRAC, jencode.JSON} {
			if n := testing.AllocsPerRun(100, func() {
				if _, err := jencode.Append(buf, v, d); err != nil {
					t.Fatal(err)
				}
			}); n >= 1 {
				t.Errorf("%T: %v allocations", v, n)
			}
		}
	}
}
