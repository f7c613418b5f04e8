package mtls

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"busd/bus"
)

// The life of a key of session tickets.
const (
	// TicketRotation is how long a key encrypts new tickets; then another one
	// is made.
	TicketRotation = 24 * time.Hour
	// TicketLifetime is how long a key decrypts tickets, counted from when it
	// was made; then it is forgotten.
	TicketLifetime = 7 * 24 * time.Hour
)

// Bounds of the file.
const (
	// maxTicketKeys is one for each day of a key's life, and room for those
	// that several processes made at the same moment. Each costs a stranger's
	// forged ticket one more hash.
	maxTicketKeys = 16
	// maxTicketFile is several times what these keys take.
	maxTicketFile = 8 << 10
)

// Tickets says where a [Source] keeps the keys of its TLS session tickets. The
// zero value keeps them in memory: after a restart nobody resumes.
//
// With a file, sessions are resumed across restarts. The newest key encrypts
// ([TicketRotation]), the older ones decrypt ([TicketLifetime]). The keys are
// thrown away, all of them, when the set of CAs is another one than they were
// made for.
type Tickets struct {
	// File is made, with mode 0600, if it is not there; its directory must be
	// there. Whoever can read it can pass for any client, with a ticket of his
	// own making: it needs the care that a CA's key needs.
	//
	// Several processes may use one file, such as one that drains and the one
	// that follows it: each adds its keys to those that are there, and takes
	// theirs at its next look ([Source.Run]).
	File string
	// Warn is told what is wrong with the file when that stops nothing: it was
	// damaged and is made anew; or, once the Source exists, it cannot be used,
	// so that the keys are in memory until it can. The same error again and
	// again is told once. nil: nobody is told. It is called by NewSource and
	// Reload, and must not call them.
	Warn func(err error)
}

// Check looks at the file, and writes nothing: the error is that of
// [NewSource], unless it is about writing. A file that is not there yet, or
// damaged, is none.
func (t Tickets) Check() error {
	if t.File == "" {
		return nil
	}
	_, err := readTickets(t.File)
	return err
}

// A ticketKeeper keeps keys in a file that other processes use too. There is
// no lock that a stopped process could hold: whoever looks adds what it has to
// what it finds, and writes the file unless it has found just that. A key that
// a race swept out of the file comes back when its owner looks again, and is
// forgotten by its age alone, so that all of them end with the same keys.
//
// A keeper is used by one goroutine at a time.
type ticketKeeper struct {
	// Fixed at creation.
	path string
	warn func(err error)
	now  func() time.Time

	cas  [sha256.Size]byte
	keys []ticketKey // newest first
	// config encrypts and decrypts with the keys.
	config *tls.Config
	// begun: the file was written for these CAs. Until then what it holds for
	// others is overwritten, from then on it is left alone: who learned of new
	// CAs last is right, and who did not yet must not destroy its keys.
	begun bool
	told  string // the last error that was told, of those that go on
}

func newTicketKeeper(t Tickets, now func() time.Time) *ticketKeeper {
	k := &ticketKeeper{path: t.File, warn: t.Warn, now: now}
	if k.warn == nil {
		k.warn = func(error) {}
	}
	return k
}

// begin takes the keys that the file holds for these CAs, or new ones, and
// gives them to config. It writes the file in any case: one that cannot be
// written is an error now, and not in a day. After an error the keys are in
// memory.
func (k *ticketKeeper) begin(cas [sha256.Size]byte, config *tls.Config) error {
	k.cas, k.config, k.keys, k.begun = cas, config, nil, false
	return k.sync()
}

// keep looks at the file, and makes and forgets keys as time goes by.
func (k *ticketKeeper) keep() {
	err := k.sync()
	switch {
	case err == nil:
		k.told = ""
	case err.Error() != k.told:
		k.told = err.Error()
		k.warn(err)
	}
}

func (k *ticketKeeper) sync() error {
	before := k.keys
	// Once the file has them: a ticket of a key that was lost is worth nothing.
	defer func() {
		if !slices.Equal(before, k.keys) {
			k.config.SetSessionTicketKeys(secretsOf(k.keys))
		}
	}()
	there, err := k.read()
	if err != nil {
		k.keys = goodKeys(k.now(), k.keys)
		return err
	}
	k.keys = goodKeys(k.now(), k.keys, there.keys)
	if k.begun && there.cas == k.cas && slices.Equal(there.keys, k.keys) {
		return nil
	}
	data := ticketSet{k.cas, k.keys}.encode()
	if err := replaceFile(File{Path: k.path, Data: data, Secret: true}); err != nil {
		return broken(nil, "cannot write session ticket file "+bus.AsError(err).Reason)
	}
	k.begun = true
	return nil
}

// read returns what the file holds for these CAs: nothing, if there is none or
// it is worth nothing.
func (k *ticketKeeper) read() (ticketSet, error) {
	data, err := readTickets(k.path)
	if err != nil || data == nil {
		return ticketSet{}, err
	}
	set, whole := parseTickets(data)
	switch {
	case !whole:
		k.warn(broken(nil, "session ticket file "+k.path+": it is damaged, and made anew"))
	case set.cas == k.cas:
		return set, nil
	case k.begun:
		return ticketSet{}, broken(nil, "session ticket file "+k.path+
			": another process has written it for another set of CAs: the keys of this one stay in memory")
	}
	return ticketSet{}, nil
}

