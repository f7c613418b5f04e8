package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/internal/wire"
	"busd/schema"
)

// checkQuick holds the fast check against the checker.
func checkQuick(t *testing.T, m *wire.Message, b []byte) (knew bool) {
	t.Helper()
	quick := m.QuickForTest(b)
	n, err := m.CheckForTest(b)
	if quick != 0 && (err != nil || quick != n) {
		t.Fatalf("% x: the fast check says %d, the checker %d, %v", b, quick, n, err)
	}
	again, err2 := m.Check(b)
	if again != n || fmt.Sprint(err) != fmt.Sprint(err2) {
		t.Fatalf("% x: Check says %d, %v, the checker %d, %v", b, again, err2, n, err)
	}
	return quick != 0
}

// TestQuickIsSound: what the fast check accepts the checker accepts, cut short and
// with any byte changed too; and it knows most of what our encoders write.
func TestQuickIsSound(t *testing.T) {
	t.Parallel()
	knew, good := 0, 0
	for seed := range uint64(120) {
		r := newRandom(seed)
		d := r.definition()
		m := wire.NewMessage(d)
		for range 4 {
			b := r.encode(nil, r.values(d.Attrs, 4))
			checkQuick(t, m, b)
			if _, err := m.Check(b); err != nil {
				continue
			}
			record, err := m.Record(b)
			if err != nil {
				t.Fatal(err)
			}
			b = encoded(t, m, record)
			good++
			if checkQuick(t, m, b) {
				knew++
			}
			for i := range b {
				checkQuick(t, m, b[:i])
				changed := bytes.Clone(b)
				changed[i] = byte(r.IntN(256))
				checkQuick(t, m, changed)
			}
			checkQuick(t, m, append(b, 0xa0, 0xa0))
		}
	}
	if knew < good*9/10 {
		t.Errorf("the fast check knew %d of %d good messages", knew, good)
	}
}

// TestQuickBounds: what the checker counts the fast check bounds too.
func TestQuickBounds(t *testing.T) {
	t.Parallel()
	depth := schema.Type{Kind: schema.Int}
	for range schema.MaxDepth - 1 {
		elem := depth
		depth = schema.Type{Kind: schema.List, Elem: &elem}
	}
	message := func(name string, typ schema.Type) *wire.Message {
		return wire.NewMessage(schema.Definition{Name: "M", Attrs: []schema.Attribute{{Name: name, Type: typ}}})
	}
	ints := schema.Type{Kind: schema.List, Elem: &schema.Type{Kind: schema.Int}}
	deeper := schema.Type{Kind: schema.List, Elem: &depth}
	keys := schema.Type{Kind: schema.Map, Elem: &schema.Type{Kind: schema.Any}}
	text := schema.Type{Kind: schema.String}
	nested := func(n int) []byte { return append(append([]byte("\x81\xa1a"), bytes.Repeat([]byte{0x91}, n)...), 1) }
	many := func(n int) []byte { return append([]byte("\x81\xa1a"), list16(n)...) }
	for name, c := range map[string]struct {
		m    *wire.Message
		b    []byte
		knew bool
	}{
		"as deep as may be":   {message("a", depth), nested(schema.MaxDepth - 1), true},
		"deeper":              {message("a", deeper), nested(schema.MaxDepth), false},
		"as many keys":        {message("a", keys), append([]byte("\x81\xa1a"), manyKeys(1024, false)...), true},
		"more keys":           {message("a", keys), append([]byte("\x81\xa1a"), manyKeys(1025, false)...), false},
		"keys out of order":   {message("a", keys), append([]byte("\x81\xa1a"), manyKeys(40, true)...), false},
		"many values":         {message("a", ints), many(schema.MaxValues - 100), true},
		"too many values":     {message("a", ints), many(schema.MaxValues), false},
		"few, in many bytes":  {message("a", text), append([]byte("\x81\xa1a\xda\x7f\xff"), strings.Repeat("x", 0x7fff)...), false},
		"a long name":         {message(strings.Repeat("n", 64), text), []byte("\x81\xd9\x40" + strings.Repeat("n", 64) + "\xa0"), true},
		"a long name, cut":    {message(strings.Repeat("n", 64), text), []byte("\x81\xd9\x40" + strings.Repeat("n", 60)), false},
		"another long name":   {message(strings.Repeat("n", 64), text), []byte("\x81\xd9\x40" + strings.Repeat("n", 63) + "m\xa0"), false},
		"a key of eight":      {message("seven77", text), []byte("\x81\xa7seven77\xa0"), true},
		"a key of nine":       {message("eight888", text), []byte("\x81\xa8eight888\xa0"), true},
		"another key of nine": {message("eight888", text), []byte("\x81\xa8eight88x\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0"), false},
		"nothing":             {message("a", text), nil, false},
	} {
		if knew := checkQuick(t, c.m, c.b); knew != c.knew {
			t.Errorf("%s: the fast check knew it: %v, want %v", name, knew, c.knew)
		}
	}
}

