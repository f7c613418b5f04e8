// Package e2e runs the built binary as users do, over real sockets with real
// certificates.
package e2e
