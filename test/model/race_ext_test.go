//go:build race

package model_test

// The race detector makes each history, and each handshake, take some ten times
// as long.
const (
	modelHistories = 200
	offsetStride   = 13
)
