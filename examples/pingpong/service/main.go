// Command service is a busd of one's own: the whole program, with another
// service in it. Try it with: go run ./examples/pingpong/service serve --dev
package main

import (
	"busd/daemon"
	"busd/examples/pingpong"
)

func main() { daemon.Main(pingpong.New()) }
