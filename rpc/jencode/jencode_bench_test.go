package jencode_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"busd/rpc/jencode"
)

type benchJob struct {
	ID    int64    `bus:"id" json:"id"`
	Name  string   `bus:"name" json:"name"`
	Load  float64  `bus:"load" json:"load"`
	Done  bool     `bus:"done" json:"done"`
	Sites []string `bus:"sites" json:"sites"`
}

var (
	benchStruct = benchJob{7, "reconstruction of run 4711", 0.25, true, []string{"LCG.CERN.ch", "LCG.GRIDKA.de"}}
	benchMap    = map[string]any{"id": int64(7), "name": "reconstruction of run 4711", "load": 0.25, "done": true, "sites": []any{"LCG.CERN.ch"}}
	benchList   = []any{int64(1), "x", 2.5, nil, []any{int64(1), int64(2)}}

	benchValues = []struct {
		name  string
		value any
		into  func() any
	}{
		{"struct", benchStruct, func() any { return new(benchJob) }},
		{"map", benchMap, func() any { return new(any) }},
		{"list", benchList, func() any { return new(any) }},
	}
	benchDialects = []struct {
		name    string
		dialect jencode.Dialect
	}{{"dirac", jencode.DIRAC}, {"json", jencode.JSON}}
)

// BenchmarkAppend writes small values; encoding/json does the same, for
// comparison.
func BenchmarkAppend(b *testing.B) {
	for _, v := range benchValues {
		for _, d := range benchDialects {
			b.Run(v.name+"/"+d.name, func(b *testing.B) {
				b.ReportAllocs()
				var buf []byte
				for b.Loop() {
					var err error
					if buf, err = jencode.Append(buf[:0], v.value, d.dialect); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(v.name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := json.Marshal(v.value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	for _, v := range benchValues {
		text, err := json.Marshal(v.value)
		if err != nil {
			b.Fatal(err)
		}
		for _, d := range benchDialects {
			b.Run(v.name+"/"+d.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := jencode.Unmarshal(text, v.into(), d.dialect); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(v.name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := json.Unmarshal(text, v.into()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkElements(b *testing.B) {
	text := []byte(`[1, "x", {"a": [1, 2, 3]}, ` + fmt.Sprintf("%q", strings.Repeat("x", 100)) + `]`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jencode.Elements(text, jencode.DIRAC); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFile reads a megabyte as DIRAC sends files.
func BenchmarkFile(b *testing.B) {
	contents := make([]byte, 1<<20)
	text := []byte(`{"__dCls": "b64", "obj": "` + base64.StdEncoding.EncodeToString(contents) + `"}`)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		var p []byte
		if err := jencode.Unmarshal(text, &p, jencode.DIRAC); err != nil {
			b.Fatal(err)
		}
	}
}
