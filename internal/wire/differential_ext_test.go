package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"busd/internal/wire"
	"busd/schema"
)

// slowCheck is what Check is held against: the library decodes into a map, and
// the definition checks that. It needs bytes that Skip has accepted, and knows
// no duplicate keys.
func slowCheck(d schema.Definition, b []byte) error {
	var v any
	dec := msgpack.NewDecoder(bytes.NewReader(b))
	v, err := dec.DecodeInterface()
	if err != nil {
		return err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return errors.New("not a map")
	}
	if at := nilAttr(d.Attrs, m); at != "" {
		return fmt.Errorf("%s is nil", at)
	}
	return d.Check(m)
}

// nilAttr finds an attribute that is nil: to the definition it is absent, on
// the wire it must not be there.
func nilAttr(attrs []schema.Attribute, m map[string]any) string {
	for _, a := range attrs {
		v, ok := m[a.Name]
		if ok && v == nil {
			return a.Name
		}
		if at := nilInside(a.Type, v); at != "" {
			return at
		}
	}
	return ""
}

func nilInside(t schema.Type, v any) string {
	switch v := v.(type) {
	case map[string]any:
		if t.Kind == schema.Struct {
			return nilAttr(t.Attrs, v)
		}
		for _, e := range v {
			if at := nilInside(elemOf(t), e); at != "" {
				return at
			}
		}
	case []any:
		for _, e := range v {
			if at := nilInside(elemOf(t), e); at != "" {
				return at
			}
		}
	}
	return ""
}

func TestCheckAgreesWithDefinition(t *testing.T) {
	t.Parallel()
	accepted, total := 0, 0
	for seed := range uint64(3000) {
		r := newRandom(seed)
		d := r.definition()
		m := wire.NewMessage(d)
		for range 5 {
			b := r.encode(nil, r.values(d.Attrs, 4))
			n, err := m.Check(b)
			slow := slowCheck(d, b)
			if (err == nil) != (slow == nil) {
				t.Fatalf("seed %d, % x\nof %+v:\nCheck says %v, the definition %v", seed, b, d, err, slow)
			}
			if total++; err != nil {
				continue
			}
			accepted++
			if n != len(b) {
				t.Fatalf("seed %d, % x: got length %d, want %d", seed, b, n, len(b))
			}
			recordRoundTrip(t, m, b)
		}
	}
	if accepted < total/10 || accepted > total*9/10 {
		t.Errorf("%d of %d random messages were good: the test proves little", accepted, total)
	}
}

// recordRoundTrip takes checked bytes to a record and back.
func recordRoundTrip(t *testing.T, m *wire.Message, b []byte) {
	t.Helper()
	record, err := m.Record(b)
	if err != nil {
		t.Fatalf("Record(% x): %v", b, err)
	}
	again, err := m.Append(nil, record)
	if err != nil {
		t.Fatalf("Append(%v): %v", record, err)
	}
	back, err := m.Record(again)
	if err != nil {
		t.Fatalf("Record(% x): %v", again, err)
	}
	if got, want := dump(back), dump(record); got != want {
		t.Fatalf("% x: a round trip of the record gives %s, want %s", b, got, want)
	}
}

func dump(r *schema.Record) string {
	var b strings.Builder
	for name, v := range r.Attrs() {
		fmt.Fprintf(&b, "%s=%#v ", name, v)
	}
	return b.String()
}

// fuzzed is a message with every kind in it.
var fuzzed = func() schema.Definition {
	d := schema.Definition{Name: "F"}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		d.Attrs = append(d.Attrs, schema.Attribute{Name: name, Type: kinds[name], Optional: name != "int"})
	}
	return d
}()

// FuzzCheck: on bytes that Skip accepts and that have no key twice, Check says
// what the library and the definition say; on others it fails.
func FuzzCheck(f *testing.F) {
	for _, c := range checks {
		f.Add(unhex(f, fmt.Sprintf("82 a3 (int) 01 %02x (%s) %s", 0xa0+len(c.kind), c.kind, c.bytes)))
	}
	for seed := range uint64(50) {
		r := newRandom(seed)
		f.Add(r.encode(nil, r.values(fuzzed.Attrs, 4)))
	}
	m := wire.NewMessage(fuzzed)
	f.Fuzz(func(t *testing.T, b []byte) {
		checkQuick(t, m, b)
		n, err := m.Check(b)
		size, skipErr := wire.Skip(b)
		if skipErr != nil {
			if err == nil {
				t.Fatalf("Check accepts % x, and Skip says %v", b, skipErr)
			}
			return
		}
		b = b[:size]
		var breach *schema.ValueError
		if (err == nil || errors.As(err, &breach)) && n != size {
			t.Fatalf("% x: Check says length %d and %v, Skip %d", b, n, err, size)
		}
		if twice(b) {
			if err == nil {
				t.Fatalf("Check accepts % x, which has a key twice", b)
			}
			return
		}
		if slow := slowCheck(fuzzed, b); (err == nil) != (slow == nil) {
			t.Fatalf("% x: Check says %v, the definition %v", b, err, slow)
		}
		if err == nil {
			recordRoundTrip(t, m, b)
		}
	})
}

// twice tells whether a map in scanned bytes has a key twice.
func twice(b []byte) bool {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	found := false
	d.SetMapDecoder(func(d *msgpack.Decoder) (any, error) {
		n, err := d.DecodeMapLen()
		if err != nil {
			return nil, err
		}
		m := map[string]any{}
		for range n {
			k, err := d.DecodeString()
			if err != nil {
				return nil, err
			}
			if _, ok := m[k]; ok {
				found = true
			}
			if m[k], err = d.DecodeInterface(); err != nil {
				return nil, err
			}
		}
		return m, nil
	})
	_, err := d.DecodeInterface()
	return err != nil || found
}
