// Package dirac_test runs a client that behaves on the wire as DIRAC's own HTTPS
// client does against a busd: a built program, sockets, certificates with DIRAC's
// names, a registry in the configuration.
//
// The client is in Python, written from what was captured of the real one: jencode.py
// and tornado.py are the client, check.py is what it checks.
package dirac_test
