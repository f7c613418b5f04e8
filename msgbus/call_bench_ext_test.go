package msgbus_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"busd/access"
	"busd/bustest"
	"busd/internal/mtls"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// echoes answers every call with its arguments, without a look at them: what is
// measured is the way there and back.
type echoes struct{}

func (echoes) Name() string             { return "Test/Echo" }
func (echoes) Methods() []schema.Method { return []schema.Method{{Name: "echo"}} }
func (echoes) Rules() access.Rules      { return access.Rules{Default: access.Authenticated} }

func (echoes) Call(_ context.Context, _ *access.Caller, _ access.Claim, _ string, args []byte) ([]byte, error) {
	return args, nil
}

func (echoes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the caller says if it does not come
}

var benchArgs = []byte(`["hello, world"]`)

// BenchmarkCall compares calls over a stable connection with the same calls over
// HTTPS, each connection kept alive, in one process and in one run: over pipes in
// memory, and over the sockets of the loopback interface.
func BenchmarkCall(b *testing.B) {
	for _, way := range []string{"memory", "loopback"} {
		for _, callers := range []int{1, 32} {
			name := fmt.Sprintf("%s/callers=%d", way, callers)
			b.Run(name+"/stable", func(b *testing.B) { benchmarkStable(b, benchPlace(b, way), callers) })
			b.Run(name+"/https", func(b *testing.B) { benchmarkHTTPS(b, benchPlace(b, way), callers) })
		}
	}
}

// A place is where the echo is served: how it is reached, and by whom.
type place struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	tls  *tls.Config
	host string
}

// benchPlace serves the echo.
func benchPlace(b *testing.B, way string) place {
	b.Helper()
	svc := &msgbus.Service{Methods: echoes{}}
	if way == "memory" {
		srv := bustest.NewServer(b, msgbus.Config{}, svc)
		return place{srv.DialContext, bustest.ClientTLS(b, bustest.DefaultPeer), bustest.Host}
	}
	ca, err := mtls.NewAuthority("benchmark", time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	issue := func(r mtls.Request) tls.Certificate {
		issued, err := ca.Issue(r)
		if err != nil {
			b.Fatal(err)
		}
		return issued.TLS()
	}
	conf, err := mtls.ServerConfig(mtls.Material{
		Certificate: issue(mtls.Request{Name: "localhost", DNS: []string{"localhost"}, Server: true}),
		CAs:         []*x509.Certificate{ca.Certificate()},
	}, mtls.Policy{})
	if err != nil {
		b.Fatal(err)
	}
	srv, err := msgbus.NewServer(msgbus.Config{}, svc)
	if err != nil {
		b.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "localhost:0", conf)
	if err != nil {
		b.Fatal(err)
	}
	web := &http.Server{Handler: srv, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		_ = web.Serve(listener) // it ends with Close
	}()
	b.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
		_ = web.Close() // nothing is served any more
		<-serving
	})
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	return place{new(net.Dialer).DialContext, &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: "localhost", NextProtos: []string{"http/1.1"},
		Certificates: []tls.Certificate{issue(mtls.Request{Name: "caller", DNS: []string{"caller"}, Client: true})},
	}, listener.Addr().String()}
}

func benchmarkStable(b *testing.B, at place, callers int) {
	b.Helper()
	c, err := msgclient.New(msgclient.Config{
		URL: "wss://" + at.host + "/Test/Echo", TLS: at.tls, DialContext: at.dial,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	bustest.Run(b, c)
	shared(b, callers, func() error {
		_, err := c.Call(context.Background(), "echo", benchArgs)
		return err
	})
}

func benchmarkHTTPS(b *testing.B, at place, callers int) {
	b.Helper()
	transport := &http.Transport{DialContext: at.dial, TLSClientConfig: at.tls, MaxIdleConnsPerHost: callers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	shared(b, callers, func() error {
		resp, err := client.Post("https://"+at.host+"/Test/Echo/echo", "application/json", bytes.NewReader(benchArgs))
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	})
}

// shared lets so many callers make the benchmark's calls.
func shared(b *testing.B, callers int, call func() error) {
	b.Helper()
	if err := call(); err != nil { // the connection is there
		b.Fatal(err)
	}
	var work sync.WaitGroup
	turns := make(chan struct{}, 1024)
	b.ReportAllocs()
	b.ResetTimer()
	spent := cpu(b)
	for range callers {
		work.Go(func() {
			for range turns {
				if err := call(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range b.N {
		turns <- struct{}{}
	}
	close(turns)
	work.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(cpu(b)-spent)/float64(b.N), "cpu-ns/op")
}

// cpu is how much time of processors this process has used. On a machine that
// others use too it says more than the clock does.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
