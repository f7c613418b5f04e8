// Package storm holds the tests of many clients that come at once: what a
// server that comes back, or is full, sees of them second by second. They run
// in virtual time over the whole stack in memory.
package storm
