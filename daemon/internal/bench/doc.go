// Package bench puts load on a service that runs somewhere, as a client like any
// other, and measures what comes of it: latency, throughput, fan-out, connections
// and reconnects.
//
// Calls go to the method echo, which every service has, so that nothing of the
// service's own is touched; messages only if one is given. Each measurement takes
// a bounded time and number of connections, and everything that fails is counted
// by its code.
//
// It knows nothing of the command line, and prints nothing.
package bench
