package link

import (
	"math/rand/v2"
	"time"

	"busd/bus"
)

// keepalive watches the line from the side that pings. It is guarded by the
// stream's mu.
type keepalive struct {
	timer   *time.Timer
	pending bool          // a ping is unanswered
	within  time.Duration // how long it may be
}

// pingPayload tells our pings' pongs from unsolicited ones.
const pingPayload = "busd"

// maxPongs bounds the pongs that wait for the writer; RFC 6455, section 5.5.3,
// lets an endpoint answer only the newest ping.
const maxPongs = 4

// startKeepalive schedules the first ping.
func (l *Link) startKeepalive() {
	if l.cfg.PingEvery > 0 && l.ending == nil && l.alive.timer == nil {
		l.alive.timer = time.AfterFunc(jitter(l.cfg.PingEvery), l.keepAlive)
	}
}

// keepAlive is the timer's function: it pings, or finds that the last ping was
// not answered in time.
func (l *Link) keepAlive() {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	if l.ending != nil {
		return
	}
	if l.alive.pending {
		dead := bus.Errorf(bus.CodeKeepaliveTimeout, "no answer to a ping within %s", l.alive.within)
		l.endLocked(ending{cause: dead.Dropped(), say: dead, close: dead.Code.CloseCode()})
		return
	}
	if l.cfg.PingEvery == 0 { // a probe's pong came in this moment
		return
	}
	l.alive.timer.Reset(l.cfg.PongWithin)
	l.pingLocked(l.cfg.PongWithin)
}

// Probe sends a ping now and ends the link if it is not answered within d.
func (l *Link) Probe(d time.Duration) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	if l.ending != nil || l.alive.pending {
		return
	}
	if l.alive.timer == nil {
		l.alive.timer = time.AfterFunc(d, l.keepAlive)
	} else {
		l.alive.timer.Reset(d)
	}
	l.pingLocked(d)
}

// pingLocked sends a ping that must be answered within d; the timer is set.
func (l *Link) pingLocked(d time.Duration) {
	l.alive.pending, l.alive.within = true, d
	l.pings = append(l.pings, pingPayload)
	l.wakeLocked()
}

// onPong is called by the reader.
func (l *Link) onPong(payload string) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	if !l.alive.pending || payload != pingPayload {
		return
	}
	l.alive.pending = false
	if l.cfg.PingEvery > 0 {
		l.alive.timer.Reset(jitter(l.cfg.PingEvery))
	} else {
		l.alive.timer.Stop()
	}
}

// onPing is called by the reader. Where nothing is under way it answers by itself:
// measured, a goroutine that answers was a third of what a connection costs that is
// idle.
func (l *Link) onPing(payload string) {
	if l.answers(payload) {
		l.answered(l.cfg.Socket.Pong(payload))
	}
}

// answers makes the reader the writer if that cannot hold it up, as the peer has seen
// all that was written, so that the line has room. Otherwise it leaves the answer to
// the writer.
func (l *Link) answers(payload string) bool {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.ending != nil {
		return false
	}
	if s.link == l && len(l.pings)+len(l.pongs) == 0 && !s.session.Unsent() && !s.session.Unacked() && l.takeWritingLocked() {
		return true
	}
	if len(l.pongs) == maxPongs {
		l.pongs = l.pongs[1:]
	}
	l.pongs = append(l.pongs, payload)
	l.wakeLocked()
	return false
}

// answered ends the reader's turn as the writer.
func (l *Link) answered(err error) {
	defer l.work.Done()
	if err != nil {
		l.writeFailed(err)
		return
	}
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	l.writing = false
	l.wakeLocked() // for what came meanwhile
}

// jitter spreads d by a tenth to either side, so that clients that came
// together do not ping together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // not a secret
}
