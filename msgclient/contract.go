package msgclient

import (
	"runtime"
	"strings"
	"sync"
	"weak"

	"busd/bus"
	"busd/internal/wire"
	"busd/schema"
)

// contracts are those that are in use in this process.
var contracts = contractPool{byText: map[string]weak.Pointer[wire.Contract]{}}

// A contractPool keeps what it has read of a contract's document for as long as
// anybody uses it: clients of one service share it, as they get the same one. It is
// found by its whole text, documentation included, and not by what a service says
// of it.
type contractPool struct {
	mu sync.Mutex
	// Guarded by mu.
	byText map[string]weak.Pointer[wire.Contract]
}

// of returns the contract of a document, as [schema.Parse] reads it.
func (p *contractPool) of(document string) (*wire.Contract, error) {
	if shared := p.get(document); shared != nil {
		return shared, nil
	}
	parsed, err := schema.Parse([]byte(document)) // without the lock: it may be long
	if err != nil {
		return nil, err
	}
	return p.put(document, wire.Compile(parsed)), nil
}

func (p *contractPool) get(document string) *wire.Contract {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byText[document].Value()
}

// put returns the contract that all are to use from now on: another client may have
// read the same document meanwhile.
func (p *contractPool) put(document string, c *wire.Contract) *wire.Contract {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first := p.byText[document].Value(); first != nil {
		return first
	}
	p.byText[document] = weak.Make(c)
	runtime.AddCleanup(c, p.forget, document)
	return c
}

// forget is called some time after the last client has let go of a contract.
func (p *contractPool) forget(document string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byText[document].Value() == nil { // else it came again meanwhile
		delete(p.byText, document)
	}
}

// accept takes the contract of a welcome, or the one held already, and sees
// whether this program fits it.
func (c *Client) accept(w *wire.WelcomeFrame, known *wire.Contract) (*wire.Contract, error) {
	contract := known
	if w.Contract != "" {
		read, err := contracts.of(w.Contract)
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

// fits names every difference that would break this program.
func fits(mine, theirs *schema.Schema) error {
	if mine.Fingerprint() == theirs.Fingerprint() {
		return nil
	}
	var broken []string
	for _, change := range schema.Diff(mine, theirs) {
		if change.Breaking {
			broken = append(broken, change.String())
		}
	}
	if len(broken) == 0 {
		return nil
	}
	return bus.Errorf(bus.CodeSchemaMismatch, "the service's contract does not fit this client: %s", strings.Join(broken, "; "))
}
