package mtls

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func newKeeper(t *testing.T, path string, now func() time.Time) *ticketKeeper {
	t.Helper()
	k := newTicketKeeper(Tickets{File: path, Warn: func(err error) { t.Errorf("warned: %v", err) }}, now)
	if err := k.begin([sha256.Size]byte{1}, &tls.Config{MinVersion: tls.VersionTLS13}); err != nil {
		t.Fatal(err)
	}
	return k
}

// Random histories of two processes, in which the file goes back to what it
// was some time ago, as when a process writes that was stopped between reading
// and writing. Once both have looked at it undisturbed, each believes every
// ticket of the last week.
func TestKeepersAgreeInTheEnd(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 0))
		clock := time.Now()
		now := func() time.Time { return clock }
		path := filepath.Join(t.TempDir(), "tickets")
		keepers := []*ticketKeeper{newKeeper(t, path, now), newKeeper(t, path, now)}
		var old [][]byte
		used := map[[32]byte]time.Time{} // keys that encrypted, and when they were first seen to
		for range 60 {
			k := keepers[random.IntN(len(keepers))]
			switch random.IntN(4) {
			case 0:
				clock = clock.Add(time.Duration(random.Int64N(int64(30 * time.Hour))))
			case 1:
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				old = append(old, data)
			case 2:
				if len(old) > 0 {
					if err := os.WriteFile(path, old[random.IntN(len(old))], 0o600); err != nil {
						t.Fatal(err)
					}
				}
			case 3:
				k.keep()
				if _, ok := used[k.keys[0].secret]; !ok {
					used[k.keys[0].secret] = clock
				}
			}
		}
		for range 2 {
			for _, k := range keepers {
				k.keep()
			}
		}
		if !slices.Equal(keepers[0].keys, keepers[1].keys) {
			t.Fatalf("seed %d: they have %d and %d keys, not the same", seed, len(keepers[0].keys), len(keepers[1].keys))
		}
		for secret, since := range used {
			has := slices.ContainsFunc(keepers[0].keys, func(k ticketKey) bool { return k.secret == secret })
			if age := clock.Sub(since); !has && age < TicketLifetime-TicketRotation {
				t.Fatalf("seed %d: a key that encrypted %v ago is lost", seed, age)
			}
		}
		for _, key := range keepers[0].keys {
			if age := clock.Sub(time.Unix(key.made, 0)); age >= TicketLifetime {
				t.Fatalf("seed %d: a key is %v old", seed, age)
			}
		}
	}
}

func TestGoodKeys(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000_000, 0)
	key := func(n byte, age time.Duration) ticketKey { return ticketKey{now.Add(-age).Unix(), [32]byte{n}} }
	a, b, c := key(1, time.Hour), key(2, 30*time.Hour), key(3, TicketLifetime-time.Second)
	over, future := key(4, TicketLifetime), key(5, -time.Hour)
	for _, test := range []struct {
		what  string
		lists [][]ticketKey
		want  []ticketKey
	}{
		{"in order", [][]ticketKey{{c, a}, {b}}, []ticketKey{a, b, c}},
		{"each once", [][]ticketKey{{a, b}, {b, a}}, []ticketKey{a, b}},
		{"the earlier time", [][]ticketKey{{a}, {key(1, 2*time.Hour)}}, []ticketKey{key(1, 2*time.Hour)}},
		{"without what is over", [][]ticketKey{{a, over}}, []ticketKey{a}},
		{"from now, not from the future", [][]ticketKey{{future, a}}, []ticketKey{key(5, 0), a}},
	} {
		for _, lists := range [][][]ticketKey{test.lists, {slices.Concat(test.lists...)}, reversed(test.lists)} {
			if got := goodKeys(now, lists...); !slices.Equal(got, test.want) {
				t.Errorf("%s: got %d keys, want %d: %v", test.what, len(got), len(test.want), madeOf(got))
			}
		}
	}
	for what, old := range map[string][]ticketKey{"none": nil, "old ones": {b, c}, "one that is over": {over}} {
		got := goodKeys(now, old)
		if got[0].made != now.Unix() || got[0].secret == [32]byte{} || slices.Contains(old, got[0]) {
			t.Errorf("%s: want a new key first, got %v", what, madeOf(got))
		}
	}
	var many []ticketKey
	for n := range byte(100) {
		many = append(many, key(n, time.Duration(n)*time.Minute))
	}
	if got := goodKeys(now, many); !slices.Equal(got, many[:maxTicketKeys]) {
		t.Errorf("of 100: got %d, want the %d newest", len(got), maxTicketKeys)
	}
}

func reversed(lists [][]ticketKey) [][]ticketKey {
	lists = slices.Clone(lists)
	slices.Reverse(lists)
	return lists
}

func madeOf(keys []ticketKey) []int64 {
	var made []int64
	for _, key := range keys {
		made = append(made, key.made)
	}
	return made
}

// No bit of the file can change unnoticed, nor can its end be missing.
func TestTicketFileIsWhole(t *testing.T) {
	t.Parallel()
	set := ticketSet{sha256.Sum256([]byte("CAs")), goodKeys(time.Unix(1e9+1e5, 0), []ticketKey{{1e9, sha256.Sum256(nil)}})}
	text := set.encode()
	got, whole := parseTickets(text)
	if !whole || got.cas != set.cas || !slices.Equal(got.keys, set.keys) {
		t.Fatalf("what was written is not what is read:\n%s", text)
	}
	if len(text) > maxTicketFile*2/maxTicketKeys {
		t.Errorf("%d bytes for two keys: the bound of the file is too small", len(text))
	}
	for i := range text {
		for bit := range 8 {
			changed := bytes.Clone(text)
			changed[i] ^= 1 << bit
			if _, whole := parseTickets(changed); whole {
				t.Errorf("bit %d of byte %d changed unnoticed", bit, i)
			}
		}
		if _, whole := parseTickets(text[:i]); whole {
			t.Errorf("the first %d bytes count as whole", i)
		}
	}
}

func FuzzParseTickets(f *testing.F) {
	f.Add([]byte{})
	f.Add(ticketSet{}.encode())
	f.Add(ticketSet{sha256.Sum256(nil), []ticketKey{{1e9, sha256.Sum256(nil)}, {0, [32]byte{}}}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		set, whole := parseTickets(data)
		again, ok := parseTickets(set.encode())
		if whole && (!ok || again.cas != set.cas || !slices.Equal(again.keys, set.keys)) {
			t.Errorf("read %d keys, written and read again %d", len(set.keys), len(again.keys))
		}
		if keys := goodKeys(time.Unix(1e9, 0), set.keys); len(keys) == 0 || len(keys) > maxTicketKeys {
			t.Errorf("got %d keys", len(keys))
		}
	})
}
