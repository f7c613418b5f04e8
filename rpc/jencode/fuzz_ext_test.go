package jencode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"busd/rpc/jencode"
)

// FuzzText reads anything, in both dialects: what passes as Raw is read by
// everything that reads, and what was read is written to the same meaning.
func FuzzText(f *testing.F) {
	f.Add([]byte(`[1, 2.5, null, true, "\u00e9\u2603 &=+%", [1, 2], {"a": 1, "1.5": 5}, {"__dCls": "dt", "obj": "2020-01-02 03:04:05"}, NaN, 1180591620717411303424]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range []jencode.Dialect{jencode.DIRAC, jencode.JSON} {
			var raw jencode.Raw
			before := bytes.Clone(data)
			bad := jencode.Unmarshal(data, &raw, d)
			var v any
			err := jencode.Unmarshal(data, &v, d)
			readTyped(t, data, d, bad == nil)
			if !bytes.Equal(data, before) {
				t.Fatal("reading changed the text")
			}
			if bad != nil {
				if err == nil {
					t.Fatalf("%q passes as a value, and not as Raw: %v", data, bad)
				}
				continue
			}
			if d == jencode.JSON && !json.Valid(data) {
				t.Fatalf("%q passes, and is not JSON", data)
			}
			if got := bytes.Trim(data, " \t\r\n"); !bytes.Equal(got, raw) {
				t.Fatalf("Raw of %q is %q", data, raw)
			}
			if err != nil {
				// Only what is in a class can still be wrong.
				if d == jencode.JSON || !strings.Contains(err.Error(), "want bytes") && !strings.Contains(err.Error(), "want time") &&
					!strings.Contains(err.Error(), "want date") && !strings.Contains(err.Error(), "__dCls") {
					t.Fatalf("%q passes as Raw, and not as a value: %v", data, err)
				}
				continue
			}
			stable(t, v, d)
			split(t, data, d)
		}
	})
}

// stable writes a value, reads that, and writes it again.
func stable(t *testing.T, v any, d jencode.Dialect) {
	t.Helper()
	one, err := jencode.Append(nil, v, d)
	if err != nil {
		t.Fatalf("%v was read and cannot be written: %v", v, err)
	}
	var back any
	if err := jencode.Unmarshal(one, &back, d); err != nil {
		t.Fatalf("%q was written and cannot be read: %v", one, err)
	}
	if two, err := jencode.Append(nil, back, d); err != nil || !bytes.Equal(one, two) {
		t.Fatalf("%q was written, read, and written %q, %v", one, two, err)
	}
	if d == jencode.DIRAC && bytes.ContainsFunc(one, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Fatalf("%q is not ASCII", one)
	}
}

// split holds Elements and Members against the whole.
func split(t *testing.T, data []byte, d jencode.Dialect) {
	t.Helper()
	var list []any
	elements, err := jencode.Elements(data, d)
	if bad := jencode.Unmarshal(data, &list, d); (err == nil) != (bad == nil) || len(list) != len(elements) {
		t.Fatalf("%q: as elements %q, %v; as list %v, %v", data, elements, err, list, bad)
	}
	for i, e := range elements {
		same(t, e, list[i], d)
		typedPart(t, e, d)
	}
	var object map[string]any
	members, err := jencode.Members(data, d)
	if bad := jencode.Unmarshal(data, &object, d); (err == nil) != (bad == nil) || len(object) != len(members) {
		t.Fatalf("%q: as members %q, %v; as map %v, %v", data, members, err, object, bad)
	}
	for name, m := range members {
		same(t, m, object[name], d)
	}
}

// typedPart reads a part into one of each type, as what it was checked for and as what
// was not checked.
func typedPart(t *testing.T, part jencode.Raw, d jencode.Dialect) {
	t.Helper()
	for _, into := range []func() any{
		func() any { return new(everything) }, func() any { return new([]node) }, func() any { return new(map[int8]any) },
		func() any { return new(time.Time) }, func() any { return new([]byte) }, func() any { return new(uint16) }, func() any { return new(string) },
	} {
		one, two := into(), into()
		err, again := jencode.Unmarshal(part, one, d), jencode.UnmarshalPart(part, two, d)
		if (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
			t.Fatalf("the part %q into %T: %v, and %v once it was checked", part, one, err, again)
		}
	}
}

func same(t *testing.T, part jencode.Raw, want any, d jencode.Dialect) {
	t.Helper()
	var v any
	if err := jencode.Unmarshal(part, &v, d); err != nil {
		t.Fatalf("the part %q: %v", part, err)
	}
	var again any
	if err := jencode.UnmarshalPart(part, &again, d); err != nil {
		t.Fatalf("the part %q, which was checked: %v", part, err)
	}
	got, _ := jencode.Append(nil, again, d)
	if first, _ := jencode.Append(nil, v, d); !bytes.Equal(first, got) {
		t.Fatalf("the part %q means %q, and %q once it was checked", part, first, got)
	}
	if whole, err := jencode.Append(nil, want, d); err != nil || !bytes.Equal(got, whole) {
		t.Fatalf("the part %q means %q, in the whole %q, %v", part, got, whole, err)
	}
}

// readTyped reads into one of each type. Text that is not good must fail; else the error
// is one of the value.
func readTyped(t *testing.T, data []byte, d jencode.Dialect, good bool) {
	t.Helper()
	for _, into := range []any{
		new(everything), new([]node), new(map[string]limited), new(map[int8]any), new([3]*big.Int),
		new(time.Time), new(jencode.Date), new([]byte), new(jencode.Serializable), new(uint16), new(float32), new([]map[string]string),
	} {
		err := jencode.Unmarshal(data, into, d)
		var bad *jencode.ValueError
		if err == nil && !good || err != nil && !errors.As(err, &bad) {
			t.Fatalf("%q into %T: %v", data, into, err)
		}
		if err != nil {
			continue
		}
		if _, err := jencode.Append(nil, into, d); err != nil {
			t.Fatalf("%T was read from %q and cannot be written: %v", into, data, err)
		}
	}
}
