package model_test

import (
	"testing"
)

// A canary is a fault that a history only pretends to see, so that its verdict
// must find it.
type canary uint8

const (
	none canary = iota
	handledTwice
	lostInSilence
	outOfOrder
	answeredOnly
	wrongAnswer
	droppedTwice
	goneTwice
	neverGone
	goneBeforeDrop
	silentClient
	canaries
)

var canaryNames = [canaries]string{
	"none", "a message is handled twice", "a message is lost in silence", "a message passes another",
	"a request is answered and not handled", "a request gets another's answer", "OnDrop runs twice", "OnGone runs twice",
	"OnGone does not run", "OnGone runs before OnDrop", "a client's OnDrop does not run",
}

// canaryHistories is after how many histories each canary must have been found.
const canaryHistories = 30

// TestModelFindsCanaries plays histories that pretend that something went wrong:
// what the model says of others is worth what it finds here.
func TestModelFindsCanaries(t *testing.T) {
	certs := newCredentials(t)
	for c := none + 1; c < canaries; c++ {
		found := false
		for seed := uint64(1); seed <= canaryHistories && !found; seed++ {
			found = len(playOne(t, seed, certs, c, &tally{})) > 0
		}
		if !found {
			t.Errorf("%s: %d histories found nothing wrong", canaryNames[c], canaryHistories)
		}
	}
}

// pretends tells, once in a history, that now is the time for a canary.
func (b *ledger) pretendsLocked(c canary) bool {
	if b.canary != c || b.sung {
		return false
	}
	b.sung = true
	return true
}
