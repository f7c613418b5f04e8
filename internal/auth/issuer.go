package auth

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	jose "github.com/go-jose/go-jose/v4"

	"busd/bus"
)

// MaxKeyFile bounds a file of keys, in bytes.
const MaxKeyFile = 1 << 20

// An Issuer is one whose tokens are accepted.
type Issuer struct {
	// Name is what its tokens say (iss), to the letter. It has no @, which stands
	// between a token's subject and its issuer in names.
	Name string
	// KeyFiles are files with sets of its public keys (JWKS, RFC 7517); at least
	// one. No other issuer's token is believed by them.
	KeyFiles []string
	// Audiences are who its tokens may be made for: one of a token's (aud) must be
	// among them. At least one.
	Audiences []string
	// Algorithms are those that its tokens may be signed with, some of
	// [Algorithms]; none: all of them.
	Algorithms []string
	// GroupClaim is the claim whose value, a string or a list of one string, is the
	// group that a token is good for; empty: none is.
	GroupClaim string
}

type algorithm = jose.SignatureAlgorithm

// kinds are the kind of key that each algorithm needs. All of them have a secret
// that only the issuer knows.
var kinds = map[algorithm]string{
	jose.RS256: kindRSA, jose.RS384: kindRSA, jose.RS512: kindRSA,
	jose.PS256: kindRSA, jose.PS384: kindRSA, jose.PS512: kindRSA,
	jose.ES256: kindP256, jose.ES384: kindP384, jose.ES512: kindP521,
	jose.EdDSA: kindEd25519,
}

// Algorithms returns the names of all algorithms that tokens may be signed
// with, in order.
func Algorithms() []string {
	names := make([]string, 0, len(kinds))
	for alg := range kinds {
		names = append(names, string(alg))
	}
	slices.Sort(names)
	return names
}

// issuer is an Issuer and its keys.
type issuer struct {
	// Fixed at creation.
	Issuer
	algorithms []algorithm

	keys atomic.Pointer[[]key]

	// mu makes reloads one after the other.
	mu   sync.Mutex
	seen [sha256.Size]byte // what the keys were made of
}

func newIssuer(c Issuer) (*issuer, error) {
	fault := func(format string, args ...any) error {
		return bus.Errorf(bus.CodeInvalidArgument, "token issuer "+strings.ReplaceAll(c.Name, "%", "%%")+": "+format, args...)
	}
	switch {
	case c.Name == "":
		return nil, bus.Errorf(bus.CodeInvalidArgument, "a token issuer needs its name, as its tokens say it")
	case strings.Contains(c.Name, "@") || !isText(c.Name):
		return nil, fault("its name has an @ or a control character")
	case len(c.KeyFiles) == 0:
		return nil, fault("it needs a file of keys")
	case len(c.Audiences) == 0 || slices.Contains(c.Audiences, ""):
		return nil, fault("it needs an audience: whom its tokens are made for")
	}
	i := &issuer{Issuer: c}
	if len(c.Algorithms) == 0 {
		c.Algorithms = Algorithms()
	}
	for _, name := range c.Algorithms {
		if kinds[algorithm(name)] == "" {
			return nil, fault("algorithm %q: want some of %s", name, strings.Join(Algorithms(), ", "))
		}
		i.algorithms = append(i.algorithms, algorithm(name))
	}
	if _, err := i.reload(); err != nil {
		return nil, err
	}
	return i, nil
}

// reload reads the files, and tells whether they had changed. On an error
// nothing changes.
func (i *issuer) reload() (changed bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	sum := sha256.New()
	files := make([][]byte, len(i.KeyFiles))
	for n, path := range i.KeyFiles {
		if files[n], err = readKeyFile(path); err != nil {
			return false, err
		}
		part := sha256.Sum256(files[n])
		sum.Write(part[:])
	}
	seen := [sha256.Size]byte(sum.Sum(nil))
	if i.keys.Load() != nil && seen == i.seen {
		return false, nil
	}
	var all []key
	for n, path := range i.KeyFiles {
		if all, err = addKeys(all, files[n]); err != nil {
			return false, fileFault(path, err)
		}
	}
	i.keys.Store(&all)
	i.seen = seen
	return true, nil
}

func readKeyFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // first: to open a pipe would wait
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, fileFault(path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fileFault(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxKeyFile+1))
	if err == nil && len(data) > MaxKeyFile {
		err = errors.New("it is larger than 1 MiB")
	}
	if err != nil {
		return nil, fileFault(path, err)
	}
	return data, nil
}

func fileFault(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err // the path is named already
	}
	return bus.Errorf(bus.CodeFailedPrecondition, "key file %s: %v", path, err)
}
