// Package admin is what an operator may see of a running busd: whether it is
// well, whether it is ready, and its numbers. [Admin] is the one type that
// says so; its handler shows the same over HTTP, and to Prometheus.
//
// It knows services' numbers. It knows no flags, no screens, no sockets and no
// certificates: the program tells it about those.
package admin
