// Package bustest runs the whole of busd in memory, for tests, ours and our
// users': a server with a test CA, real TLS and real WebSockets over buffered
// pipes, and clients that trust it. No port is opened.
//
//	srv := bustest.NewServer(t, msgbus.Config{}, svc)
//	c := srv.Connect(msgclient.Config{})
//
// It works inside a testing/synctest bubble: the test CA is valid from 1999 on.
package bustest
