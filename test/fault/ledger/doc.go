// Package ledger is a service that writes down what it handles, in a file that
// outlives its process: what a fault test compares with what its clients know.
// Several servers, and a server over its restarts, may write to one file.
//
// Each line is written with one call as the handler runs, so that the file's order
// is the order of handling, and a process that is killed has lost none. It knows no
// faults.
package ledger
