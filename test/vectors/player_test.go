package vectors_test

import (
	"bufio"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
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
	// connect makes a connection that is not the first.
	connect func() (net.Conn, *bufio.Reader)

	talks  []*talk // the first is that of connection 1
	vars   map[string]any
	failed bool
}

// newPlayer makes the player of one side.
func newPlayer(t *testing.T, c *conversation, role byte) *player {
	return &player{t: t, c: c, role: role, vars: variables()}
}

// A talk is one connection of a conversation.
type talk struct {
	sock   *socket
	events chan string // what is heard, in the notation; closed at the end of the line
	early  []string    // unasked, and heard before a line asked for them
	closed bool        // the other side has said close
	cut    bool        // by the player: what is heard means nothing
	owes   bool        // the other side has resumed, and says an ack first
}

// open makes the player's side of the next WebSocket.
func (p *player) open(conn net.Conn, in *bufio.Reader) {
	t := &talk{sock: &socket{Conn: conn, in: in, client: p.role == 'C'}, events: make(chan string, 10_000)}
	p.talks = append(p.talks, t)
	go t.listen()
}

// listen notes everything that is heard.
func (t *talk) listen() {
	defer close(t.events)
	for {
		op, payload, err := t.sock.read()
		if err != nil {
			return
		}
		switch op {
		case opText:
			t.events <- "text " + show(string(payload))
		case opPing:
			t.events <- strings.TrimSpace("ping " + show(string(payload)))
		case opPong:
			t.events <- strings.TrimSpace("pong " + show(string(payload)))
		case opClose:
			t.events <- closeText(payload)
		case opBinary:
			t.frames(payload)
		}
	}
}

func closeText(payload []byte) string {
	if len(payload) < 2 {
		return "close"
	}
	return fmt.Sprintf("close %d", int(payload[0])<<8|int(payload[1]))
}

func (t *talk) frames(b []byte) {
	for len(b) > 0 {
		v, rest, err := unpack(b)
		list, ok := v.([]any)
		if err != nil || !ok {
			t.events <- "bytes " + hexOf(b)
			return
		}
		t.events <- showFrame(list)
		b = rest
	}
}

// errEnd is the end of the line.
var errEnd = errors.New("the line ended")

func (t *talk) next(limit time.Duration) (string, error) {
	select {
	case e, ok := <-t.events:
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

// What a "~" line says of the newest connection.
const (
	theLineIsCut  = "the line is cut"
	theLineIsDead = "the line is dead" // nothing arrives any more, and neither end knows
)

// play goes through the conversation. act is called before a line of the side
// under test is heard, and for what happens.
func (p *player) play(act func(i int, s step)) {
	p.t.Helper()
	for i := 0; i < len(p.c.steps) && !p.failed; i++ {
		s := p.c.steps[i]
		switch {
		case s.who == 0:
		case s.who == '~' && s.text == theLineIsCut:
			p.cut()
		case s.who == '~' && s.text == theLineIsDead:
			p.talks[len(p.talks)-1].cut = true
		case s.who == '~':
			if d, ok := s.passes(); ok {
				p.quiet(i, d)
			} else {
				act(i, s)
			}
		case s.conn == 1 && len(p.talks) == 0: // the upgrade, which has its own player
		default:
			if s.conn == len(p.talks)+1 {
				p.open(p.connect())
			}
			if s.who == p.role {
				i = p.say(i)
				break
			}
			act(i, s)
			p.hear(i)
		}
		if len(p.talks) > 0 {
			synctest.Wait()
		}
	}
	for _, t := range p.talks {
		if !p.failed && !t.cut {
			p.ended(t)
		}
	}
}

func (p *player) errorf(i int, format string, a ...any) {
	p.t.Helper()
	p.failed = true
	p.t.Errorf("%s: %q: %s", p.c.file, p.c.steps[i].raw, fmt.Sprintf(format, a...))
}

// cut breaks the newest line: neither end says goodbye.
func (p *player) cut() {
	t := p.talks[len(p.talks)-1]
	t.cut = true
	if secured, ok := t.sock.Conn.(*tls.Conn); ok {
		_ = secured.NetConn().Close() // it is to be broken
	}
}

// hangUp ends all connections: the conversation is over.
func (p *player) hangUp() {
	for _, t := range p.talks {
		_ = t.sock.Close() // it may be closed already
	}
}

// say says a line, with those joined to it.
func (p *player) say(i int) (last int) {
	t := p.talks[p.c.steps[i].conn-1]
	if octets, ok := strings.CutPrefix(p.c.steps[i].text, "octets "); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(octets, " ", ""))
		if err == nil {
			_, err = t.sock.Write(b)
		}
		if err != nil {
			p.errorf(i, "%v", err)
		}
		return i
	}
	var batch []byte
	for last = i; ; last++ {
		s := p.c.steps[last]
		p.keepSamples(s.text)
		op, payload, err := encode(s.text, p.vars)
		if err != nil {
			p.errorf(last, "%v", err)
			return last
		}
		if s.lost {
			return last
		}
		t.owes = t.owes || resumes(s.text)
		batch = append(batch, payload...)
		if last+1 < len(p.c.steps) && p.c.steps[last+1].joined && p.c.steps[last+1].who == p.role {
			continue
		}
		if err := t.sock.write(op, batch); err != nil {
			p.errorf(last, "%v", err)
		}
		return last
	}
}

