package vectors_test

import (
	"bufio"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "rewrite what we say in the conversations, and what is derived")

// patience is how long, in virtual time, a player waits for a line.
const patience = 5 * time.Minute

// A player is the other side of a conversation: it says the lines of one side
// and hears those of the other.
type player struct {
	t    *testing.T
	c    *conversation
	role byte // whose lines it says
	sock *socket

	events chan string // what is heard, in the notation; closed at the end of the line
	early  []string    // unasked, and heard before a line asked for them
	closed bool        // the other side has said close
	failed bool
}

// open makes the player's side of the WebSocket.
func (p *player) open(conn net.Conn, in *bufio.Reader) {
	p.sock = &socket{Conn: conn, in: in, client: p.role == 'C'}
	p.events = make(chan string, 10_000)
	go p.listen()
}

// listen notes everything that is heard.
func (p *player) listen() {
	defer close(p.events)
	for {
		op, payload, err := p.sock.read()
		if err != nil {
			return
		}
		switch op {
		case opText:
			p.events <- "text " + show(string(payload))
		case opPing:
			p.events <- strings.TrimSpace("ping " + show(string(payload)))
		case opPong:
			p.events <- strings.TrimSpace("pong " + show(string(payload)))
		case opClose:
			p.events <- closeText(payload)
		case opBinary:
			p.frames(payload)
		}
	}
}

func closeText(payload []byte) string {
	if len(payload) < 2 {
		return "close"
	}
	return fmt.Sprintf("close %d", int(payload[0])<<8|int(payload[1]))
}

func (p *player) frames(b []byte) {
	for len(b) > 0 {
		v, rest, err := unpack(b)
		list, ok := v.([]any)
		if err != nil || !ok {
			p.events <- "bytes " + hexOf(b)
			return
		}
		p.events <- showFrame(list)
		b = rest
	}
}

// errEnd is the end of the line.
var errEnd = errors.New("the line ended")

func (p *player) next(limit time.Duration) (string, error) {
	select {
	case e, ok := <-p.events:
		if !ok {
			return "", errEnd
		}
		return e, nil
	case <-time.After(limit):
		return "", fmt.Errorf("nothing in %s", limit)
	}
}

// unasked tells whether something may come although no line says so: acks and
// pings, at any time.
func unasked(event string) bool {
	return strings.HasPrefix(event, "ack ") || strings.HasPrefix(event, "ping")
}

// play goes through the conversation. act is called before a line of the side
// under test is heard, and for what happens.
func (p *player) play(act func(i int, s step)) {
	p.t.Helper()
	for i := 0; i < len(p.c.steps) && !p.failed; i++ {
		s := p.c.steps[i]
		switch {
		case s.who == 0:
		case s.who == '~':
			if d, ok := s.passes(); ok {
				p.quiet(i, d)
			} else {
				act(i, s)
			}
		case p.sock == nil: // the upgrade, which has its own player
		case s.who == p.role:
			i = p.say(i)
		default:
			act(i, s)
			p.hear(i)
		}
		if p.sock != nil {
			synctest.Wait()
		}
	}
	if p.sock != nil && !p.failed {
		p.ended()
	}
}

func (p *player) errorf(i int, format string, a ...any) {
	p.t.Helper()
	p.failed = true
	p.t.Errorf("%s: %q: %s", p.c.file, p.c.steps[i].raw, fmt.Sprintf(format, a...))
}

// say says a line, with those joined to it.
func (p *player) say(i int) (last int) {
	if octets, ok := strings.CutPrefix(p.c.steps[i].text, "octets "); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(octets, " ", ""))
		if err == nil {
			_, err = p.sock.Write(b)
		}
		if err != nil {
			p.errorf(i, "%v", err)
		}
		return i
	}
	var batch []byte
	for last = i; ; last++ {
		op, payload, err := encode(p.c.steps[last].text)
		if err != nil {
			p.errorf(last, "%v", err)
			return last
		}
		batch = append(batch, payload...)
		if last+1 < len(p.c.steps) && p.c.steps[last+1].joined && p.c.steps[last+1].who == p.role {
			continue
		}
		if err := p.sock.write(op, batch); err != nil {
			p.errorf(last, "%v", err)
		}
		return last
	}
}

// encode makes the payload of a WebSocket message of a line.
func encode(text string) (op byte, payload []byte, err error) {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "text", "ping", "pong":
		payload := ""
		if rest != "" {
			v, err := parseValue(rest, nil)
			if err != nil {
				return 0, nil, err
			}
			payload, _ = v.(string)
		}
		return map[string]byte{"text": opText, "ping": opPing, "pong": opPong}[word], []byte(payload), nil
	case "close":
		if rest == "" {
			return opClose, nil, nil
		}
		code, err := strconv.ParseUint(rest, 10, 16)
		return opClose, []byte{byte(code >> 8), byte(code)}, err
	case "bytes":
		b, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		return opBinary, b, err
	}
	list, err := parseFrame(spelled(text), variables())
	if err != nil {
		return 0, nil, err
	}
	return opBinary, pack(nil, list), nil
}

// hear waits for a line of the side under test.
func (p *player) hear(i int) {
	want := p.c.steps[i].text
	for _, e := range p.early {
		if same(want, e) {
			return
		}
	}
	for {
		got, err := p.next(patience)
		if err != nil {
			p.errorf(i, "heard %v", err)
			return
		}
		if same(want, got) {
			p.closed = p.closed || strings.HasPrefix(got, "close")
			return
		}
		if unasked(got) && (!*update || !unasked(want)) {
			p.early = append(p.early, got)
			continue
		}
		if *update {
			p.c.heard(i, named(anonymous(got)))
			return
		}
		p.errorf(i, "heard %s", got)
		return
	}
}

// same tells whether what was heard is the line that is wanted.
func same(want, got string) bool {
	want = spelled(want)
	if want == got {
		return true
	}
	w, err := parseFrame(want, variables())
	if err != nil {
		return false
	}
	g, err := parseFrame(got, nil)
	return err == nil && fits(w, g)
}

// anonymous replaces what is different each time by its variable.
func anonymous(got string) string {
	list, err := parseFrame(got, nil)
	if err != nil {
		return got
	}
	for i, e := range list {
		if o, ok := e.(object); ok {
			for j := range o {
				if o[j].key == "trid" {
					o[j].value = variables()["trid"]
				}
			}
			list[i] = o
		}
	}
	return showFrame(list)
}

// quiet lets time pass, in which nothing may be heard that must be asked for.
func (p *player) quiet(i int, d time.Duration) {
	end := time.After(d)
	for {
		select {
		case <-end:
			return
		case e, ok := <-p.events:
			switch {
			case !ok:
				p.errorf(i, "the line ended")
				return
			case !unasked(e):
				p.errorf(i, "heard %s", e)
				return
			}
			p.early = append(p.early, e)
		}
	}
}

// ended sees to it that nothing comes after the last line: but what need not
// be asked for, the answer to a close, and the end of the line soon after it.
func (p *player) ended() {
	last := len(p.c.steps) - 1
	for {
		e, err := p.next(6 * time.Second)
		switch {
		case errors.Is(err, errEnd) || err != nil && !p.closed:
			return
		case err != nil:
			p.errorf(last, "after it the line should end, heard %v", err)
			return
		case strings.HasPrefix(e, "close"):
			p.closed = true
		case !unasked(e):
			p.errorf(last, "after it, heard %s", e)
			return
		}
	}
}
