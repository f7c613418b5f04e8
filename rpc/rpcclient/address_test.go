package rpcclient

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func list(hosts ...string) []*address {
	all := make([]*address, len(hosts))
	for i, host := range hosts {
		all[i] = &address{url: &url.URL{Scheme: "https", Host: host, Path: "/System/Component"}}
	}
	return all
}

// order tries all, one after the other.
func (a *addresses) order() []string {
	var tried []*address
	var hosts []string
	for next := a.next(nil); next != nil; next = a.next(tried) {
		tried, hosts = append(tried, next), append(hosts, next.url.Host)
	}
	return hosts
}

// Clients do not all begin with the same address; fail-overs come last.
func TestAddressesAreShuffled(t *testing.T) {
	t.Parallel()
	first := map[string]int{}
	for range 300 {
		all := list("a", "b", "c", "f", "g")
		all[3].failover, all[4].failover = true, true
		got := newAddresses(all).order()
		first[got[0]]++
		slices.Sort(got[:3])
		if !slices.Equal(got[:3], []string{"a", "b", "c"}) {
			t.Fatalf("got %v, want f and g last", got)
		}
	}
	if len(first) != 3 {
		t.Errorf("the first was %v", first)
	}
}

// After a failure another host is preferred to another port of the same.
func TestAnotherHostIsPreferred(t *testing.T) {
	t.Parallel()
	a := &addresses{all: list("a:1", "a:2", "b:1", "b:2")}
	if got := fmt.Sprint(a.order()); got != "[a:1 b:1 a:2 b:2]" {
		t.Errorf("got %s", got)
	}
}

// What is banned comes after all others, also fail-overs; when all are, what was
// banned first comes first; bans pass.
func TestBans(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &addresses{all: list("a", "b", "f")}
		a.all[2].failover = true
		want := func(text string) {
			t.Helper()
			if got := fmt.Sprint(a.order()); got != text {
				t.Errorf("got %s, want %s", got, text)
			}
		}
		want("[a b f]")
		a.ban(a.all[0], banTime)
		want("[b f a]")
		time.Sleep(time.Second)
		a.ban(a.all[1], banTime)
		want("[f a b]")
		a.ban(a.all[0], 2*banTime)
		want("[f b a]")
		a.ban(a.all[0], time.Second) // which is less than what there is
		want("[f b a]")
		a.works(a.all[0])
		want("[a f b]")
		time.Sleep(banTime)
		want("[a b f]")
	})
}
