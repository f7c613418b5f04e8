package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"busd/internal/wire"
)

// unhex reads bytes written as hexadecimal with blanks, where "(…)" stands for
// its text.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	var b []byte
	for s != "" {
		start := strings.IndexByte(s, '(')
		digits := s
		if start >= 0 {
			digits = s[:start]
		}
		p, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			tb.Fatalf("test data %q: %v", s, err)
		}
		b = append(b, p...)
		if start < 0 {
			break
		}
		end := strings.IndexByte(s, ')')
		b = append(b, s[start+1:end]...)
		s = s[end+1:]
	}
	return b
}

// key65 is a key of 65 bytes, key64 one of 64.
var (
	key65 = "d9 41 (" + strings.Repeat("k", 65) + ")"
	key64 = "d9 40 (" + strings.Repeat("k", 64) + ")"
)

// manyKeys is a map of n keys, ascending or not.
func manyKeys(n int, descending bool) []byte {
	b := []byte{0xde, byte(n >> 8), byte(n)}
	for i := range n {
		if descending {
			i = n - i
		}
		b = append(b, 0xa4)
		b = fmt.Appendf(b, "%04d", i)
		b = append(b, 0xc0)
	}
	return b
}

func list16(n int) []byte {
	return append([]byte{0xdc, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{1}, n)...)
}

func TestScanAccepts(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"c0", "c2", "c3", "00", "7f", "e0", "ff",
		"cc ff", "cd ffff", "ce ffffffff", "cf ffffffffffffffff", "cf 0000000000000000",
		"d0 80", "d1 8000", "d2 80000000", "d3 8000000000000000",
		"ca 3f800000", "cb 3ff0000000000000", "cb 8000000000000000",
		"a0", "a1 (x)", "a2 (é)", "d9 00", "d9 03 (abc)", "da 0003 (abc)", "db 00000003 (abc)",
		"c4 00", "c4 02 ffff", "c5 0001 00", "c6 00000001 ff",
		"90", "91 c0", "dc 0001 c0", "dd 00000001 c0", "dd 00000000",
		"80", "81 a1 (a) 01", "de 0001 a1 (a) 01", "df 00000001 a1 (a) 01", "81 d9 01 (a) 01",
		"82 a1 (a) 01 a1 (b) 02", "82 a1 (b) 01 a1 (a) 02", "81 " + key64 + " 01",
		strings.Repeat("91", 16) + "c0", strings.Repeat("81 a1 (k)", 16) + "c0",
	} {
		b := unhex(t, s)
		// What follows the value is not its business.
		for _, tail := range [][]byte{nil, {0xc1}} {
			if n, err := wire.Scan(append(b[:len(b):len(b)], tail...)); err != nil || n != len(b) {
				t.Errorf("Scan(%s): got %d, %v; want %d, nil", s, n, err, len(b))
			}
		}
		if n, err := wire.Skip(b); err != nil || n != len(b) {
			t.Errorf("Skip(%s): got %d, %v; want %d, nil", s, n, err, len(b))
		}
	}
	for name, b := range map[string][]byte{
		"1024 keys": manyKeys(1024, false), "1024 keys descending": manyKeys(1024, true), "33 keys descending": manyKeys(33, true),
		"20000 values": list16(19_999), "long": append([]byte{0xdb, 0, 4, 0, 0}, bytes.Repeat([]byte("x"), 1<<18)...),
		"the long one of 16 levels of 1024 keys": deepKeys(16),
	} {
		if n, err := wire.Scan(b); err != nil || n != len(b) {
			t.Errorf("Scan of %s: got %d, %v; want %d, nil", name, n, err, len(b))
		}
	}
}

// deepKeys nests maps, each with enough descending keys that all of them need
// the large memory for keys at one time.
func deepKeys(depth int) []byte {
	b := []byte{0x01}
	for range depth {
		const n = 600
		m := []byte{0xde, n >> 8, n & 0xff}
		for i := range n - 1 {
			m = append(m, 0xa3)
			m = fmt.Appendf(m, "%03d", n-i)
			m = append(m, 0x01)
		}
		b = append(append(m, 0xa1, '0'), b...)
	}
	return b
}

