package hostile

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/test/hostile/stranger"
)

// A crowd is a process of clients, so that only the server's memory is
// measured. It is told "POINT COUNT ADDRESS", says "ready", and ends with its
// standard input.
const (
	envCrowd     = "BUSD_HOSTILE_CROWD"
	envCrowdCert = "BUSD_HOSTILE_CROWD_CERT"
	envCrowdKey  = "BUSD_HOSTILE_CROWD_KEY"
)

// What a connection may cost the server, in bytes; docs/limits.md states it.
const (
	beforeAuthentication = 64 << 10
	idleConnection       = 32 << 10
	// of the smallest messages that there are; larger ones cost half or less
	busyConnection = 6 << 20
)

// How many connections are measured at a time.
const (
	crowdSize = 400
	busySize  = 100
)

func playCrowd() error {
	var at point
	var n int
	var addr string
	if _, err := fmt.Sscan(os.Getenv(envCrowd), &at, &n, &addr); err != nil {
		return err
	}
	s, path := &stack{addr: addr}, pingPath
	if at == busy {
		path = bytePath
	}
	if at > tlsNobody || at == tlsOpen {
		var err error
		if s.good, err = tls.X509KeyPair([]byte(os.Getenv(envCrowdCert)), []byte(os.Getenv(envCrowdKey))); err != nil {
			return err
		}
	}
	var all []*client // what nobody refers to is closed
	for i := range n {
		d := net.Dialer{Timeout: 5 * time.Second}
		if runtime.GOOS == "linux" {
			d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 2, 1, byte(i/32+1))}
		}
		raw, err := d.Dial("tcp", addr)
		if err != nil {
			return err
		}
		c := &client{stack: s, path: path, instance: strconv.Itoa(i), raw: raw, conn: raw}
		if err := c.join(at); err != nil {
			return err
		}
		all = append(all, c)
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(all)
	return err
}

// join goes to a point without a test.
func (c *client) join(at point) error {
	if at == tcpOpen {
		return nil
	}
	c.handshake(c.stack.good) // none for tlsNobody
	if c.err != nil || at <= tlsNobody {
		return c.err
	}
	c.send(upgrade(c.path))
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = c.r.ReadString('\n'); err != nil {
			return err
		}
	}
	if at == upgraded {
		return nil
	}
	c.message(hello(c.instance))
	if _, _, err := stranger.ReadFrame(c.r); err != nil || at != busy {
		return err
	}
	// One is handled for ever, and behind it waits as much as the credit allows, in
	// messages that are as small as can be.
	c.message(c.data("Stay", dict()), repeatRequests(c, 1<<20/64-2))
	return c.err
}

// footprint is the memory of the process that connections can be blamed for.
func footprint() (heap, stacks uint64) {
	var m runtime.MemStats
	heap = live()
	runtime.ReadMemStats(&m)
	return heap, m.StackInuse
}

// TestMemoryOfConnections measures what one connection costs the server before
// anybody vouches for it, and when it is idle.
func TestMemoryOfConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other processes")
	}
	const patience = 2 * time.Minute // longer than a busy machine needs for all of them
	for _, row := range []struct {
		name    string
		at      point
		ceiling uint64
	}{
		{"silent TCP", tcpOpen, beforeAuthentication},
		{"after TLS, as nobody", tlsNobody, beforeAuthentication},
		{"after TLS, before the request", tlsOpen, beforeAuthentication},
		{"before the hello", upgraded, beforeAuthentication},
		{"idle", welcomed, idleConnection},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newStackWith(t, times{patience, patience, patience, patience, 3 * patience})
			heap, stacks := footprint()
			resident := rss()
			stop := s.startCrowd(t, row.at, crowdSize)
			if !eventually(30*time.Second, func() bool { return s.gate.Stats().Open >= crowdSize }) {
				stop()
				t.Fatalf("open connections: got %d, want %d", s.gate.Stats().Open, crowdSize)
			}
			<-time.After(200 * time.Millisecond) // the last goroutines come to rest
			heapNow, stacksNow := footprint()
			each := (heapNow - heap + stacksNow - stacks) / crowdSize
			t.Logf("%s: %.1f KiB each (heap %.1f, stacks %.1f; resident %.1f)", row.name, kib(each),
				kib((heapNow-heap)/crowdSize), float64(int64(stacksNow-stacks))/1024/crowdSize, kib((rss()-min(resident, rss()))/crowdSize))
			if each > row.ceiling {
				t.Errorf("one connection costs %.1f KiB, want at most %.1f", kib(each), kib(row.ceiling))
			}
			stop()
			if !eventually(10*time.Second, func() bool { return s.gate.Stats().Open <= 1 }) {
				t.Errorf("open connections: got %d, want the innocent one only", s.gate.Stats().Open)
			}
		})
	}
}

// TestMemoryOfBusyConnections measures what one connection costs whose client sends
// all that it may, reads nothing, and is sent as much as is kept for it.
func TestMemoryOfBusyConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other processes")
	}
	const patience = time.Minute
	s := newStackWith(t, times{patience, patience, patience, patience / 2, 3 * patience})
	heap, stacks := footprint()
	stop := s.startCrowd(t, busy, busySize)
	defer stop()
	if !eventually(20*time.Second, func() bool { return s.running.Load() == busySize }) {
		t.Fatalf("handlers that run: got %d, want one for each of %d", s.running.Load(), busySize)
	}
	const piece = 32 << 10
	for range 1<<20/piece - 1 { // one more would be too much
		if err := s.bytes.Broadcast(t.Context(), Noise{Pad: make([]byte, piece)}); err != nil {
			t.Fatal(err)
		}
	}
	waits := func() (n int) {
		for _, st := range s.bus.Stats() {
			n += st.Queued
		}
		return n
	}
	if n := waits(); len(s.bytes.Conns()) != busySize || n < busySize*(1<<20-2*piece) {
		t.Fatalf("%d connections, for which %s wait: want %d, and nearly 1 MiB for each", len(s.bytes.Conns()), mib(uint64(n)), busySize)
	}
	heapNow, stacksNow := footprint()
	each := (heapNow - heap + stacksNow - stacks) / busySize
	t.Logf("busy: %.1f KiB each (heap %.1f, stacks %.1f)", kib(each), kib((heapNow-heap)/busySize), float64(int64(stacksNow-stacks))/1024/busySize)
	if each > busyConnection {
		t.Errorf("one connection costs %.1f KiB, want at most %.1f", kib(each), kib(busyConnection))
	}
	stop()
	if !eventually(10*time.Second, func() bool { return s.gate.Stats().Open <= 1 }) {
		t.Errorf("open connections: got %d, want the innocent one only", s.gate.Stats().Open)
	}
}

func kib(n uint64) float64 { return float64(n) / 1024 }

// startCrowd starts a process of clients and returns what ends it.
func (s *stack) startCrowd(t *testing.T, at point, size int) (stop func()) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(s.good.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(),
		fmt.Sprintf("%s=%d %d %s", envCrowd, at, size, s.addr),
		envCrowdCert+"="+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.good.Certificate[0]})),
		envCrowdKey+"="+string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait() // it has said what went wrong
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "ready" {
		stop()
		t.Fatalf("the crowd: %q, %v", line, err)
	}
	return stop
}
