//go:build !race

package link

// modelHistories is how many histories TestModel plays: some ten seconds.
const modelHistories = 2000
