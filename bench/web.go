package main

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"time"
)

// errRefused is why a connection that the server closed is none.
var errRefused = errors.New("the server closed the connection")

// webPath is where WebSockets are opened.
const webPath = "/bench"

// serveWeb serves HTTPS, HTTP/1.1 unless more is wanted.
func serveWeb(s *serverSide, h http.Handler, http2 bool) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(http2)
	server := &http.Server{
		Addr: s.Address, Handler: h, TLSConfig: s.pki.serverTLS(), Protocols: &protocols,
		ReadHeaderTimeout: 30 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
	}
	return server.ListenAndServeTLS("", "")
}

// webClient makes HTTP clients.
func webClient(o dialOptions, http2 bool, perHost int) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	conf := o.TLS.Clone()
	conf.NextProtos = nil // net/http says what it speaks
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: conf, DialContext: o.Dial, Protocols: &protocols, MaxIdleConns: perHost, MaxIdleConnsPerHost: perHost,
	}}
}

// oneProtocol is a client's TLS for WebSockets, which are HTTP/1.1.
func oneProtocol(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.NextProtos = []string{"http/1.1"}
	return c
}
