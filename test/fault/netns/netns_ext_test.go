//go:build linux

package netns_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/test/fault/netns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience bounds every wait; a busy machine is slow.
	patience = 30 * time.Second
	// moment is how long a test watches that nothing happens. The kernel sends
	// again what was lost after 200 ms.
	moment = 600 * time.Millisecond
)

// host is a host that sends back whatever comes.
func host(t *testing.T, n *netns.Network, name string) (*netns.Host, string) {
	t.Helper()
	h := n.Host(name)
	l, err := h.Listen(t.Context(), "tcp", netip.AddrPortFrom(h.Addr(), 7).String())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() { _, _ = io.Copy(c, c) }() // ends with the test: goleak looks
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return h, l.Addr().String()
}

func dial(t *testing.T, from *netns.Host, address string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := from.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echoes checks that what is sent comes back.
func echoes(t *testing.T, c net.Conn) {
	t.Helper()
	if err := talk(c, patience); err != nil {
		t.Fatalf("no echo: %v", err)
	}
}

// silent checks that it does not.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	var timeout net.Error
	if err := talk(c, moment); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("echo over a line that carries nothing: got %v, want a timeout", err)
	}
}

func talk(c net.Conn, limit time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// lost checks whether packets were lost.
func lost(t *testing.T, n *netns.Network, from, to *netns.Host, want bool) {
	t.Helper()
	packets, err := n.Lost(from, to)
	if err != nil {
		t.Fatal(err)
	}
	if (packets > 0) != want {
		t.Errorf("lost from %s to %s: got %d packets, want some: %v", from, to, packets, want)
	}
}

// TestHosts: they reach each other, themselves, and nothing else.
func TestHosts(t *testing.T) {
	t.Parallel()
	n := netns.New(t)
	a, onA := host(t, n, "a")
	b, onB := host(t, n, "b")
	for _, c := range []net.Conn{dial(t, a, onB), dial(t, b, onA), dial(t, a, onA)} {
		echoes(t, c)
	}
	if from := dial(t, a, onB).LocalAddr().(*net.TCPAddr).AddrPort().Addr(); from != a.Addr() {
		t.Errorf("a calls from %v, want %v", from, a.Addr())
	}

	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	if c, err := a.DialContext(t.Context(), "tcp", outside.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the machine's own loopback from a: got %v, %v, want refused", c, err)
	}
	if c, err := a.DialContext(t.Context(), "tcp", "localhost:7"); err == nil {
		t.Errorf("a name: got %v, want an error", c)
	}
	if l, err := a.Listen(t.Context(), "tcp", onB); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("listen on b's address from a: got %v, %v, want no such address", l, err)
	}
	// The test itself is where it was.
	c, err := net.Dial("tcp", outside.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestBlock: one direction is silent, the other is not.
func TestBlock(t *testing.T) {
	t.Parallel()
	n := netns.New(t)
	a, _ := host(t, n, "a")
	b, onB := host(t, n, "b")
	bystander, onBystander := host(t, n, "bystander")
	c := dial(t, a, onB)
	echoes(t, c)
	if err := n.Block(b, a); err != nil {
		t.Fatal(err)
	}
	silent(t, c)
	lost(t, n, b, a, true) // the echo, so that what was sent has arrived
	lost(t, n, a, b, false)
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	var timeout net.Error
	if c, err := a.DialContext(ctx, "tcp", onB); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a new connection: got %v, %v, want a timeout", c, err)
	}
	echoes(t, dial(t, a, onBystander))
	echoes(t, dial(t, bystander, onB))
	if err := n.Unblock(b, a); err != nil {
		t.Fatal(err)
	}
	// What was lost is sent again.
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("the echo of before: %v", err)
	}
	echoes(t, c)
}

