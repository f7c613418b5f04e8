package session

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

var (
	replaySeed = flag.Uint64("seed", 0, "replay one history of TestModel; 0: all")
	histories  = flag.Int("histories", modelHistories, "how many histories TestModel plays")
)

// TestModel plays random histories between two sessions that are joined by lines,
// each two queues of bytes, which are cut and moved as it comes. After each step
// it looks whether both ends still keep what they promise.
func TestModel(t *testing.T) {
	t.Parallel()
	if *replaySeed != 0 {
		if err := playHistory(*replaySeed, &whole); err != nil {
			t.Errorf("seed %d: %v", *replaySeed, err)
		}
		return
	}
	n := uint64(*histories)
	if testing.Short() {
		n = min(n, 2000)
	}
	for seed := uint64(1); seed <= n; seed++ {
		if err := playHistory(seed, &whole); err != nil {
			t.Fatalf("seed %d: %v\nreplay with: go test ./internal/session -run 'TestModel$' -seed=%d", seed, err, seed)
		}
	}
}

func playHistory(seed uint64, d *doors) (err error) {
	h := newHistory(seed, d)
	defer func() {
		if v := recover(); v != nil && err == nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return h.play()
}

// A history is what happens to a client and a server.
type history struct {
	rng    *rand.Rand
	ends   [2]*player
	hellos []*line // on which a hello is under way
	dialed *line   // whose welcome the client waits for
	order  int     // of the newest line
	heard  int     // of the newest line on which the server heard the client
	cuts   int     // one step of so many is a cut; 0: none
	moves  int     // one step of so many begins a move; 0: none
	slow   int     // one step of so many brings a resume further
	buf    []byte  // what is written now
}

func newHistory(seed uint64, d *doors) *history {
	h := &history{rng: rand.New(rand.NewPCG(seed, 0))}
	for i, name := range [2]string{"client", "server"} {
		h.ends[i] = &player{
			name: name, end: i, doors: d,
			grant: 1 << (8 + h.rng.IntN(5)), buffer: 1 << (8 + h.rng.IntN(5)),
		}
	}
	h.ends[0].peer, h.ends[1].peer = h.ends[1], h.ends[0]
	h.cuts = [4]int{0, 80, 30, 10}[h.rng.IntN(4)]
	h.moves = [4]int{0, 40, 20, 10}[h.rng.IntN(4)]
	h.slow = [3]int{2, 5, 10}[h.rng.IntN(3)]
	h.begin()
	return h
}

// begin joins two new sessions by a line. Their numbers begin where the next
// ones may take more bytes.
func (h *history) begin() {
	starts := [4]uint64{0, 115, 240, 1<<16 - 15}
	one, other := starts[h.rng.IntN(4)], starts[h.rng.IntN(4)]
	h.ends[client].begin(one, other)
	h.ends[server].begin(other, one)
	h.order++
	h.hellos, h.dialed, h.heard = nil, nil, h.order
	l := &line{order: h.order, greeted: true}
	h.ends[client].line, h.ends[server].line = l, l
}

// play plays one session after another: most histories have one.
func (h *history) play() error {
	for {
		for range 20 + h.rng.IntN(80) {
			if err := h.step(); err != nil {
				return err
			}
		}
		fate := h.rng.IntN(8)
		switch fate {
		case 0:
			if err := h.lose(); err != nil {
				return err
			}
			continue
		case 1, 2:
			if err := h.settle(true); err != nil {
				return err
			}
			if err := h.handOver(); err != nil {
				return err
			}
			continue
		}
		return h.settle(false)
	}
}

func (h *history) step() error {
	if oneOf(h.rng, h.cuts) {
		h.cut([3]*line{h.ends[client].line, h.ends[server].line, h.dialed}[h.rng.IntN(3)])
	}
	pause := h.moves
	switch {
	case h.ends[client].line != nil:
	case h.dialed == nil:
		pause = 3
	default:
		pause = 30 // it gives up waiting for a welcome
	}
	if oneOf(h.rng, pause) {
		h.dial()
	}
	if (h.dialed != nil || len(h.hellos) > 0) && oneOf(h.rng, h.slow) {
		if err := h.connect(); err != nil {
			return err
		}
	}
	p := h.ends[h.rng.IntN(2)]
	if err := h.act(p); err != nil {
		return err
	}
	return p.check()
}

// oneOf is true one time of n; never if n is 0.
func oneOf(rng *rand.Rand, n int) bool { return n > 0 && rng.IntN(n) == 0 }

// act is what one end does at a time.
func (h *history) act(p *player) error {
	switch h.rng.IntN(16) {
	case 0, 1, 2, 3:
		return h.put(p)
	case 4:
		return h.withdraw(p)
	case 5, 6, 7, 8:
		return h.write(p, 1+h.rng.IntN(600), h.rng.IntN(3) == 0)
	case 9, 10, 11, 12:
		return h.read(p, 1+h.rng.IntN(4))
	case 13:
		h.handle(p, 1+h.rng.IntN(3))
	case 14:
		if p.s.Unacked() {
			p.s.AskAck()
		}
	case 15:
		if oneOf(h.rng, 8) {
			p.s.Hold()
			p.held = true
		}
	}
	return nil
}

func (h *history) put(p *player) error {
	// At most a quarter of the credit, as the bus has it.
	room := min(h.ends[0].grant, h.ends[1].grant) / 4
	padding := h.rng.IntN(max(1, room-32))
	switch h.rng.IntN(6) {
	case 0:
		return p.put(waitAnswer, 0, padding)
	case 1:
		return p.put(waitAck, 0, padding)
	case 2, 3:
		return p.put(waitNothing, 1+h.rng.IntN(keys), padding)
	}
	return p.put(waitNothing, 0, padding) // for want of room nothing is put, as with class volatile
}

func (h *history) withdraw(p *player) error {
	for _, l := range p.letters {
		if l.waits == waitAnswer && !l.back && !l.settled && h.rng.IntN(3) == 0 {
			return p.withdraw(l)
		}
	}
	return nil
}

// handle releases the oldest frames; requests are answered, and some that ask
// nothing fail.
func (h *history) handle(p *player, n int) {
	for ; n > 0 && len(p.waits) > 0; n-- {
		w := p.waits[0]
		if (w.asks || h.rng.IntN(8) == 0) && !p.answer(w.n) {
			return
		}
		p.waits = p.waits[1:]
		p.inUse -= Cost(w.size)
		p.released += Cost(w.size)
		p.s.Release(w.size)
	}
}