// TestQuickFrames: the fast decoder says what the other says, of every frame, cut
// short and with any byte changed.
func TestQuickFrames(t *testing.T) {
	t.Parallel()
	contract := wire.Compile(schema.MustNew("Test/Frames",
		schema.Of[one](schema.FromClient), schema.Of[twelve](schema.FromBoth), schema.Of[every](schema.FromBoth)))
	d := wire.Decoder{Contract: contract, From: schema.FromClient, Limit: 4000}
	message := func(name string) *wire.Message {
		m, ok := contract.Message(name)
		if !ok {
			t.Fatalf("no message %s", name)
		}
		return m
	}
	var frames [][]byte
	add := func(frame []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []uint64{1, 200, math.MaxInt64} {
			frames = append(frames, wire.AppendNumber(nil, frame, n))
		}
	}
	for _, v := range []schema.Message{&one{ID: 7}, newTwelve(), least()} {
		m := message(v.MessageName())
		add(wire.AppendData(nil, m, v, wire.DataOptions{}))
		add(wire.AppendData(nil, m, v, wire.DataOptions{AckAtOnce: true}))
		add(wire.AppendData(nil, m, v, wire.DataOptions{Re: 300}))
		add(wire.AppendRequest(nil, m, v, 0))
		add(wire.AppendRequest(nil, m, v, time.Minute))
		add(wire.AppendAnswer(nil, 9, m, v))
	}
	add(wire.AppendAnswer(nil, 9, nil, nil))
	add(wire.AppendCall(nil, "add", []byte("[1,2]"), time.Second), nil)
	add(wire.AppendResult(nil, 9, []byte("3")), nil)
	add(wire.AppendData(nil, message("Every"), full(), wire.DataOptions{})) // larger than the limit
	frames = append(frames, wire.AppendAck(nil, 7, 70_000), wire.AppendCancel(nil, 5), nil, []byte{0x94}, []byte{0x94, 4})

	knew := 0
	for _, from := range []schema.Sender{schema.FromClient, schema.FromService} {
		d.From = from
		for _, b := range frames {
			if decodeBoth(t, d, b) {
				knew++
			}
			if len(b) > 1000 {
				continue
			}
			r := newRandom(uint64(len(b)))
			for i := 0; i < len(b); i += 1 + r.IntN(1+len(b)/40) {
				decodeBoth(t, d, b[:i])
				changed := bytes.Clone(b)
				changed[i] = byte(r.IntN(256))
				decodeBoth(t, d, changed)
				changed[i] = b[i] ^ 1<<r.IntN(8)
				decodeBoth(t, d, changed)
			}
		}
	}
	if want := (3 + 2) * 6 * 3; knew != want { // one is not the service's to send
		t.Errorf("the fast decoder knew %d frames, want %d", knew, want)
	}
}

func decodeBoth(t *testing.T, d wire.Decoder, b []byte) (knew bool) {
	t.Helper()
	quick, knew := d.QuickForTest(b)
	want, wantErr := d.NextForTest(b)
	if knew && (wantErr != nil || !reflect.DeepEqual(quick, want)) {
		t.Fatalf("% x:\nthe fast decoder says %+v\nthe other           %+v, %v", b, quick, want, wantErr)
	}
	got, err := d.Next(b)
	if !reflect.DeepEqual(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("% x:\nNext says %+v, %v\nwant      %+v, %v", b, got, err, want, wantErr)
	}
	return knew
}

