//go:build !race

package model_test

const (
	// modelHistories is how many histories TestModel plays: some 50 s on one core.
	modelHistories = 1000
	// offsetStride is how many bytes lie between two cuts of TestEveryOffset.
	offsetStride = 1
)