// TestLose: the kernel loses about so many, and TCP copes.
func TestLose(t *testing.T) {
	t.Parallel()
	n := netns.New(t)
	a, b := n.Host("a"), n.Host("b")
	from, to := packets(t, a), packets(t, b)
	for _, probability := range []float64{0.2, 0.7, 0} {
		before := settled(t, n, a, b)
		if err := n.Lose(a, b, probability); err != nil {
			t.Fatal(err)
		}
		const sent = 2000
		for range sent {
			if _, err := from.WriteTo([]byte("x"), to.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			if _, err := to.WriteTo([]byte("x"), from.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		// 0.05 are four standard deviations and more.
		if rate := float64(settled(t, n, a, b)-before) / sent; rate < probability-0.05 || rate > probability+0.05 {
			t.Errorf("lost %v of the packets, want about %v", rate, probability)
		}
	}
	lost(t, n, b, a, false)
	if err := n.Lose(a, b, 1.1); err == nil {
		t.Error("a probability of 1.1 was taken")
	}
	if err := n.Lose(a, netns.New(t).Host("elsewhere"), 1); err == nil {
		t.Error("a host of another network was taken")
	}
}

// settled is how many packets were lost, once that is no longer changing.
func settled(t *testing.T, n *netns.Network, from, to *netns.Host) int64 {
	t.Helper()
	for last := int64(-1); ; {
		packets, err := n.Lost(from, to)
		if err != nil {
			t.Fatal(err)
		}
		if packets == last {
			return packets
		}
		last = packets
	}
}

// packets makes a socket for single packets.
func packets(t *testing.T, h *netns.Host) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	err := h.Do(func() (err error) {
		c, err = net.ListenPacket("udp", netip.AddrPortFrom(h.Addr(), 9).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestStream: packets are of a line's size, so that losing some is losing
// little; and a stream arrives whole over a line that loses a tenth in each
// direction.
func TestStream(t *testing.T) {
	t.Parallel()
	n := netns.New(t)
	a, _ := host(t, n, "a")
	b, onB := host(t, n, "b")
	c := dial(t, a, onB)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	const size = 300_000
	transfer := func() {
		go func() { _, _ = c.Write(make([]byte, size)) }() // ends with the connection
		if _, err := io.CopyN(io.Discard, c, size); err != nil {
			t.Fatal(err)
		}
	}
	transfer()
	bytes, packets := received(t, b)
	if bytes < size || bytes/packets > 1514 {
		t.Errorf("got %d bytes in %d packets, want none larger than a line's", bytes, packets)
	}

	if err := errors.Join(n.Lose(a, b, 0.1), n.Lose(b, a, 0.1)); err != nil {
		t.Fatal(err)
	}
	transfer()
	lost(t, n, a, b, true)
	lost(t, n, b, a, true)
}

// received is what has come to a host by its cable.
func received(t *testing.T, h *netns.Host) (bytes, packets int64) {
	t.Helper()
	err := h.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		_, counts, _ := strings.Cut(string(text), "eth0:")
		_, err = fmt.Sscan(counts, &bytes, &packets)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes, packets
}

// TestPartition: groups are apart, their members are not.
func TestPartition(t *testing.T) {
	t.Parallel()
	n := netns.New(t)
	a, onA := host(t, n, "a")
	b, onB := host(t, n, "b")
	c, onC := host(t, n, "c")
	free, onFree := host(t, n, "free")
	ab, bc, ca := dial(t, a, onB), dial(t, b, onC), dial(t, c, onA)
	if err := n.Partition([]*netns.Host{a, b}, []*netns.Host{c}); err != nil {
		t.Fatal(err)
	}
	echoes(t, ab)
	silent(t, bc)
	silent(t, ca)
	echoes(t, dial(t, c, onFree))
	echoes(t, dial(t, free, onA))
	for _, p := range []struct{ from, to *netns.Host }{{b, c}, {c, a}} {
		lost(t, n, p.from, p.to, true)
	}
	if err := n.Heal(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{bc, ca} {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("what was sent in the partition: %v", err)
		}
	}
	echoes(t, dial(t, c, onB))
}

// TestUnplug: a host without its cable keeps its connections.
func TestUnplug(t *testing.T) {
	t.Parallel()
	n := netns.New(t)
	a, _ := host(t, n, "a")
	b, onB := host(t, n, "b")
	other, onOther := host(t, n, "other")
	c := dial(t, a, onB)
	echoes(t, c)
	for range 2 {
		if err := b.Unplug(); err != nil {
			t.Fatal(err)
		}
		silent(t, c)
		echoes(t, dial(t, b, onB)) // its own loopback
		echoes(t, dial(t, a, onOther))
		if err := b.Plug(); err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("what was sent without the cable: %v", err)
		}
		echoes(t, dial(t, other, onB))
		echoes(t, c)
	}
}

// TestStart: a program runs on its host, and can be stopped and killed like any
// other.
func TestStart(t *testing.T) {
	t.Parallel()
	n := netns.New(t)
	h := n.Host("h")
	cmd := exec.Command("ip", "-brief", "addr", "show", "eth0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(cmd); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, h.Addr().String()+"/30") {
		t.Errorf("the program's address: got %q, %v, want %s", line, err, h.Addr())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := h.Start(exec.Command("/there is no such program")); err == nil {
		t.Error("a program that does not exist was started")
	}

	sleeper := exec.Command("sleep", "1000")
	if err := h.Start(sleeper); err != nil {
		t.Fatal(err)
	}
	if err := sleeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := sleeper.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("got %v, want killed", err)
	}
}
