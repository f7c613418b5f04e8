package link

import (
	"context"
	"time"
)

// patience is how long what handlers sent may wait for the reader to write it: so
// often is looked. It is also how closely messages must follow each other for the
// reader to handle them.
const patience = 2 * time.Millisecond

// looks is how often nothing may be found to have gone on before another goroutine
// reads. With fewer a busy machine, which lets threads wait for as long, would be taken
// for a handler that does.
const looks = 4

// brisk is how many messages a reader must handle between two looks not to be taken
// for one whose handlers take their time: as much as a peer's credit allows is handled
// within two seconds then, and what comes behind it is not late.
const brisk = 16

// readsOn is how long handlers, or a write, may keep the reader from reading.
const readsOn = (looks + 1) * patience

// shyTime is for how long a reader only reads after a handler took its time: others
// may well do so too, and what comes behind them is not to wait each time.
const shyTime = time.Second

// maxCorked is how many frames may wait for the reader to write them: with many more
// the peer has nothing to do meanwhile. Measured with 16 to 256: with 32 and 64 it was a
// little slower, with 256 no faster.
const maxCorked = 128

// fullCork is how many frames the reader writes although there is more to read: so many
// keep the peer busy meanwhile.
const fullCork = 64

// inlineBatches is how many WebSocket messages a reader writes before another
// goroutine writes on.
const inlineBatches = 4

// inline is what readers do by themselves while messages follow each other closely:
// they handle what they have read, and write what was sent meanwhile, before they
// read on. Measured: a goroutine that is handed each message, and one more that
// writes, were half of what a round trip costs. A handler may take its time all the
// same, and a peer may take nothing: then the goroutine that is held up is the reader
// no more, and another reads on where it was. It is guarded by the stream's mu.
type inline struct {
	ended  time.Time   // when a deliverer last had nothing more to handle
	watch  *time.Timer // nil: there was never one
	active bool        // it is set; else readers only read
	moved  bool        // the reader did something since the watch last looked
	steps  int         // messages that it handled since then
	still  int         // how often it has looked since something did
	shy    time.Time   // until then readers only read; zero: there is no such time
	reader *Link       // whose reader has read something, and has not come back to read more or has left something; nil: none
	away   bool        // it handles or writes, and its link knows how to read on
	corked int         // frames that wait for it to write them
}

// handle handles what the reader has read, and writes what was sent meanwhile, if
// there is nothing more to read at once. rest and err are with what it would read on.
// It returns false if another goroutine reads by now.
func (l *Link) handle(rest []byte, err error) (reads bool) {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	in := &s.inline
	if !l.handlesLocked() {
		s.deliverLocked()
		if in.reader != l {
			return true
		}
	}
	l.rest, l.failed = rest, err
	in.reader, in.away = l, true
	turn, leaves, returned := l.turn, false, false
	defer func() { // also if a handler ends its goroutine
		switch {
		case l.turn != turn:
			reads = false
		case !returned:
			s.handOverLocked()
		default:
			in.away, reads = false, true
			l.rest, l.failed = nil, nil // what was read may be large
			if (len(rest) == 0 || err != nil) && !leaves {
				in.reader = nil
				s.wakeCorkedLocked() // others may have left something while it wrote
			}
		}
	}()
	if !s.inbox.delivering && s.deliverableLocked() {
		s.inbox.delivering = true
		s.handleWaitingLocked(l)
	}
	if l.turn == turn {
		leaves = in.corked > 0 && l.leavesLocked(rest, err)
	}
	if l.turn == turn && !leaves && s.writeCorkedLocked() && l.turn == turn {
		l.way.wrote = true
	}
	returned = true
	return
}

// leavesLocked tells whether what was sent is left for what the reader handles next,
// which is there: then it goes together. Otherwise batches that were once split would
// stay so: each is answered by itself.
func (l *Link) leavesLocked(rest []byte, err error) bool {
	in := &l.stream.inline
	switch {
	case err != nil || in.corked >= fullCork || l.stream.session.UnsentBytes() >= batchBytes:
		return false
	case len(rest) > 0:
		return true
	}
	return l.cfg.Socket.More()
}

