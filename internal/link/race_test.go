//go:build race

package link

// modelHistories is how many histories TestModel plays: the race detector makes
// each take many times as long.
const modelHistories = 200
