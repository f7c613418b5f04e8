package model_test

import (
	"busd/schema"
)

// A Note is a one-way message; one that fails ends its connection.
type Note struct {
	ID  int64  `bus:"id"` // of its letter
	Key string `bus:"key"`
	Pad []byte `bus:"pad"`
}

// What else is sent has the same attributes.
type (
	Kept   Note // one that fails leaves its connection
	Wide   Note // some are handled at a time
	State  Note // of class latest
	Blink  Note // of class volatile
	Ask    Note // a request
	Answer Note // and its reply
)

// MessageName is Note's, and so on.
func (Note) MessageName() string   { return "Note" }
func (Kept) MessageName() string   { return "Kept" }
func (Wide) MessageName() string   { return "Wide" }
func (State) MessageName() string  { return "State" }
func (Blink) MessageName() string  { return "Blink" }
func (Ask) MessageName() string    { return "Ask" }
func (Answer) MessageName() string { return "Answer" }

// message is any of them.
type message interface {
	Note | Kept | Wide | State | Blink | Ask | Answer
	schema.Message
}

var contract = schema.MustNew("Test/Model",
	schema.Of[Note](schema.FromBoth),
	schema.Of[Kept](schema.FromBoth),
	schema.Of[Wide](schema.FromBoth),
	schema.Of[State](schema.FromBoth).Latest("key"),
	schema.Of[Blink](schema.FromBoth).Volatile(),
	schema.Of[Ask](schema.FromBoth),
	schema.Of[Answer](schema.FromBoth),
)

// overhead is about what a message takes beside its padding, in bytes on the
// wire.
const overhead = 100

// A kind is what a letter is sent as.
type kind uint8

const (
	note kind = iota
	kept
	wide
	state
	blink
	ask
	kinds
)

// wideAtOnce is how many of Wide a service handles at a time.
const wideAtOnce = 3

// message is the letter as it is sent.
func (l *letter) message() schema.Message {
	n := Note{ID: l.id, Key: l.key, Pad: make([]byte, l.pad)}
	switch l.kind {
	case kept:
		return Kept(n)
	case wide:
		return Wide(n)
	case state:
		return State(n)
	case blink:
		return Blink(n)
	case ask:
		return Ask(n)
	}
	return n
}
