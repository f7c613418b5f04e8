package mtls_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

const day = 24 * time.Hour

// A farm is what a server keeps on disk, and a clock that the server and its
// clients share.
type farm struct {
	desk
	p     pki
	path  string // of the ticket keys
	clock time.Duration
	seen  map[string]bool // the keys that were ever in the file

	mu   sync.Mutex
	told []string // what was said of the file
}

func newFarm(t testing.TB) *farm {
	t.Helper()
	p := newPKIFor(t, "test CA", 60*day)
	f := &farm{desk: newDesk(t, p), p: p, seen: map[string]bool{}}
	f.path = filepath.Join(f.dir, "tickets")
	f.files.Tickets = mtls.Tickets{File: f.path, Warn: func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.told = append(f.told, err.Error())
	}}
	t.Cleanup(func() { f.keptSecret(t, f.warnings()...) })
	return f
}

func newPKIFor(t testing.TB, name string, validity time.Duration) pki {
	t.Helper()
	ca, err := mtls.NewAuthority(name, validity)
	if err != nil {
		t.Fatal(err)
	}
	p := pki{ca: ca}
	p.server = p.issue(t, mtls.Request{Name: "server", DNS: []string{"localhost"}, Server: true, Validity: validity})
	p.client = p.issue(t, mtls.Request{Name: "alice", Client: true, Validity: validity})
	return p
}

func (f *farm) warnings() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told)
}

func (f *farm) now() time.Time { return time.Now().Add(f.clock) }

func (f *farm) start(t testing.TB) *mtls.Source {
	t.Helper()
	s, err := mtls.NewSource(f.files, mtls.Policy{Now: f.now})
	if err != nil {
		t.Fatal(err)
	}
	f.keys(t)
	return s
}

// refused starts, and returns why that does not work.
func (f *farm) refused(t testing.TB) string {
	t.Helper()
	_, err := mtls.NewSource(f.files, mtls.Policy{Now: f.now})
	if bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Fatalf("got %v, want failed_precondition", err)
	}
	f.keptSecret(t, err.Error())
	return err.Error()
}

// An agent is a client that remembers its TLS sessions.
type agent struct {
	creds *mtls.Credentials
	// frozen agents keep the ticket that they have, and offer it for ever.
	frozen bool
}

func (f *farm) agent() *agent {
	a := &agent{}
	var stopped time.Time
	a.creds = &mtls.Credentials{Certificate: &f.p.client, CAs: f.p.cas(), Now: func() time.Time {
		if !a.frozen {
			stopped = f.now()
		}
		return stopped
	}}
	return a
}

func (a *agent) config(t testing.TB) *tls.Config {
	t.Helper()
	conf := clientConfig(t, a.creds)
	if a.frozen {
		conf.ClientSessionCache = lastTicket{conf.ClientSessionCache}
	}
	return conf
}

// lastTicket takes no other tickets.
type lastTicket struct{ tls.ClientSessionCache }

func (lastTicket) Put(string, *tls.ClientSessionState) {}

// visit connects, and tells whether that resumed a TLS session. In any case
// the server has verified that it is alice.
func visit(t testing.TB, s *mtls.Source, a *agent) (resumed bool) {
	t.Helper()
	m := meet(t, s.Config(), a.config(t))
	m.fine(t)
	peer, err := mtls.Naming{}.Peer(m.server)
	if err != nil || peer.Name != "cn:alice" || len(m.server.VerifiedChains) != 1 {
		t.Fatalf("got %q with %d chains, %v, want cn:alice with one", peer.Name, len(m.server.VerifiedChains), err)
	}
	if m.server.DidResume != m.client.DidResume {
		t.Fatalf("the server resumed: %t, the client: %t", m.server.DidResume, m.client.DidResume)
	}
	return m.server.DidResume
}

func wantResumed(t testing.TB, s *mtls.Source, a *agent, want bool, when string) {
	t.Helper()
	if got := visit(t, s, a); got != want {
		t.Fatalf("%s: resumed: got %t, want %t", when, got, want)
	}
}

func (f *farm) text(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// keys returns the keys in the file, newest first.
func (f *farm) keys(t testing.TB) []string {
	t.Helper()
	var keys []string
	for line := range strings.Lines(f.text(t)) {
		if words := strings.Fields(line); words[0] == "key" {
			keys = append(keys, words[2])
			f.seen[words[2]] = true
		}
	}
	return keys
}

// keptSecret looks for parts of keys, in each form that they could take.
func (f *farm) keptSecret(t testing.TB, texts ...string) {
	t.Helper()
	for key := range f.seen {
		raw, err := hex.DecodeString(key)
		if err != nil {
			t.Fatalf("a key that is not hexadecimal")
		}
		for _, text := range texts {
			for _, form := range []string{key[:8], key[len(key)-8:], string(raw[:4]), base64.StdEncoding.EncodeToString(raw[:6])} {
				if strings.Contains(text, form) {
					t.Errorf("part of a key was told")
				}
			}
		}
	}
}
