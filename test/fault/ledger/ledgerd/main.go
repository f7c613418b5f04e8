// Command ledgerd is a busd that serves the ledger.
package main

import (
	"busd/daemon"
	"busd/test/fault/ledger"
)

func main() { daemon.Main(ledger.New()) }
