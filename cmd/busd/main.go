// Command busd is the bus: a server with the services that are compiled in, and
// the commands to look after it. "busd help" lists them.
package main

import (
	"busd/daemon"
	"busd/examples/pingpong"
)

func main() { daemon.Main(pingpong.New()) }
