//go:build race

package session

// modelHistories is how many histories TestModel plays: the race detector makes
// each take ten times as long.
const modelHistories = 10_000
