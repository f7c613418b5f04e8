//go:build linux

package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// maxHosts bounds the hosts of a network: each has a number in its address.
const maxHosts = 250

// A Network is a router and the hosts that are joined to it. Its methods, and
// those of its hosts, may be called from any goroutine, where they do not say
// otherwise.
type Network struct {
	t      testing.TB
	router *namespace

	mu sync.Mutex
	// Guarded by mu.
	hosts []*Host
	rules map[pair]rule
}

// A Host is a machine of a network.
type Host struct {
	// Fixed at creation.
	network *Network
	name    string
	number  int // from 1
	space   *namespace
}

// New makes a network without hosts, which is taken down at the test's cleanup.
// It skips the test, with the reason, where there can be none: not root, a
// missing program, or a kernel that refuses.
func New(t testing.TB) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for program, of := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("network namespaces need the program %s (Debian: %s): %v", program, of, err)
		}
	}
	router, err := newNamespace()
	if err != nil {
		t.Skipf("the kernel makes no network namespace: %v", err)
	}
	n := &Network{t: t, router: router, rules: map[pair]rule{}}
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Errorf("take down the network: %v", err)
		}
	})
	if err := n.probe(); err != nil {
		t.Skipf("the kernel lacks what a network needs: %v", err)
	}
	if err := n.enable(); err != nil {
		t.Fatalf("set up a router: %v", err)
	}
	return n
}

// probe tries the two things that a kernel may lack, and takes them back.
func (n *Network) probe() error {
	if err := run(n.router, "ip", "link add probe0 type veth peer name probe1\nlink del probe0\n"); err != nil {
		return err
	}
	return run(n.router, "nft", "add table ip probe\nadd chain ip probe c { type filter hook forward priority 0; }\n"+
		"add rule ip probe c numgen random mod 10 < 1 counter drop\ndelete table ip probe\n")
}

// enable makes a router of the router.
func (n *Network) enable() error {
	if err := run(n.router, "ip", "link set lo up\n"); err != nil {
		return err
	}
	// The file is that of the namespace of who opens it.
	err := n.router.do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	if err != nil {
		return err
	}
	return n.apply()
}

func (n *Network) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []error
	for _, h := range n.hosts {
		all = append(all, h.space.close())
	}
	return errors.Join(append(all, n.router.close())...)
}

// Host adds a host; its name is for messages. It fails the test if that cannot
// be, so it must be called from the test's goroutine.
func (n *Network) Host(name string) *Host {
	n.t.Helper()
	h, err := n.add(name)
	if err != nil {
		n.t.Fatalf("add host %s: %v", name, err)
	}
	return h
}

func (n *Network) add(name string) (*Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.hosts) == maxHosts {
		return nil, fmt.Errorf("a network has at most %d hosts", maxHosts)
	}
	space, err := newNamespace()
	if err != nil {
		return nil, err
	}
	h := &Host{network: n, name: name, number: len(n.hosts) + 1, space: space}
	n.hosts = append(n.hosts, h)
	// Without the limit a packet on a veth may hold 64 KiB, and losing one would
	// lose as much as forty losses on a real line.
	err = run(space, "ip", fmt.Sprintf("link add eth0 type veth peer name %[1]s netns %[2]s\n"+
		"link set lo up\nlink set eth0 gso_max_segs 1\naddr add %[3]s/30 dev eth0\nlink set eth0 up\n",
		h.cable(), n.router.path(), h.Addr()))
	if err != nil {
		return nil, err
	}
	err = run(n.router, "ip", fmt.Sprintf("addr add %[1]s/30 dev %[2]s\nlink set %[2]s up\n", h.gateway(), h.cable()))
	if err != nil {
		return nil, err
	}
	return h, run(space, "ip", fmt.Sprintf("route add default via %s\n", h.gateway()))
}

// Name is what the host was called.
func (h *Host) Name() string { return h.name }

func (h *Host) String() string { return h.name }

// Addr is the host's address in its network. It also has 127.0.0.1, for itself.
func (h *Host) Addr() netip.Addr { return netip.AddrFrom4([4]byte{10, 77, byte(h.number), 2}) }

// gateway is the router's address for the host.
func (h *Host) gateway() netip.Addr { return netip.AddrFrom4([4]byte{10, 77, byte(h.number), 1}) }

// cable is the router's end of the host's cable.
func (h *Host) cable() string { return fmt.Sprintf("cable%d", h.number) }

// Start starts a program on the host, as [exec.Cmd.Start] does, whose rules
// apply to the rest of its life; its PID is that of the program. What it starts
// is on the host too. It does not end with the network.
func (h *Host) Start(cmd *exec.Cmd) error { return h.space.do(cmd.Start) }

// Do runs f on a thread that is on the host: sockets that f makes are there for
// good, whoever uses them later. f must make them itself, not by goroutines that
// it starts.
func (h *Host) Do(f func() error) error { return h.space.do(f) }

// DialContext opens a connection from the host. The address must be one in
// numbers. The connection may be used like any other. While it is opened, it
// keeps a thread.
func (h *Host) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	if err := numeric(address); err != nil {
		return nil, err
	}
	err = h.space.do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("from host %s: %w", h.name, err)
	}
	return c, nil
}

// Listen listens on the host, at an address in numbers.
func (h *Host) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	if err := numeric(address); err != nil {
		return nil, err
	}
	err = h.space.do(func() error {
		l, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("on host %s: %w", h.name, err)
	}
	return l, nil
}

// numeric refuses names: they would be resolved by another goroutine, in the
// machine's own network.
func numeric(address string) error {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return fmt.Errorf("want an IP address and a port: %w", err)
	}
	return nil
}

// run gives a program commands, one a line, in a namespace.
func run(n *namespace, program, commands string) error {
	args := map[string][]string{"ip": {"-batch", "-"}, "nft": {"-f", "-"}}[program]
	_, err := output(n, commands, program, args...)
	return err
}

// output runs a program in a namespace and returns what it wrote.
func output(n *namespace, input, program string, args ...string) ([]byte, error) {
	cmd := exec.Command(program, args...) //nolint:gosec // ip or nft
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	if err := n.do(cmd.Start); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s\n%s", program, err, bytes.TrimSpace(stderr.Bytes()), input)
	}
	return stdout.Bytes(), nil
}
