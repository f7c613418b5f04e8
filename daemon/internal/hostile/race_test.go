//go:build race

package hostile

// slow is by how much the race detector slows down what is measured here.
const slow = 4
