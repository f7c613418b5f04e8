//go:build linux

package hostile_test

import (
	"flag"
	"testing"

	"busd/test/fault/process"
)

// atOnce is how many scripts are played at a time: most of them wait for a time
// limit of the server, and compute nothing.
const atOnce = "40"

func TestMain(m *testing.M) {
	thePKI, theIssuer = newPKI(), newIssuer()
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	process.Main(m)
}
