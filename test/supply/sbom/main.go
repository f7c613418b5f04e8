// Command sbom writes what a built program is made of, as a CycloneDX document (JSON,
// version 1.5), to standard output: its modules with versions, checksums and licences,
// which needs which, and the standard library. It says the same of the same binary each
// time: there is no date in it.
//
//	go run ./test/supply/sbom bin/busd
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: sbom PROGRAM")
		os.Exit(2)
	}
	document, err := describe(os.Args[1])
	if err == nil {
		_, err = os.Stdout.Write(document)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}
