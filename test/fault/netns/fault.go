//go:build linux

package netns

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// diceSides is how finely the kernel's dice throw.
const diceSides = 1_000_000

// pair is one direction between two hosts.
type pair struct{ from, to *Host }

// rule is how many of diceSides packets of a pair are lost.
type rule int

// counter names the packets that a pair has lost.
func (p pair) counter() string { return fmt.Sprintf("lost_%d_%d", p.from.number, p.to.number) }

// Block loses everything from one host to another, in silence: half a line. It
// acts on connections that are there as well as on new ones, and ends with
// Unblock or Heal.
func (n *Network) Block(from, to *Host) error { return n.Lose(from, to, 1) }

// Unblock ends a Block or a Lose of that direction.
func (n *Network) Unblock(from, to *Host) error { return n.Lose(from, to, 0) }

// Lose loses packets from one host to another with that probability, 0 to 1;
// each packet has its own throw. It replaces what was set for that direction
// before, and may be changed at any time.
func (n *Network) Lose(from, to *Host, probability float64) error {
	if probability < 0 || probability > 1 {
		return fmt.Errorf("a probability is not %v", probability)
	}
	return n.set(map[pair]rule{{from, to}: rule(probability*diceSides + 0.5)})
}

// Partition keeps groups of hosts apart: between hosts of different groups
// nothing passes in either direction, within a group and to hosts that are in
// none everything does as before. All of it comes at the same instant.
func (n *Network) Partition(groups ...[]*Host) error {
	rules := map[pair]rule{}
	for i, group := range groups {
		for j, other := range groups {
			if i == j {
				continue
			}
			for _, from := range group {
				for _, to := range other {
					rules[pair{from, to}] = diceSides
				}
			}
		}
	}
	return n.set(rules)
}

// Heal ends all Block, Lose and Partition, at the same instant. Cables that are
// unplugged stay so.
func (n *Network) Heal() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.rules)
	return n.apply()
}

// Lost is how many packets from one host to another Block, Lose and Partition
// have lost so far: the proof that they did.
func (n *Network) Lost(from, to *Host) (packets int64, err error) {
	text, err := output(n.router, "", "nft", "-j", "list", "counters", "table", "ip", "fault")
	if err != nil {
		return 0, err
	}
	var list struct {
		NFTables []struct {
			Counter struct {
				Name    string
				Packets int64
			}
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return 0, fmt.Errorf("nft: %w: %s", err, text)
	}
	for _, item := range list.NFTables {
		if item.Counter.Name == (pair{from, to}).counter() {
			return item.Counter.Packets, nil
		}
	}
	return 0, nil // there was no rule for them
}

// Unplug pulls the host's cable at the router: the host keeps its address and
// its connections, and loses its carrier; nothing from or to it passes. Whoever
// sends to it from elsewhere may be told by the router that the host is
// unreachable; [Network.Block] is silent.
func (h *Host) Unplug() error {
	return run(h.network.router, "ip", fmt.Sprintf("link set %s down\n", h.cable()))
}

// Plug ends an Unplug.
func (h *Host) Plug() error {
	return run(h.network.router, "ip", fmt.Sprintf("link set %s up\n", h.cable()))
}

// set adds rules to those that are there.
func (n *Network) set(rules map[pair]rule) error {
	for p := range rules {
		if p.from.network != n || p.to.network != n {
			return fmt.Errorf("%v and %v are not both hosts of this network", p.from, p.to)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.Copy(n.rules, rules)
	return n.apply()
}

// apply gives the router the rules. nft replaces them all in one transaction.
// Called with mu held, or before anybody else has the network.
func (n *Network) apply() error {
	var b strings.Builder
	b.WriteString("add table ip fault\nadd chain ip fault forward { type filter hook forward priority 0; policy accept; }\n" +
		"flush chain ip fault forward\n")
	pairs := slices.SortedFunc(maps.Keys(n.rules), func(a, b pair) int { return strings.Compare(a.counter(), b.counter()) })
	for _, p := range pairs {
		some := ""
		switch r := n.rules[p]; {
		case r == 0:
			continue
		case r < diceSides:
			some = fmt.Sprintf("numgen random mod %d < %d ", diceSides, r)
		}
		fmt.Fprintf(&b, "add counter ip fault %[1]s\nadd rule ip fault forward ip saddr %[2]s ip daddr %[3]s %[4]scounter name %[1]s drop\n",
			p.counter(), p.from.Addr(), p.to.Addr(), some)
	}
	return run(n.router, "nft", b.String())
}