// resumes tells whether a line is a welcome that goes on with a session.
func resumes(text string) bool {
	return strings.HasPrefix(text, "welcome") && strings.Contains(text, `"resumed": true`)
}

// keepSamples gives the names in a line that is said their values.
func (p *player) keepSamples(text string) {
	s := spelled(text)
	for name, v := range p.vars {
		if w, ok := v.(wildcard); ok && w.kept && names(s, name) {
			p.vars[name] = w.sample
		}
	}
}

// names tells whether a line has a variable.
func names(text, variable string) bool {
	_, rest, ok := strings.Cut(text, "$"+variable)
	return ok && !strings.ContainsAny(rest[:1], "0123456789")
}

// encode makes the payload of a WebSocket message of a line.
func encode(text string, vars map[string]any) (op byte, payload []byte, err error) {
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
	list, err := parseFrame(spelled(text), vars)
	if err != nil {
		return 0, nil, err
	}
	return opBinary, pack(nil, list), nil
}

// hear waits for a line of the side under test.
func (p *player) hear(i int) {
	want, t := p.c.steps[i].text, p.talks[p.c.steps[i].conn-1]
	for _, e := range t.early {
		if p.same(want, e) {
			return
		}
	}
	for {
		got, err := t.next(patience)
		if err != nil {
			p.errorf(i, "heard %v", err)
			return
		}
		if t.owes && !strings.HasPrefix(got, "ping") {
			if t.owes = false; !strings.HasPrefix(got, "ack ") && !strings.HasPrefix(got, "drop ") {
				p.errorf(i, "after the resume, heard %s before an ack", got)
			}
		}
		if p.same(want, got) {
			t.owes = t.owes || resumes(got)
			t.closed = t.closed || strings.HasPrefix(got, "close")
			return
		}
		if unasked(got) && (!*update || !unasked(want)) {
			t.early = append(t.early, got)
			continue
		}
		if *update {
			p.c.heard(i, named(p.anonymous(got), p.vars))
			return
		}
		p.errorf(i, "heard %s", got)
		return
	}
}

// same tells whether what was heard is the line that is wanted, and keeps what
// its names stand for. No two stand for the same: each token is a new one.
func (p *player) same(want, got string) bool {
	want = spelled(want)
	if want == got {
		return true
	}
	w, err := parseFrame(want, p.vars)
	if err != nil {
		return false
	}
	g, err := parseFrame(got, nil)
	found := map[string]any{}
	if err != nil || !fits(w, g, found) {
		return false
	}
	for _, value := range found {
		for name, known := range p.vars {
			if _, open := known.(wildcard); !open && show(known) == show(value) {
				p.t.Errorf("%s: heard %s, where $%s is not wanted again", p.c.file, got, name)
			}
		}
	}
	maps.Copy(p.vars, found)
	return true
}

// anonymous replaces what is different each time by its variable.
func (p *player) anonymous(got string) string {
	list, err := parseFrame(got, nil)
	if err != nil {
		return got
	}
	for i, e := range list {
		if o, ok := e.(object); ok {
			for j := range o {
				switch o[j].key {
				case "trid":
					o[j].value = p.vars["trid"]
				case "session", "token":
					o[j].value = p.nameOf(o[j].key, o[j].value)
				}
			}
			list[i] = o
		}
	}
	return showFrame(list)
}

// nameOf keeps a value by the first name that is free, unless it has one.
func (p *player) nameOf(kind string, value any) any {
	for _, n := range []string{"", "2", "3", "4", "5", "6", "7", "8", "9"} {
		switch v := p.vars[kind+n].(type) {
		case wildcard:
			p.vars[kind+n] = value
			return v
		default:
			if show(v) == show(value) {
				return value // named puts its name there
			}
		}
	}
	return value
}

// quiet lets time pass, in which nothing may be heard that must be asked for.
func (p *player) quiet(i int, d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	for _, t := range p.talks {
		for more := !t.cut && !t.closed; more; {
			select {
			case e, ok := <-t.events:
				switch {
				case !ok:
					p.errorf(i, "the line ended")
					return
				case !unasked(e):
					p.errorf(i, "heard %s", e)
					return
				}
				t.early = append(t.early, e)
			default:
				more = false
			}
		}
	}
}

// ended sees to it that nothing comes after the last line of a connection: but
// what need not be asked for, the answer to a close, and the end of the line soon
// after it.
func (p *player) ended(t *talk) {
	last := len(p.c.steps) - 1
	for {
		e, err := t.next(6 * time.Second)
		switch {
		case errors.Is(err, errEnd) || err != nil && !t.closed:
			return
		case err != nil:
			p.errorf(last, "after it the line should end, heard %v", err)
			return
		case strings.HasPrefix(e, "close"):
			t.closed = true
		case !unasked(e):
			p.errorf(last, "after it, heard %s", e)
			return
		}
	}
}
