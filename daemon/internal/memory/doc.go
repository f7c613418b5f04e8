// Package memory keeps the process within the memory that it may use. It finds
// out how much that is, tells Go's runtime a part of it, and watches what is in
// use: near the runtime's limit nobody new is let in, and nearer to it those are
// given up for whom most is kept. And it lets a small heap grow before it is
// collected. It knows no connections: whoever uses it asks
// whether it sheds, and gives it a function that gives up some.
package memory
