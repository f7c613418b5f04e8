package rpcclient_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"

	"busd/rpc/rpcclient"
)

// BenchmarkCall calls a handler that does nothing, by the client and, to compare, by
// net/http alone, over kept connections on the loopback.
func BenchmarkCall(b *testing.B) {
	for _, proto := range []string{"http/1.1", "h2"} {
		for _, callers := range []int{1, 32} {
			name := fmt.Sprintf("%s/callers=%d", proto, callers)
			w := newTown(b)
			srv := w.serve(b, func(c *tls.Config) { c.NextProtos = []string{proto} }, answers(`{"OK": true, "Value": "hello"}`))
			cert, key := w.client(b, "agent")
			c, err := rpcclient.New(rpcclient.Config{URL: srv.URL + service, CertPEM: cert, KeyPEM: key, CAPEM: w.ca.CertPEM()})
			if err != nil {
				b.Fatal(err)
			}
			b.Run(name+"/rpcclient", func(b *testing.B) {
				b.ReportAllocs()
				parallel(b, callers, func() error {
					_, err := rpcclient.Call[string](b.Context(), c, "echo", "hello")
					return err
				})
			})
			_ = c.Close() // nothing is left
			pool := x509.NewCertPool()
			pool.AddCert(w.ca.Certificate())
			bare := &http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 100,
			}}
			body := []byte("method=echo&args=%5B%22hello%22%5D&clientVO=&clientSetup=")
			b.Run(name+"/net-http", func(b *testing.B) {
				b.ReportAllocs()
				parallel(b, callers, func() error {
					resp, err := bare.Post(srv.URL+service, "application/x-www-form-urlencoded", bytes.NewReader(body))
					if err != nil {
						return err
					}
					_, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close() // it was read
					return err
				})
			})
			bare.CloseIdleConnections()
		}
	}
}

// parallel makes the benchmark's calls with so many callers.
func parallel(b *testing.B, callers int, call func() error) {
	b.Helper()
	if callers == 1 {
		for b.Loop() {
			if err := call(); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.SetParallelism(callers / runtime.GOMAXPROCS(0))
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := call(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
