package link

import (
	"busd/internal/wire"
	"busd/schema"
)

// The contract of the tests: either end may say anything.
type note struct {
	ID   int64  `bus:"id"`
	Text string `bus:"text"`
}

func (note) MessageName() string { return "Note" }

type wide struct {
	ID int64 `bus:"id"`
}

func (wide) MessageName() string { return "Wide" }

// A state replaces an older one of its ID that was not sent yet.
type state struct {
	ID   int64  `bus:"id"`
	Text string `bus:"text"`
}

func (state) MessageName() string { return "State" }

// A blink may be dropped.
type blink struct {
	ID int64 `bus:"id"`
}

func (blink) MessageName() string { return "Blink" }

var contract = wire.Compile(schema.MustNew("Test/Link",
	schema.Of[note](schema.FromBoth), schema.Of[wide](schema.FromBoth),
	schema.Of[state](schema.FromBoth).Latest("id"), schema.Of[blink](schema.FromBoth).Volatile()))

func msg(name string) *wire.Message {
	m, ok := contract.Message(name)
	if !ok {
		panic("no message " + name)
	}
	return m
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func dataFrame(id int64, text string) []byte {
	return must(wire.AppendData(nil, msg("Note"), note{ID: id, Text: text}, wire.DataOptions{}))
}

func stateFrame(id int64, text string) []byte {
	return must(wire.AppendData(nil, msg("State"), state{ID: id, Text: text}, wire.DataOptions{}))
}

func blinkFrame(id int64) []byte {
	return must(wire.AppendData(nil, msg("Blink"), blink{ID: id}, wire.DataOptions{}))
}

func ackedFrame(id int64) []byte {
	return must(wire.AppendData(nil, msg("Note"), note{ID: id}, wire.DataOptions{AckAtOnce: true}))
}

func requestFrame(id int64, text string) []byte {
	return must(wire.AppendRequest(nil, msg("Note"), note{ID: id, Text: text}, 0))
}

var unpackNote = func() func([]byte) (note, error) {
	u, err := wire.UnpackerFor[note](msg("Note"))
	if err != nil {
		panic(err)
	}
	return u
}()