// handlesLocked tells whether the reader is to handle what waits.
func (l *Link) handlesLocked() bool {
	s := l.stream
	in := &s.inline
	if s.link != l || l.ending != nil || s.inbox.delivering || !s.deliverableLocked() || (in.reader != nil && in.reader != l) {
		return false
	}
	if !in.shy.IsZero() {
		if time.Now().Before(in.shy) {
			return false
		}
		in.shy = time.Time{}
	}
	return in.active || s.watchLocked()
}

// watchLocked sets the watch if messages follow each other closely.
func (s *Stream) watchLocked() bool {
	in := &s.inline
	if !s.inbox.several() && time.Since(in.ended) >= patience {
		return false
	}
	in.active, in.still = true, 0
	lively.Add(1)
	if in.watch == nil {
		in.watch = time.AfterFunc(patience, s.look)
	} else {
		in.watch.Reset(patience)
	}
	return true
}

// beginLocked takes note that the link's reader has read something.
func (l *Link) beginLocked() {
	in := &l.stream.inline
	if in.active && in.reader == nil {
		in.reader = l
	}
	in.moved = in.moved || in.reader == l
}

// look is the watch. It sees to it that neither the peer nor what was sent waits for
// handlers that take their time.
func (s *Stream) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := &s.inline
	s.settleRunLocked()
	s.wakeCorkedLocked()
	s.wakeLocked() // for an ack that has waited for company
	if in.still++; in.moved && (!in.away || in.steps >= brisk) {
		in.still = 0
	}
	if !in.moved && !in.away {
		in.reader = nil // it left something, and what was to come did not
	}
	in.moved, in.steps = false, 0
	if in.away && in.still >= looks {
		in.shy = time.Now().Add(shyTime)
		s.handOverLocked()
	}
	if in.still > 0 && in.reader == nil {
		in.active, in.ended = false, time.Now()
		lively.Add(-1)
		return
	}
	in.watch.Reset(patience)
}

// handOverLocked makes another goroutine the reader of the link whose reader is away,
// and sees to it that nothing waits for that to write it. What it has in hand it handles
// to its end, and no more of a run: its credit would come back late.
func (s *Stream) handOverLocked() {
	s.run.halted.Store(true)
	s.wakeCorkedLocked()
	in := &s.inline
	l := in.reader
	in.reader, in.away = nil, false
	l.turn++
	rest, failed := l.rest, l.failed
	l.rest, l.failed = nil, nil
	go l.read(rest, failed)
}

// Waits is for a handler that is going to wait, with its context: the reading does not
// wait for it.
func (s *Stream) Waits(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitsLocked(ctx)
}

// waitsLocked is for who waits for the peer, with ctx: he holds nothing back.
func (s *Stream) waitsLocked(ctx context.Context) {
	s.wakeCorkedLocked()
	if s.inline.away && s.inHandler(ctx) {
		s.handOverLocked()
	}
}

// wakeForLocked is wakeLocked for what was put with ctx. What a handler sends may
// wait until the reader writes it.
func (s *Stream) wakeForLocked(ctx context.Context) {
	if s.inline.reader == nil || !s.inHandler(ctx) || !s.corkLocked() {
		s.wakeLocked()
	}
}

// corkLocked leaves it to the reader to write what was put, if it comes by soon.
func (s *Stream) corkLocked() bool {
	in := &s.inline
	if in.reader == nil || in.reader != s.link || s.link.writing || in.corked >= maxCorked {
		return false
	}
	in.corked++
	return true
}

// wakeCorkedLocked sees to it that what waits for the reader is written without it.
func (s *Stream) wakeCorkedLocked() {
	if s.inline.corked > 0 {
		s.inline.corked = 0
		s.wakeLocked()
	}
}

// writeCorkedLocked makes the reader the writer; false: there is nothing to write, or
// another one does.
func (s *Stream) writeCorkedLocked() bool {
	if s.inline.corked == 0 {
		return false
	}
	s.inline.corked = 0
	l := s.link
	if l == nil || !l.writableLocked() || !l.takeWritingLocked() {
		return false
	}
	s.inline.moved = true
	s.mu.Unlock()
	l.write(nil, inlineBatches)
	s.mu.Lock()
	return true
}
