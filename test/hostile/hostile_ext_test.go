//go:build linux

package hostile_test

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// leastCases is how many there are at least.
const leastCases = 180

// TestScripts plays all scripts against one server, many at a time.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute of attacks")
	}
	scripts, err := readScripts("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) < leastCases {
		t.Errorf("%d cases, want %d", len(scripts), leastCases)
	}
	// Those that take long come first, and the others beside them.
	slices.SortStableFunc(scripts, func(a, b *script) int { return cmp.Compare(b.longest(), a.longest()) })
	s := startServer(t)
	i := newInnocent(t, s)
	before, err := s.gauge(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	for _, alone := range []bool{false, true} {
		t.Run(map[bool]string{false: "together", true: "alone"}[alone], func(t *testing.T) {
			for _, c := range scripts {
				if c.alone != alone {
					continue
				}
				t.Run(c.attack+" "+c.name, func(t *testing.T) {
					if !alone {
						t.Parallel()
					}
					begin := time.Now()
					c.play(t, s)
					i.probe(t, begin)
				})
			}
		})
	}
	t.Logf("%d cases", len(scripts))
	s.checkRest(t, i, before)
	s.checkOutput(t, i)
}

// checkRest waits until the server is as it was.
func (s *server) checkRest(t *testing.T, i *innocent, before gauge) {
	t.Helper()
	const (
		rest         = 20 * time.Second
		moreHeap     = 16 << 20 // sessions that wait for their clients
		moreMemory   = 64 << 20
		ceiling      = 384 << 20
		moreRoutines = 20
		moreFiles    = 10
	)
	var now gauge
	var err error
	for end := time.Now().Add(rest); ; time.Sleep(250 * time.Millisecond) { // what ends is nobody's to tell
		now, err = s.gauge(t.Context(), i)
		if err != nil {
			t.Fatalf("the gauge: %v\n%s", err, s.Output())
		}
		calm := now.Heap < before.Heap+moreHeap && now.resident < before.resident+moreMemory &&
			now.Goroutines < before.Goroutines+moreRoutines && now.files < before.files+moreFiles
		if calm {
			break
		}
		if time.Now().After(end) {
			t.Errorf("after all of it: %v; before: %v", now, before)
			break
		}
	}
	t.Logf("before: %v; after: %v", before, now)
	if now.most > ceiling {
		t.Errorf("%d MiB were resident, want at most %d", now.most>>20, ceiling>>20)
	}
	if now.Forbidden != 0 {
		t.Errorf("%d messages or calls were handled that must not have been", now.Forbidden)
	}
}

// play plays it, by as many clients as it says.
func (c *script) play(t *testing.T, s *server) {
	t.Helper()
	var all sync.WaitGroup
	from := nextAddress()
	made, err := c.prepare()
	if err != nil {
		t.Fatal(err)
	}
	failed := make([]error, c.crowd)
	for n := range failed {
		all.Go(func() {
			p := &player{t: t, number: int64(n), script: c, server: s, from: from, made: made}
			defer p.end()
			failed[n] = p.play()
		})
	}
	all.Wait()
	if err := errors.Join(failed...); errors.Is(err, errNoKeys) {
		t.Skip(err)
	} else if err != nil {
		t.Error(err)
	}
}

// longest is how long it may take.
func (c *script) longest() (all time.Duration) {
	for _, s := range c.steps {
		if s.verb == "expect" || s.verb == "wait" || s.verb == "flood" {
			all += s.time
		}
	}
	return all
}

// prepare makes what is to be sent before the first client is there, who waits
// for nobody's computing. What depends on who plays, or on his session, is made when
// it is there.
func (c *script) prepare() ([][]byte, error) {
	made := make([][]byte, len(c.steps))
	for n, s := range c.steps {
		if s.bytes == nil {
			continue
		}
		var err error
		if made[n], err = s.bytes.bytes(c.scope()); err != nil && !errors.Is(err, errNoName) {
			return nil, fmt.Errorf("%s: line %d: %w", c.file, s.line, err)
		}
	}
	return made, nil
}