// readTickets returns the file's bytes, nil if there is none. It refuses what
// others could read or replace, and what was surely written for another
// purpose.
func readTickets(path string) ([]byte, error) {
	name := "session ticket file " + path
	if err := checkTicketDir(filepath.Dir(path), name); err != nil {
		return nil, err
	}
	// Not through a symbolic link, which would be replaced; and opening a pipe
	// would wait.
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, broken(plainCause(err), name)
	case !info.Mode().IsRegular():
		return nil, broken(errors.New("it is not a regular file"), name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, broken(plainCause(err), name)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, broken(plainCause(err), name)
	}
	if err := checkSecretMode(info, name, path); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxTicketFile))
	if err != nil {
		return nil, broken(plainCause(err), name)
	}
	if block, _ := pem.Decode(data); block != nil {
		return nil, broken(nil, name+": it holds a "+strings.ToLower(block.Type)+", and would be overwritten: want a file for ticket keys alone")
	}
	return data, nil
}

func checkTicketDir(dir, name string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return broken(nil, name+": there is no directory "+dir+": make it, with mode 700")
	case err != nil:
		return broken(plainCause(err), name)
	case !info.IsDir():
		return broken(nil, name+": "+dir+" is no directory")
	}
	// In one with the sticky bit nobody replaces the files of others.
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return broken(nil, fmt.Sprintf("%s: everybody may replace files in its directory (mode %04o): chmod o-w %s", name, info.Mode().Perm(), dir))
	}
	return nil
}

// A ticketKey is one key and when it was made, in seconds since 1970.
type ticketKey struct {
	made   int64
	secret [32]byte
}

// goodKeys returns the keys of all lists that are good now, newest first,
// with a new one before them if none is new enough to encrypt. The order of
// the lists and of what is in them does not matter.
func goodKeys(now time.Time, lists ...[]ticketKey) []ticketKey {
	made := map[[32]byte]int64{}
	for _, key := range slices.Concat(lists...) {
		// What was made in the future was made while the clock was wrong; it
		// would live too long.
		at := min(key.made, now.Unix())
		if other, twice := made[key.secret]; twice {
			at = min(at, other)
		}
		made[key.secret] = at
	}
	age := func(key ticketKey) time.Duration { return now.Sub(time.Unix(key.made, 0)) }
	keys := make([]ticketKey, 0, len(made)+1)
	for secret, at := range made {
		if key := (ticketKey{at, secret}); age(key) < TicketLifetime {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b ticketKey) int {
		return cmp.Or(cmp.Compare(b.made, a.made), bytes.Compare(a.secret[:], b.secret[:]))
	})
	if len(keys) == 0 || age(keys[0]) >= TicketRotation {
		key := ticketKey{made: now.Unix()}
		_, _ = rand.Read(key.secret[:]) // it never fails
		keys = slices.Insert(keys, 0, key)
	}
	return keys[:min(len(keys), maxTicketKeys)]
}

func secretsOf(keys []ticketKey) [][32]byte {
	secrets := make([][32]byte, len(keys))
	for i, key := range keys {
		secrets[i] = key.secret
	}
	return secrets
}

// A ticketSet is what the file holds: the hash of a set of CAs, and keys.
type ticketSet struct {
	cas  [sha256.Size]byte
	keys []ticketKey
}

// encode returns the text of the file:
//
//	busd session ticket keys, version 1: whoever can read this can pass for any client
//	cas <hash of the set of CAs>
//	key <when it was made> <the key>
//	sum <hash of the lines above>
//
// with a line for each key, and all bytes in hexadecimal.
func (s ticketSet) encode() []byte {
	text := []byte("busd session ticket keys, version 1: whoever can read this can pass for any client\n")
	text = fmt.Appendf(text, "cas %x\n", s.cas)
	for _, key := range s.keys {
		text = fmt.Appendf(text, "key %s %x\n", time.Unix(key.made, 0).UTC().Format(time.RFC3339), key.secret)
	}
	return fmt.Appendf(text, "sum %x\n", sha256.Sum256(text))
}

// parseTickets reads what encode writes. It says whether data is that, to the
// last byte, and not why it is not: parts of it are secret.
func parseTickets(data []byte) (set ticketSet, whole bool) {
	for line := range strings.Lines(string(data)) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch kind {
		case "cas":
			set.cas = unhex(rest)
		case "key":
			made, secret, _ := strings.Cut(rest, " ")
			at, _ := time.Parse(time.RFC3339, made)
			set.keys = append(set.keys, ticketKey{at.Unix(), unhex(secret)})
		}
	}
	return set, bytes.Equal(set.encode(), data)
}

// unhex returns zeros for what is not the text of 32 bytes.
func unhex(text string) (b [32]byte) {
	if data, err := hex.DecodeString(text); err == nil && len(data) == len(b) {
		b = [32]byte(data)
	}
	return b
}