// FuzzFrames: the same, of any bytes.
func FuzzFrames(f *testing.F) {
	contract := wire.Compile(schema.MustNew("Test/Frames", schema.Of[one](schema.FromClient), schema.Of[twelve](schema.FromBoth)))
	for _, v := range []schema.Message{&one{ID: 7}, newTwelve()} {
		m, _ := contract.Message(v.MessageName())
		frame, err := wire.AppendData(nil, m, v, wire.DataOptions{Re: 5})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire.AppendNumber(nil, frame, 300))
	}
	d := wire.Decoder{Contract: contract, From: schema.FromClient}
	f.Fuzz(func(t *testing.T, b []byte) { decodeBoth(t, d, b) })
}

// TestWriteIsPackAndCheck: packing and checking in one go gives the same bytes, or the
// same error, as one after the other.
func TestWriteIsPackAndCheck(t *testing.T) {
	t.Parallel()
	p, err := everyMessage.Packer(reflect.TypeFor[every]())
	if err != nil {
		t.Fatal(err)
	}
	both := func(e *every) (wrote bool) {
		t.Helper()
		want, wantErr := p.AppendForTest(nil, e)
		got, err := p.Append(nil, e)
		if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%+v:\ngot  % x, %v\nwant % x, %v", e, got, err, want, wantErr)
		}
		b := p.WriteForTest(e)
		if b != nil && (wantErr != nil || !bytes.Equal(b, want)) {
			t.Fatalf("%+v:\nwrote % x\nwant  % x, %v", e, b, want, wantErr)
		}
		return b != nil
	}
	small := full()
	small.Bytes = []byte("small")
	if !both(small) || !both(least()) {
		t.Error("the fast way does not know a message that has everything")
	}
	if both(full()) {
		t.Error("the fast way has counted the values of a large message")
	}
	wrote, all := 0, 0
	for seed := range uint64(500) {
		r := newRandom(seed)
		e := full()
		e.Bytes = []byte("small")
		r.disturb(reflect.ValueOf(e).Elem(), 0)
		if both(e) {
			wrote++
		}
		all++
	}
	if wrote < all/10 || wrote > all*9/10 {
		t.Errorf("%d of %d random messages were good: the test proves little", wrote, all)
	}
}

// disturb changes some of what a struct holds, to what may be sent and what may not.
func (r random) disturb(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && (depth == 0 || r.chance(50)) {
				r.disturb(f, depth+1)
			}
		}
		return
	case reflect.Slice:
		for i := range v.Len() {
			r.disturb(v.Index(i), depth+1)
		}
	case reflect.Pointer:
		if !v.IsNil() && r.chance(10) {
			r.disturb(v.Elem(), depth+1)
		}
	default:
	}
	if !r.chance(4) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"", "a", "b", "\xff", "é", strings.Repeat("é", 40), strings.Repeat("x", 300)}[r.IntN(7)])
	case reflect.Float32, reflect.Float64:
		v.SetFloat([]float64{0, -1.5, math.NaN(), math.Inf(1)}[r.IntN(4)])
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64() >> r.IntN(64))
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf([]any{nil, 1, -40, "s", 0.5, []any{1, nil}, math.NaN(), time.Time{}, "\xff", uint64(math.MaxUint64)}[1+r.IntN(9)]))
		}
	case reflect.Pointer, reflect.Slice, reflect.Map:
		v.SetZero()
	default:
	}
}

// bounded has every bound that a tag can set.
type bounded struct {
	I int64             `bus:"i,min=-5,max=200"`
	F float64           `bus:"f,min=-1,max=1"`
	S string            `bus:"s,minlen=2,maxlen=4"`
	P string            `bus:"p,pattern=^[a-z]+$"`
	E string            `bus:"e,enum=new|done"`
	B []byte            `bus:"b,minlen=1,maxlen=3"`
	L []int64           `bus:"l,maxlen=2"`
	M map[string]string `bus:"m,maxlen=9"`
}

func (bounded) MessageName() string { return "Bounded" }

