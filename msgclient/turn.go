package msgclient

import "sync/atomic"

// A turn is what one handler at a time has. Nearly always it is there to be taken,
// and costs no more than two atomic operations: a channel with a token in it was an
// eighth of what a client spent on a message.
type turn struct {
	state atomic.Int32
	// given holds a token for one who waits, once the turn may be there to be taken.
	given chan struct{}
}

const (
	turnFree int32 = iota
	turnTaken
	turnAwaited // taken, and somebody may wait for it
)

func newTurn() turn { return turn{given: make(chan struct{}, 1)} }

// take waits until the turn is there to be taken, or done is closed: then it returns
// false.
func (t *turn) take(done <-chan struct{}) bool {
	if t.tryTake() {
		return true
	}
	// Who has waited leaves it awaited: others may wait still.
	for t.state.Swap(turnAwaited) != turnFree {
		select {
		case <-t.given:
		case <-done:
			return false
		}
	}
	return true
}

// tryTake is take that does not wait.
func (t *turn) tryTake() bool { return t.state.CompareAndSwap(turnFree, turnTaken) }

// giveBack ends the turn.
func (t *turn) giveBack() {
	if t.state.Swap(turnFree) == turnAwaited {
		select {
		case t.given <- struct{}{}:
		default: // there is a token for somebody already
		}
	}
}
