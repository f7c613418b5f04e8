package msgclient

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnIsOnes: whoever comes and gives up meanwhile, one at a time has it, and
// nobody waits for ever.
func TestTurnIsOnes(t *testing.T) {
	t.Parallel()
	for range 20 {
		turn := newTurn()
		var all sync.WaitGroup
		has, took := 0, 0
		for i := range 8 {
			all.Go(func() {
				for n := range 200 {
					ctx, cancel := context.WithCancel(t.Context())
					if i%2 == 0 && n%3 == 0 {
						time.AfterFunc(time.Duration(n)*time.Microsecond, cancel)
					}
					if turn.take(ctx.Done()) {
						if has++; has != 1 { // the race detector sees it too
							t.Errorf("%d have the turn", has)
						}
						took++
						has--
						turn.giveBack()
					}
					cancel()
				}
			})
		}
		all.Wait()
		if !turn.take(nil) || took < 800 {
			t.Fatalf("the turn was taken %d times", took)
		}
	}
}

func TestTurnIsGiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turn := newTurn()
		turn.take(nil)
		gone, cancel := context.WithCancel(t.Context())
		results := make(chan bool, 3)
		for _, ctx := range []context.Context{gone, t.Context(), t.Context()} {
			go func() { results <- turn.take(ctx.Done()) }()
		}
		synctest.Wait()
		cancel()
		if <-results {
			t.Error("who gave up has the turn")
		}
		for range 2 {
			turn.giveBack()
			synctest.Wait()
			if len(results) != 1 || !<-results {
				t.Fatal("the turn was not given to exactly one who waits")
			}
		}
	})
}

// TestTurnDoesNotAllocate: it is taken for each message.
func TestTurnDoesNotAllocate(t *testing.T) {
	turn := newTurn()
	if got := testing.AllocsPerRun(100, func() { turn.take(nil); turn.giveBack() }); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}