func TestScanRefuses(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                                       "before the value does",
		"c1":                                     "0xc1",
		"91 c1":                                  "0xc1",
		"81 c1 01":                               "0xc1",
		"81 a1 (a) c1":                           "0xc1",
		"cc":                                     "before",
		"cd ff":                                  "before",
		"ce ffffff":                              "before",
		"cf ffffffffffffff":                      "before",
		"d0":                                     "before",
		"d1 00":                                  "before",
		"d2 00":                                  "before",
		"d3 00":                                  "before",
		"ca 3f8000":                              "before",
		"cb 3ff00000000000":                      "before",
		"a1":                                     "before",
		"d9":                                     "before",
		"d9 01":                                  "before",
		"da 00":                                  "before",
		"db 000000":                              "before",
		"db ffffffff (x)":                        "before",
		"c4 05 01":                               "before",
		"c6 ffffffff":                            "before",
		"91":                                     "before",
		"92 01":                                  "before",
		"dd ffffffff":                            "before",
		"dc ffff c0":                             "before",
		"81":                                     "before",
		"81 a1 (a)":                              "before",
		"82 a1 (a) 01":                           "before",
		"df ffffffff":                            "before",
		"df 80000000 a1 (a) 01":                  "before",
		"a1 ff":                                  "UTF-8",
		"a2 c3 28":                               "UTF-8",
		"a3 ed a0 80":                            "UTF-8",
		"a9 (abcdefgh) ff":                       "UTF-8",
		"81 a1 ff 01":                            "UTF-8",
		"81 01 01":                               "not a string",
		"81 c0 01":                               "not a string",
		"81 c4 01 61 01":                         "not a string",
		"81 90 01":                               "not a string",
		"81 a0 01":                               "1 to 64",
		"81 " + key65 + " 01":                    "1 to 64",
		"82 a1 (a) 01 a1 (a) 02":                 "there before",
		"82 a1 (a) 01 d9 01 (a) 02":              "there before",
		"83 a1 (b) 01 a1 (a) 01 a1 (b) 02":       "there before",
		"91 82 a1 (a) 01 a1 (a) 02":              "there before",
		"d6 ff 00000000":                         "extension",
		"d7 ff 0000000000000000":                 "extension",
		"c7 0c ff 000000000000000000000000":      "extension",
		"d4 01 00":                               "extension",
		"d8 01 00000000000000000000000000000000": "extension",
		"c7 00 01":                               "extension",
		"c8 0000 01":                             "extension",
		"c9 00000000 01":                         "extension",
		"c7 ff ff":                               "before",
		"c9 ffffffff ff":                         "before",
		"ca 7fc00000":                            "NaN",
		"ca ff800000":                            "NaN",
		"cb 7ff0000000000000":                    "NaN",
		"cb 7ff8000000000001":                    "NaN",
		strings.Repeat("91", 17):                 "before",
		strings.Repeat("91", 17) + "c0":          "16 deep",
		strings.Repeat("81 a1 (k)", 17) + "c0":   "16 deep",
	} {
		n, err := wire.Scan(unhex(t, s))
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(syntax.Reason, want) || n != 0 {
			t.Errorf("Scan(%s): got %d, %v; want a SyntaxError that says %q", s, n, err, want)
		}
	}
	twice := manyKeys(1024, true)
	copy(twice[len(twice)-5:], twice[4:8])
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"nested arrays":               {bytes.Repeat([]byte{0x91}, 5_000_000), "16 deep"},
		"nested maps":                 {bytes.Repeat([]byte{0x81, 0xa1, 'k'}, 1_000_000), "16 deep"},
		"1025 keys":                   {manyKeys(1025, false), "1024 keys"},
		"20001 values":                {list16(20_000), "20000 values"},
		"a million":                   {append([]byte{0xdd, 0, 0x0f, 0x42, 0x40}, bytes.Repeat([]byte{1}, 1_000_000)...), "20000 values"},
		"the last of 1024 keys twice": {twice, "there before"},
	} {
		_, err := wire.Scan(c.b)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Scan of %s: got %v; want %q", name, err, c.want)
		}
		if want := c.want; want != "there before" {
			if _, err := wire.Skip(c.b); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Skip of %s: got %v; want %q", name, err, want)
			}
		}
	}
}

