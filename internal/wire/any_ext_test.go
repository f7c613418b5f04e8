package wire_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/internal/wire"
)

func TestAppendAny(t *testing.T) {
	t.Parallel()
	type named map[label][]color
	for _, c := range []struct {
		v    any
		want any // what DecodeAny makes of it; an error's text after "!"
	}{
		{nil, nil},
		{true, true},
		{int8(-3), int64(-3)},
		{uint(7), int64(7)},
		{uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{float32(0.5), 0.5},
		{label("x"), "x"},
		{[]byte{1}, []byte{1}},
		{[]string{"a"}, []any{"a"}},
		{[]any(nil), nil},
		{map[string]int(nil), nil},
		{named{"b": {1, 2}, "a": nil}, map[string]any{"b": []byte{1, 2}, "a": []byte{}}},
		{ptr("x"), "x"},
		{(*string)(nil), nil},
		{time.Now(), "!a time"},
		{struct{}{}, "!a Go struct {}"},
		{math.Inf(1), "!NaN or infinite"},
		{"\xff", "!not UTF-8"},
		{map[int]int{}, "!a Go map[int]int"},
		{map[string]any{"": 1}, "!1 to 64 bytes"},
		{make([]int, 20_000), "!20000 values"},
		{func() {}, "!a Go func()"},
		{[]any{map[string]any{"k": complex(1, 1)}}, `![0]: ["k"]: a Go complex128`},
	} {
		b, err := wire.AppendAny([]byte{9}, c.v)
		if text, ok := c.want.(string); ok && strings.HasPrefix(text, "!") {
			if err == nil || !strings.Contains(err.Error(), text[1:]) || b != nil {
				t.Errorf("AppendAny(%T): got %v, want an error with %q", c.v, err, text[1:])
			}
			continue
		}
		if err != nil || b[0] != 9 {
			t.Errorf("AppendAny(%T): got % x, %v", c.v, b, err)
			continue
		}
		got, err := wire.DecodeAny(b[1:])
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("DecodeAny of %T: got %#v, %v; want %#v", c.v, got, err, c.want)
		}
	}
	deep := any("x")
	for range 16 {
		deep = []any{deep}
	}
	if _, err := wire.AppendAny(nil, deep); err != nil {
		t.Errorf("16 levels: %v", err)
	}
	if _, err := wire.AppendAny(nil, []any{deep}); err == nil {
		t.Error("17 levels: want an error")
	}
	if _, err := wire.DecodeAny(unhex(t, "dd ffffffff")); err == nil {
		t.Error("DecodeAny of a bomb: want an error")
	}
}
