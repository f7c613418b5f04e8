package msgclient

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	"busd/bus"
	"busd/internal/wire"
	"busd/schema"
)

// contractsByText are the contracts in use in this process, by the whole text of their
// documents, documentation included.
var contractsByText contractShelf

// A contractShelf keeps contracts for as long as anybody uses them, so that the many
// clients of one service share one. Measured: to read it was a third of what
// connecting costs a client.
type contractShelf struct {
	mu sync.Mutex
	// Guarded by mu.
	contracts map[string]weak.Pointer[wire.Contract]
}

// get returns what is there, or nil.
func (s *contractShelf) get(key string) *wire.Contract {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contracts[key].Value()
}

func (s *contractShelf) put(key string, c *wire.Contract) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contracts[key].Value() == c {
		return
	}
	if s.contracts == nil {
		s.contracts = map[string]weak.Pointer[wire.Contract]{}
	}
	s.contracts[key] = weak.Make(c)
	runtime.AddCleanup(c, s.forget, key)
}

// forget is called some time after the last client has let go of a contract.
func (s *contractShelf) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contracts[key].Value() == nil { // else there is another
		delete(s.contracts, key)
	}
}

// contractOf returns the contract of a document, as [schema.Parse] reads it.
func contractOf(document string) (*wire.Contract, error) {
	if shared := contractsByText.get(document); shared != nil {
		return shared, nil
	}
	parsed, err := schema.Parse([]byte(document))
	if err != nil {
		return nil, err
	}
	c := wire.Compile(parsed)
	contractsByText.put(document, c)
	return c, nil
}

// accept takes the contract of a welcome, or the one held already, and sees
// whether this program fits it.
func (c *Client) accept(w *wire.WelcomeFrame, known *wire.Contract) (*wire.Contract, error) {
	contract := known
	if w.Contract != "" {
		read, err := contractOf(w.Contract)
		if err != nil {
			return nil, bus.Wrap(bus.CodeProtocolError, err, "the welcome's contract cannot be read")
		}
		contract = read
	}
	if contract == nil || contract.Schema().Fingerprint() != w.Fingerprint {
		return nil, bus.Errorf(bus.CodeProtocolError, "the welcome's contract is missing, or is not the one its fingerprint says")
	}
	if c.cfg.Schema != nil {
		if err := fits(c.cfg.Schema, contract.Schema()); err != nil {
			return nil, err
		}
	}
	if err := c.handlers.fit(contract); err != nil {
		return nil, err
	}
	return contract, nil
}

// A fitting is a program's contract and a service's that it fits.
type fitting struct{ mine, theirs weak.Pointer[schema.Schema] }

// lastFitting is the last that was found: of the clients of a process most have the same.
var lastFitting atomic.Pointer[fitting]

// fits names every difference that would break this program.
func fits(mine, theirs *schema.Schema) error {
	if mine.Fingerprint() == theirs.Fingerprint() {
		return nil
	}
	both := fitting{weak.Make(mine), weak.Make(theirs)}
	if last := lastFitting.Load(); last != nil && *last == both {
		return nil
	}
	var broken []string
	for _, change := range schema.Diff(mine, theirs) {
		if change.Breaking {
			broken = append(broken, change.String())
		}
	}
	if len(broken) == 0 {
		lastFitting.Store(&both)
		return nil
	}
	return bus.Errorf(bus.CodeSchemaMismatch, "the service's contract does not fit this client: %s", strings.Join(broken, "; "))
}