func TestWriteHoldsBounds(t *testing.T) {
	t.Parallel()
	good := func() *bounded {
		return &bounded{I: 7, S: "abc", P: "a", E: "new", B: []byte{1}}
	}
	pairs := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("k%d", i)] = "v"
		}
		return m
	}
	m := wire.NewMessage(schema.Of[bounded](schema.FromBoth))
	p, err := m.Packer(reflect.TypeFor[bounded]())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*bounded)
		good   bool
	}{
		"nothing":             {func(*bounded) {}, true},
		"least":               {func(v *bounded) { v.I, v.F, v.S, v.L = -5, -1, "éé", []int64{} }, true},
		"most":                {func(v *bounded) { v.I, v.F, v.S, v.B, v.L = 200, 1, "éééé", []byte{1, 2, 3}, []int64{1, -1} }, true},
		"an int too small":    {func(v *bounded) { v.I = -6 }, false},
		"an int too large":    {func(v *bounded) { v.I = 201 }, false},
		"a float too small":   {func(v *bounded) { v.F = -1.01 }, false},
		"a float too large":   {func(v *bounded) { v.F = 1.01 }, false},
		"a float that is not": {func(v *bounded) { v.F = math.NaN() }, false},
		"a string too short":  {func(v *bounded) { v.S = "é" }, false},
		"a string too long":   {func(v *bounded) { v.S = "abcde" }, false},
		"another pattern":     {func(v *bounded) { v.P = "A" }, false},
		"another value":       {func(v *bounded) { v.E = "old" }, false},
		"no bytes":            {func(v *bounded) { v.B = nil }, false},
		"too many bytes":      {func(v *bounded) { v.B = make([]byte, 4) }, false},
		"too many elements":   {func(v *bounded) { v.L = make([]int64, 3) }, false},
		"eight pairs":         {func(v *bounded) { v.M = pairs(8) }, true},
		"nine pairs":          {func(v *bounded) { v.M = pairs(9) }, true},
		"ten pairs":           {func(v *bounded) { v.M = pairs(10) }, false},
		"an empty key":        {func(v *bounded) { v.M = map[string]string{"": "v"} }, false},
		"a long key":          {func(v *bounded) { v.M = map[string]string{strings.Repeat("k", 65): "v"} }, false},
		"a key of 64":         {func(v *bounded) { v.M = map[string]string{strings.Repeat("k", 64): "v"} }, true},
		"a key that is not":   {func(v *bounded) { v.M = map[string]string{"\xff": "v"} }, false},
	} {
		v := good()
		c.change(v)
		want, wantErr := p.AppendForTest(nil, v)
		got, err := m.Append(nil, v)
		if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) || (err == nil) != c.good {
			t.Errorf("%s: got % x, %v; want % x, %v", name, got, err, want, wantErr)
		}
		var breach *schema.ValueError
		if err != nil && !errors.As(err, &breach) {
			t.Errorf("%s: got %v, want a ValueError", name, err)
		}
		if wrote := p.WriteForTest(v); (wrote != nil) != c.good || wrote != nil && !bytes.Equal(wrote, want) {
			t.Errorf("%s: wrote % x, want % x", name, wrote, want)
		}
	}
}

// TestNames: the table finds what the contract has, by whatever names.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, count := range []int{0, 1, 2, 3, 40, 300} {
		var parts []schema.Part
		for i := range count {
			parts = append(parts, schema.Definition{Name: fmt.Sprintf("Some%dTask%d", i%3, i)})
		}
		c := wire.Compile(schema.MustNew("Test/Names", parts...))
		indexes := map[int]bool{}
		for i := range count {
			name := fmt.Sprintf("Some%dTask%d", i%3, i)
			m, ok := c.Message(name)
			if !ok || m.Name() != name {
				t.Fatalf("%d messages: %s is not found", count, name)
			}
			if found := c.FindForTest(name); found != nil && found != m {
				t.Fatalf("%s: the table finds %s", name, found.Name())
			}
			indexes[m.Index()] = true
		}
		if len(indexes) != count || c.Size() != count || count > 0 && (!indexes[0] || !indexes[count-1]) {
			t.Errorf("%d messages have %d indexes, and size %d", count, len(indexes), c.Size())
		}
		for _, name := range []string{"", "S", "Some0Task", "Some0Task00", strings.Repeat("x", 64)} {
			if m, ok := c.Message(name); ok {
				t.Errorf("%q finds %s", name, m.Name())
			}
		}
	}
}
