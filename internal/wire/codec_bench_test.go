package wire_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"busd/internal/wire"
	"busd/schema"
)

// one and twelve are the messages of the benchmarks.
type one struct {
	ID int64 `bus:"id" msgpack:"id"`
}

func (one) MessageName() string { return "One" }

type twelve struct {
	ID       int64             `bus:"id" msgpack:"id"`
	Name     string            `bus:"name,minlen=1,maxlen=64" msgpack:"name"`
	State    string            `bus:"state,enum=new|running|done|failed" msgpack:"state"`
	Host     string            `bus:"host" msgpack:"host"`
	Load     float64           `bus:"load,min=0" msgpack:"load"`
	Ready    bool              `bus:"ready" msgpack:"ready"`
	Started  time.Time         `bus:"started" msgpack:"started"`
	Attempt  int32             `bus:"attempt" msgpack:"attempt"`
	Checksum []byte            `bus:"checksum,maxlen=32" msgpack:"checksum"`
	Tags     []string          `bus:"tags,maxlen=16" msgpack:"tags"`
	Labels   map[string]string `bus:"labels" msgpack:"labels"`
	Note     *string           `bus:"note" msgpack:"note,omitempty"`
}

func (twelve) MessageName() string { return "Twelve" }

// scalars has twelve attributes that hold no other values.
type scalars struct {
	ID       int64     `bus:"id" msgpack:"id"`
	Name     string    `bus:"name,minlen=1,maxlen=64" msgpack:"name"`
	State    string    `bus:"state,enum=new|running|done|failed" msgpack:"state"`
	Host     string    `bus:"host" msgpack:"host"`
	Load     float64   `bus:"load,min=0" msgpack:"load"`
	Ready    bool      `bus:"ready" msgpack:"ready"`
	Started  time.Time `bus:"started" msgpack:"started"`
	Attempt  int32     `bus:"attempt" msgpack:"attempt"`
	Exit     *int32    `bus:"exit" msgpack:"exit,omitempty"`
	Memory   int64     `bus:"memory,min=0" msgpack:"memory"`
	Cores    int16     `bus:"cores,min=1,max=1024" msgpack:"cores"`
	Priority int8      `bus:"priority" msgpack:"priority"`
}

func (scalars) MessageName() string { return "Scalars" }

func newScalars() *scalars {
	exit := int32(0)
	return &scalars{
		ID: 1234567, Name: "resize-images", State: "running", Host: "worker-17.example.org", Load: 0.75, Ready: true,
		Started: time.Unix(1700000000, 123456789).UTC(), Attempt: 2, Exit: &exit, Memory: 2 << 30, Cores: 16, Priority: -3,
	}
}

func newTwelve() *twelve {
	note := "second attempt after the node was drained"
	return &twelve{
		ID: 1234567, Name: "resize-images", State: "running", Host: "worker-17.example.org", Load: 0.75, Ready: true,
		Started: time.Unix(1700000000, 123456789).UTC(), Attempt: 2, Checksum: []byte("0123456789abcdef"),
		Tags: []string{"batch", "gpu", "eu"}, Labels: map[string]string{"team": "media", "tier": "2"}, Note: &note,
	}
}

var benchmarks = []struct {
	name    string
	message *wire.Message
	value   schema.Message
}{
	{"attrs=1", wire.NewMessage(schema.Of[one](schema.FromBoth)), &one{ID: 42}},
	{"attrs=12", wire.NewMessage(schema.Of[twelve](schema.FromBoth)), newTwelve()},
	{"scalars=12", wire.NewMessage(schema.Of[scalars](schema.FromBoth)), newScalars()},
}

func encoded(tb testing.TB, m *wire.Message, v schema.Message) []byte {
	tb.Helper()
	b, err := m.Append(nil, v)
	if err != nil {
		tb.Fatalf("Append(%+v): %v", v, err)
	}
	return b
}

func BenchmarkCheck(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			p := encoded(b, bm.message, bm.value)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bm.message.Check(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSkip(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			p := encoded(b, bm.message, bm.value)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.Skip(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = bm.message.Append(buf[:0], bm.value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUnpack(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			p := encoded(b, bm.message, bm.value)
			u, err := bm.message.Unpacker(reflect.TypeOf(bm.value))
			if err != nil {
				b.Fatal(err)
			}
			into := reflect.New(reflect.TypeOf(bm.value).Elem()).Interface()
			b.ReportAllocs()
			for b.Loop() {
				if err := u.Unpack(p, into); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFloor is what the same costs with the library alone: the check by
// way of a map, and encoding and decoding by reflection.
func BenchmarkFloor(b *testing.B) {
	for _, bm := range benchmarks {
		p := encoded(b, bm.message, bm.value)
		d := bm.message.Definition()
		b.Run("check/"+bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var values map[string]any
				if err := msgpack.Unmarshal(p, &values); err != nil {
					b.Fatal(err)
				}
				if err := d.Check(values); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("append/"+bm.name, func(b *testing.B) {
			var buf bytes.Buffer
			e := msgpack.NewEncoder(&buf)
			e.UseCompactInts(true)
			b.ReportAllocs()
			for b.Loop() {
				buf.Reset()
				if err := e.Encode(bm.value); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("unpack/"+bm.name, func(b *testing.B) {
			into := reflect.New(reflect.TypeOf(bm.value).Elem()).Interface()
			b.ReportAllocs()
			for b.Loop() {
				if err := msgpack.Unmarshal(p, into); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
