package model_test

// A canary is a fault of the ledger's own, which it must find.
type canary uint8

const (
	none canary = iota
	handledTwice
	lostInSilence
)

// canaryLetter is the letter that it happens to.
const canaryLetter = 3
