// Command service is a busd that serves the inventory: "service serve --dev".
package main

import (
	"busd/daemon"
	"busd/examples/inventory"
)

func main() { daemon.Main(inventory.New()) }
