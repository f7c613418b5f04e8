package rpc

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// MinCompress is the size from which answers are compressed for clients that
// take it, in bytes: below it gzip gains nothing.
const MinCompress = 1024

// compressors and decompressors are kept: a new compressor is hundreds of
// kilobytes.
var (
	compressors = sync.Pool{New: func() any {
		z, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
		if err != nil { // only for a level that does not exist
			panic(err)
		}
		return z
	}}
	decompressors = sync.Pool{New: func() any { return &decompressor{from: bufio.NewReader(nil)} }}
)

// A decompressor reads what is compressed.
type decompressor struct {
	gzip.Reader
	from *bufio.Reader
}

// begin reads the header.
func (d *decompressor) begin(from io.Reader) error {
	d.from.Reset(from)
	return d.Reset(d.from)
}

// end gives it back.
func (d *decompressor) end() {
	d.from.Reset(nil) // what it read from is not kept with it
	decompressors.Put(d)
}

// compress appends p, compressed, to a buffer.
func compress(to *bytes.Buffer, p []byte) {
	z := compressors.Get().(*gzip.Writer)
	z.Reset(to)
	_, _ = z.Write(p) // a bytes.Buffer takes everything
	_ = z.Close()
	z.Reset(io.Discard) // the buffer is not kept with it
	compressors.Put(z)
}

// acceptsGzip tells whether a client takes gzip (RFC 9110, section 12.5.3): what
// is said of gzip itself counts before what is said of "*", and q=0 is no.
func acceptsGzip(h http.Header) bool {
	star := false
	for _, line := range h["Accept-Encoding"] {
		for line != "" {
			var coding string
			coding, line, _ = strings.Cut(line, ",")
			coding, params, _ := strings.Cut(coding, ";")
			switch coding = strings.TrimSpace(coding); {
			case strings.EqualFold(coding, "gzip"), strings.EqualFold(coding, "x-gzip"):
				return isWanted(params)
			case coding == "*":
				star = isWanted(params)
			}
		}
	}
	return star
}

// isWanted tells whether the parameters of a coding give it a weight above 0. A
// weight that cannot be read is none.
func isWanted(params string) bool {
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err == nil && q > 0
		}
	}
	return true
}
