package ledger

import "busd/schema"

// Name is the service's.
const Name = "Test/Ledger"

// An Up is a numbered message of a client, written down when it is handled.
type Up struct {
	N int64 `bus:"n"`
	// Echo asks for a Down with the same number.
	Echo bool   `bus:"echo"`
	Pad  []byte `bus:"pad"`
}

// MessageName is the name on the wire.
func (Up) MessageName() string { return "Up" }

// An Ask is a numbered request, written down when it is handled, and answered
// with a Got.
type Ask struct {
	N int64 `bus:"n"`
	// Wait is how long its handler takes, in milliseconds.
	Wait int64 `bus:"wait"`
}

// MessageName is the name on the wire.
func (Ask) MessageName() string { return "Ask" }

// A Got answers an Ask, a Push and a Shout.
type Got struct {
	N int64 `bus:"n"`
}

// MessageName is the name on the wire.
func (Got) MessageName() string { return "Got" }

// A Down is a numbered message of the service.
type Down struct {
	N   int64  `bus:"n"`
	Pad []byte `bus:"pad"`
}

// MessageName is the name on the wire.
func (Down) MessageName() string { return "Down" }

// A Push is a request that the service send its client Downs, numbered from 1,
// with Size bytes each, as fast as they go. The answer comes when it begins.
type Push struct {
	Count int64 `bus:"count"`
	Size  int64 `bus:"size"`
}

// MessageName is the name on the wire.
func (Push) MessageName() string { return "Push" }

// A Shout is a request that the service broadcast Downs, as Push says. The answer
// comes when it is done.
type Shout struct {
	Count int64 `bus:"count"`
	Size  int64 `bus:"size"`
	// Pause is how long it rests after each, in milliseconds.
	Pause int64 `bus:"pause"`
}

// MessageName is the name on the wire.
func (Shout) MessageName() string { return "Shout" }

// Schema is the contract.
var Schema = schema.MustNew(Name,
	schema.Of[Up](schema.FromClient), schema.Of[Ask](schema.FromClient),
	schema.Of[Push](schema.FromClient), schema.Of[Shout](schema.FromClient),
	schema.Of[Got](schema.FromService), schema.Of[Down](schema.FromService),
)