func TestSyntaxErrorSaysWhere(t *testing.T) {
	t.Parallel()
	_, err := wire.Scan(unhex(t, "82 a1 (a) 92 01 a1 ff a1 (b) 01"))
	if got, want := fmt.Sprint(err), "offset 5: a string that is not UTF-8"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSkipAllowsWhatAContractMayAsk(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"d6 ff 00000000", "d7 ff ee6b27fc00000000", "c7 0c ff 3b9ac9ff 0000000000000000", "cb 7ff8000000000001", "ca 7f800000",
		"82 a1 (a) 01 a1 (a) 02", "91 81 a1 (a) d6 ff 00000000",
	} {
		b := unhex(t, s)
		if n, err := wire.Skip(b); err != nil || n != len(b) {
			t.Errorf("Skip(%s): got %d, %v; want %d, nil", s, n, err, len(b))
		}
		if _, err := wire.Scan(b); err == nil {
			t.Errorf("Scan(%s): want an error", s)
		}
	}
	for _, s := range []string{
		"d4 ff 00", "d5 ff 0000", "d8 ff 00000000000000000000000000000000", "c7 04 ff 00000000", "c8 000c ff 000000000000000000000000",
		"d6 fe 00000000", "d7 ff ee6b280000000000", "c7 0c ff 3b9aca00 0000000000000000",
	} {
		if _, err := wire.Skip(unhex(t, s)); err == nil {
			t.Errorf("Skip(%s): want an error", s)
		}
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	for name, b := range map[string][]byte{
		"twelve": encoded(t, benchmarks[1].message, benchmarks[1].value), "32 keys": manyKeys(32, true), "1024 keys": manyKeys(1024, true),
		"deep": unhex(t, strings.Repeat("81 a1 (k)", 16)+"c0"),
	} {
		got := testing.AllocsPerRun(100, func() { _, _ = wire.Skip(b) })
		if got != 0 {
			t.Errorf("Skip of %s: %v allocations, want 0", name, got)
		}
		// A collection may empty the pool of key memory.
		if got := testing.AllocsPerRun(100, func() { _, _ = wire.Scan(b) }); name != "twelve" && got >= 1 {
			t.Errorf("Scan of %s: %v allocations, want 0", name, got)
		}
	}
}

// FuzzScan: what the scan accepts, the library decodes without an error, in
// memory bounded by the number of values and bytes, and so do we.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		"c0", "93 01 a1 (x) cb 3ff0000000000000", "82 a1 (a) 92 c2 c4 01 ff a1 (b) 80", "dd ffffffff", "df ffffffff", "81 a1 (a) cf ffffffffffffffff",
		strings.Repeat("91", 17), "d6 ff 00000000", "82 a1 (a) 01 a1 (a) 01", "c1",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := wire.Scan(b)
		skipped, skipErr := wire.Skip(b)
		if err != nil {
			var syntax *wire.SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(b) {
				t.Fatalf("Scan(% x): got error %v; want a SyntaxError inside the bytes", b, err)
			}
			return
		}
		if n < 1 || n > len(b) || skipErr != nil || skipped != n {
			t.Fatalf("Scan(% x) = %d, Skip = %d, %v; want the same length, 1 to %d", b, n, skipped, skipErr, len(b))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := msgpack.NewDecoder(bytes.NewReader(b[:n]))
		theirs, err := d.DecodeInterface()
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatalf("the library refuses % x: %v", b[:n], err)
		}
		if used, most := after.TotalAlloc-before.TotalAlloc, uint64(64<<10+8*n+512*countValues(theirs)); used > most {
			t.Fatalf("% x: decoding took %d bytes, want at most %d", b[:n], used, most)
		}
		ours, err := wire.DecodeAny(b[:n])
		if err != nil {
			t.Fatalf("DecodeAny(% x): %v", b[:n], err)
		}
		again, err := wire.AppendAny(nil, ours)
		if err != nil {
			t.Fatalf("AppendAny(%v): %v", ours, err)
		}
		if back, err := wire.DecodeAny(again); err != nil || !reflect.DeepEqual(back, ours) {
			t.Fatalf("% x: after a round trip got %v, %v; want %v", b[:n], back, err, ours)
		}
		if want := widened(theirs); !reflect.DeepEqual(ours, want) {
			t.Fatalf("% x: got %v, the library has %v", b[:n], ours, want)
		}
	})
}

// widened returns what the library decoded with numbers as DecodeAny has them.
func widened(v any) any {
	switch v := v.(type) {
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = widened(v[i])
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(v))
		for k := range v {
			all[k] = widened(v[k])
		}
		return all
	}
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return r.Int()
	case r.CanUint() && r.Uint() <= math.MaxInt64:
		return int64(r.Uint())
	case r.CanFloat():
		return r.Float()
	}
	return v
}

func countValues(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += countValues(e)
		}
	case map[string]any:
		for _, e := range v {
			n += 1 + countValues(e)
		}
	}
	return n
}
