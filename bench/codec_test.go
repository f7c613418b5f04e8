package main

import (
	"strings"
	"testing"
)

const codecOutput = `goos: linux
BenchmarkCheck/attrs=1-2         	  291468	        40.5 ns/op	 106.07 MB/s	       0 B/op	       0 allocs/op
BenchmarkCheck/scalars=12-2      	   50128	       200 ns/op	 281.96 MB/s	       0 B/op	       0 allocs/op
BenchmarkCheck/attrs=12-2        	   15128	       500 ns/op	 281.96 MB/s	       0 B/op	       0 allocs/op
BenchmarkAppend/attrs=1-2        	  116599	       142.9 ns/op	       0 B/op	       0 allocs/op
BenchmarkAppend/scalars=12-2     	    9469	       264 ns/op	       0 B/op	       0 allocs/op
BenchmarkAppend/attrs=12-2       	    6469	      2764 ns/op	       0 B/op	       3 allocs/op
BenchmarkUnpack/attrs=1-2        	  329770	        20 ns/op	       0 B/op	       0 allocs/op
BenchmarkUnpack/scalars=12-2     	    9989	       350 ns/op	     144 B/op	       2 allocs/op
BenchmarkUnpack/attrs=12-2       	    4989	      2626 ns/op	     544 B/op	      15 allocs/op
PASS
`

func TestParseCodec(t *testing.T) {
	t.Parallel()
	m, err := parseCodec([]byte(codecOutput))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"check_1": 40.5, "check_decode_1": 60.5, "check_decode_12": 550, "encode_12": 264, "encode_nested": 2764, "allocs": 3} {
		if m[name] != want {
			t.Errorf("%s: got %v, want %v", name, m[name], want)
		}
	}
}

func TestParseCodecMissesNothing(t *testing.T) {
	t.Parallel()
	if m, err := parseCodec([]byte(strings.ReplaceAll(codecOutput, "Unpack", "Decode"))); err == nil {
		t.Errorf("a benchmark is missing: got %v", m)
	}
}
