// Command diracd is a busd that serves the conformance service.
package main

import (
	"busd/daemon"
	"busd/test/dirac/conformance"
)

func main() { daemon.Main(conformance.New()) }
