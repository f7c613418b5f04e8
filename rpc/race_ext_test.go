//go:build race

package rpc_test

// largeFile is what TestMemory moves: the race detector makes each byte take many
// times as long.
const largeFile = 40 << 20
