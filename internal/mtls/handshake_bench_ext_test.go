package mtls_test

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"
)

// BenchmarkHandshake measures what a storm of agents costs after a restart:
// handshakes in full, and such as resume a session with a ticket of the process
// before. Both ends share this machine's cores; the connections are those of
// the loopback.
func BenchmarkHandshake(b *testing.B) {
	f := newFarm(b)
	agent := f.agent()
	visit(b, f.start(b), agent)
	restarted := f.start(b)
	wantResumed(b, restarted, agent, true, "after the restart")
	conf := agent.config(b)
	alone := conf.Clone()
	alone.ClientSessionCache = nil
	for _, test := range []struct {
		name   string
		client *tls.Config
	}{{"full", alone}, {"resumed", conf}} {
		b.Run(test.name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			var server sync.WaitGroup
			server.Go(func() { greetAll(l, restarted.Config()) })
			defer server.Wait()
			defer l.Close()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resumed, err := greeted(l.Addr().String(), test.client)
					if want := test.client == conf; err != nil || resumed != want {
						b.Errorf("resumed: got %t, %v, want %t", resumed, err, want)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
		})
	}
}

// greetAll sends each client a byte, until l is closed.
func greetAll(l net.Listener, conf *tls.Config) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			defer raw.Close()
			_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = tls.Server(raw, conf).Write([]byte{1}) // after the handshake; the client sees what came of it
		})
	}
}

// greeted connects and waits for the byte; the ticket comes before it.
func greeted(address string, conf *tls.Config) (resumed bool, err error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return false, err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(raw, conf)
	_, err = c.Read(make([]byte, 1))
	return c.ConnectionState().DidResume, err
}