// scope is what names stand for, before there is a client.
func (c *script) scope() scope {
	all := scope{"canary": canary}
	for name, v := range c.lets {
		all[name] = v
	}
	return all
}

// A player plays one script.
type player struct {
	t      *testing.T
	number int64 // of those that play it
	script *script
	server *server
	from   net.Addr
	made   [][]byte // what the steps send; nil where it depends on the player

	clients []*client // in their order
	acts    *client   // the one that acts; the last that came, unless another was called
	welcome *client   // the last that was told of a session
	begin   time.Time // when it was at its point
	behind  sync.WaitGroup
}

func (p *player) play() error {
	for n, s := range p.script.steps {
		if err := p.step(s, p.made[n]); err != nil {
			return fmt.Errorf("%s: line %d: %s: %w", p.script.file, s.line, s.verb, err)
		}
	}
	return nil
}

// end closes what is open.
func (p *player) end() {
	for _, c := range p.clients {
		_ = c.raw.Close()
	}
	p.behind.Wait()
}

func (p *player) step(s step, b []byte) error {
	switch {
	case s.verb == "at":
		return p.at(s)
	case len(p.clients) == 0:
		return errors.New("nobody is there")
	case s.verb == "as":
		if s.count < 1 || s.count > len(p.clients) {
			return fmt.Errorf("there is no client %d", s.count)
		}
		p.acts, p.begin = p.clients[s.count-1], time.Now()
		return nil
	}
	c := p.acts
	if b == nil && s.bytes != nil {
		var err error
		names := p.script.scope()
		names["player"] = p.number
		if w := p.welcome; w != nil {
			names["session"], names["token"] = w.session, w.token
		}
		if b, err = s.bytes.bytes(names); err != nil {
			return err
		}
	}
	_ = c.raw.SetWriteDeadline(time.Now().Add(honest + defaultWithin))
	switch s.verb {
	// That the server has ended the connection before is for expect to find.
	case "send":
		_ = c.write(b)
	case "raw":
		_ = c.writeRaw(b)
	case "record":
		for range s.times {
			if err := c.writeRecord(s.count, b); errors.Is(err, errNoKeys) {
				return err
			}
		}
	case "drip":
		p.behind.Go(func() { drip(c, b, s.count, s.time) })
	case "flood":
		if s.time > 0 {
			flood(c, b, time.Now().Add(s.time))
			return nil
		}
		p.behind.Go(func() { flood(c, b, time.Now().Add(honest)) })
	case "wait":
		time.Sleep(s.time) // it is what the script says
	case "half":
		_ = c.raw.CloseWrite() // as above
	case "reset":
		return errors.Join(c.raw.SetLinger(0), c.raw.Close())
	case "cut":
		return c.raw.Close()
	case "expect":
		return p.expect(c, s)
	}
	return nil
}

func (p *player) at(s step) error {
	c, err := p.server.dial(s.words, p.from)
	if c != nil {
		p.clients = append(p.clients, c)
		p.acts = c
		if c.session != "" {
			p.welcome = c
		}
	}
	p.begin = time.Now()
	return err
}

func (p *player) expect(c *client, s step) error {
	limit := p.begin.Add(s.time)
	e := c.observe(s.want, limit)
	if c.session != "" {
		p.welcome = c
	}
	if e.good() {
		p.t.Logf("%s after %v", e, time.Since(p.begin).Round(time.Millisecond))
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Errorf("got %q after %v, want %q within %v\n\tsent %d bytes in all:\n\t%s", e, time.Since(p.begin).Round(time.Millisecond),
		strings.Join(s.want, " | "), s.time, c.total, strings.Join(c.sent, "\n\t"))
}

// drip sends so many bytes at a time.
func drip(c *client, b []byte, size int, pause time.Duration) {
	for len(b) > 0 {
		n := min(size, len(b))
		if c.write(b[:n]) != nil {
			return
		}
		b = b[n:]
		time.Sleep(pause) // it is the drip
	}
}

// flood sends again and again.
func flood(c *client, b []byte, until time.Time) {
	for time.Now().Before(until) {
		_ = c.raw.SetWriteDeadline(until) // what is cut in the middle is cut
		if c.write(b) != nil {
			return
		}
	}
}
