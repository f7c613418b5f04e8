//go:build !race

package rpc_test

// largeFile is what TestMemory moves.
const largeFile = 256 << 20
