package msgclient

import (
	"strings"

	"busd/bus"
	"busd/internal/wire"
	"busd/schema"
)

// accept takes the contract of a welcome, or the one held already, and sees
// whether this program fits it.
func (c *Client) accept(w *wire.WelcomeFrame, known *schema.Schema) (*wire.Contract, error) {
	contract := known
	if w.Contract != "" {
		parsed, err := schema.Parse([]byte(w.Contract))
		if err != nil {
			return nil, bus.Wrap(bus.CodeProtocolError, err, "the welcome's contract cannot be read")
		}
		contract = parsed
	}
	if contract == nil || contract.Fingerprint() != w.Fingerprint {
		return nil, bus.Errorf(bus.CodeProtocolError, "the welcome's contract is missing, or is not the one its fingerprint says")
	}
	if c.cfg.Schema != nil {
		if err := fits(c.cfg.Schema, contract); err != nil {
			return nil, err
		}
	}
	compiled := wire.Compile(contract)
	if err := c.handlers.fit(compiled); err != nil {
		return nil, err
	}
	return compiled, nil
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
