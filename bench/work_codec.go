package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// codecBenchmarks are the benchmarks of the parent module that the codec work
// runs, and the metric that each makes; the allocations are the same with a
// suffix.
var codecBenchmarks = map[string]string{
	"BenchmarkCheck/attrs=1": "check_1", "BenchmarkCheck/scalars=12": "check_12", "BenchmarkCheck/attrs=12": "check_nested",
	"BenchmarkAppend/attrs=1": "encode_1", "BenchmarkAppend/scalars=12": "encode_12", "BenchmarkAppend/attrs=12": "encode_nested",
	"BenchmarkUnpack/attrs=1": "decode_1", "BenchmarkUnpack/scalars=12": "decode_12", "BenchmarkUnpack/attrs=12": "decode_nested",
}

const allocsSuffix = "_allocs"

func codecWork() *work {
	return &work{
		name: "codec", title: "A message's bytes",
		about: "Checking, encoding with its check, and decoding into a struct, of a message with one attribute, of one with twelve (numbers, strings, a time), " +
			"and of one with twelve of which a list and a map are two (31 values): the benchmarks of busd/internal/wire, in one process, without a connection.",
		columns: []column{
			{"check_decode_1", "check and decode, 1", nanos},
			{"check_decode_12", "check and decode, 12", nanos},
			{"check_1", "check, 1", nanos},
			{"check_12", "check, 12", nanos},
			{"check_nested", "check, 12 with a list and a map", nanos},
			{"encode_1", "encode, 1", nanos},
			{"encode_12", "encode, 12", nanos},
			{"encode_nested", "encode, 12 with a list and a map", nanos},
			{"decode_1", "decode, 1", nanos},
			{"decode_12", "decode, 12", nanos},
			{"decode_nested", "decode, 12 with a list and a map", nanos},
			{"allocs", "allocations of checks and encodings", plainNumber},
		},
		takes: isOneOf(busdContender.name),
		quick: true,
		run:   runCodec,
	}
}

func runCodec(ctx context.Context, b *bench, _ *contender) (metrics, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "./internal/wire", "-run", "^$", "-bench", "^Benchmark(Check|Append|Unpack)$", //nolint:gosec // G204: a duration
		"-benchmem", "-benchtime", b.scale.Codec.String())
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test: %w: %s", err, out)
	}
	return parseCodec(out)
}

// parseCodec reads what go test says of benchmarks.
func parseCodec(out []byte) (metrics, error) {
	m := metrics{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		name := words[0]
		if cut := strings.LastIndexByte(name, '-'); cut > 0 { // of GOMAXPROCS, unless that is 1
			name = name[:cut]
		}
		metric := codecBenchmarks[name]
		if metric == "" {
			continue
		}
		for i := 2; i+1 < len(words); i += 2 {
			n, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", lines.Text(), err)
			}
			switch words[i+1] {
			case "ns/op":
				m[metric] = n
			case "allocs/op":
				m[metric+allocsSuffix] = n
			}
		}
	}
	for name, metric := range codecBenchmarks {
		if _, ok := m[metric]; !ok {
			return nil, fmt.Errorf("there is no benchmark %s", name)
		}
	}
	m["check_decode_1"], m["check_decode_12"] = m["check_1"]+m["decode_1"], m["check_12"]+m["decode_12"]
	for _, metric := range []string{"check_1", "check_12", "check_nested", "encode_1", "encode_12", "encode_nested"} {
		m["allocs"] += m[metric+allocsSuffix]
	}
	return m, nil
}
