package hostile

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"busd/test/hostile/stranger"
)

// A hostileCase is one row of a table.
type hostileCase struct {
	name string
	at   point
	do   func(c *client)
	// want is how it ends, in the order in which the client sees it:
	//
	//	alert 42       a TLS alert
	//	426            the status of an HTTP answer
	//	error CODE     an error frame, or several of the same code
	//	drop CODE      a drop frame
	//	close 1002     a WebSocket close frame
	//	closed         the end of the TCP connection; after a close frame it
	//	               must come too and is not named
	//	open           the TCP connection still stands
	//	lives          a request that follows is answered
	want string
	// within bounds the time from the beginning of do to the end; zero is 2 s,
	// and the goodbye.
	within time.Duration
	path   string // of the service; empty: PingPong
	head   bool   // the request is a HEAD
}

// run plays the cases side by side.
func (s *stack) run(t *testing.T, cases []hostileCase) {
	t.Helper()
	t.Logf("%d cases", len(cases))
	for _, row := range cases {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			path := row.path
			if path == "" {
				path = pingPath
			}
			within := row.within
			if within == 0 {
				within = 2*time.Second + goodbye
			}
			c := s.newClient(t, row.at, path)
			c.head = row.head
			begin := time.Now()
			_ = c.conn.SetWriteDeadline(begin.Add(within + 5*time.Second))
			done := make(chan struct{})
			go func() { // ends with the connection, at the latest
				defer close(done)
				row.do(c)
			}()
			if strings.HasSuffix(row.want, "lives") || row.at == tcpOpen {
				<-done
			}
			got := c.observe(begin.Add(within), row.want)
			if got != row.want {
				t.Errorf("got %q after %v, want %q within %v", got, time.Since(begin).Round(time.Millisecond), row.want, within)
			}
			_ = c.raw.Close() // ends do, if it goes on
			<-done
			s.probe(t)
		})
	}
}

// observe says how the connection ends until limit. Where it is wanted to live
// it makes a request; where it is wanted open it does not wait for the end.
func (c *client) observe(limit time.Time, want string) string {
	var seen []string
	note := func(what string) {
		if len(seen) == 0 || seen[len(seen)-1] != what || !strings.HasPrefix(what, "error") {
			seen = append(seen, what)
		}
	}
	_ = c.conn.SetReadDeadline(limit)
	switch {
	case c.err != nil:
		note(c.ending(c.err))
	case c.point >= upgraded:
		c.observeFrames(note, strings.HasSuffix(want, "lives"), strings.HasPrefix(want, "error"))
	case c.conn == c.raw:
		c.observeRaw(note)
	default:
		c.observeHTTP(note, limit, strings.HasSuffix(want, "open"))
	}
	return strings.Join(seen, ", ")
}

// ending names the error that a read ended with.
func (c *client) ending(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "open"
	case errors.As(err, &op) && op.Op == "remote error":
		for n := range 256 {
			if tls.AlertError(n).Error() == op.Err.Error() {
				return fmt.Sprintf("alert %d", n)
			}
		}
	}
	return "closed"
}

// observeRaw reads what is not yet TLS.
func (c *client) observeRaw(note func(string)) {
	got, err := io.ReadAll(io.LimitReader(c.r, 1<<20))
	if err == nil {
		err = io.EOF
	}
	if status, ok := bytes.CutPrefix(got, []byte("HTTP/1.0 ")); ok {
		note(string(status[:3]))
	}
	for len(got) >= 5 && got[0] >= 20 && got[0] <= 23 {
		size := 5 + int(binary.BigEndian.Uint16(got[3:]))
		if size > len(got) {
			break
		}
		if got[0] == 21 && size == 7 {
			note(fmt.Sprintf("alert %d", got[6]))
		}
		got = got[size:]
	}
	note(c.ending(err))
}

// quiet is how long nothing may come before a connection counts as open.
const quiet = 400 * time.Millisecond

// observeHTTP reads answers until the connection ends, or nothing more comes.
func (c *client) observeHTTP(note func(string), limit time.Time, open bool) {
	req := &http.Request{Method: http.MethodGet}
	if c.head {
		req.Method = http.MethodHead
	}
	for {
		resp, err := http.ReadResponse(c.r, req)
		if err != nil {
			note(c.ending(err))
			return
		}
		note(fmt.Sprint(resp.StatusCode))
		if resp.StatusCode == http.StatusSwitchingProtocols {
			c.observeFrames(note, false, false)
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if next := time.Now().Add(quiet); open && next.Before(limit) {
			_ = c.conn.SetReadDeadline(next)
		}
	}
}

// observeFrames reads WebSocket frames until the connection ends. A client
// that was told goodbye says it too, and waits for the end. One that shall live
// makes its request when an error has come, where one is wanted before: what
// answers calls is not in order with what answers messages.
func (c *client) observeFrames(note func(string), alive, errorFirst bool) {
	asked := false
	for {
		if alive && !asked && !errorFirst {
			c.message(c.request("Ping", ping(1)))
			asked = true
		}
		op, payload, err := stranger.ReadFrame(c.r)
		if err != nil {
			note(c.ending(err))
			return
		}
		switch op {
		case opBinary:
			if c.observeMessage(note, payload, asked) {
				return
			}
			errorFirst = false
		case opClose:
			if len(payload) < 2 {
				note("close without a code")
			} else {
				note(fmt.Sprintf("close %d", binary.BigEndian.Uint16(payload)))
			}
			c.send(frame(fin|opClose, payload))
			_ = c.conn.SetReadDeadline(time.Now().Add(goodbye))
			if n, err := io.Copy(io.Discard, c.r); n != 0 || c.ending(err) == "open" && err != nil {
				note(fmt.Sprintf("then %d bytes and %v", n, err))
			}
			return
		}
	}
}

// observeMessage notes the frames of one message, and tells whether they hold
// the answer to the last request.
func (c *client) observeMessage(note func(string), b []byte, alive bool) bool {
	for len(b) > 0 {
		v, rest, err := stranger.Unpack(b)
		frame, ok := v.([]any)
		if err != nil || !ok || len(frame) < 2 {
			note(fmt.Sprintf("a frame that is none: %v, %v", v, err))
			return true
		}
		b = rest
		switch kind := frame[0].(int64); kind {
		case kindWelcome:
			note("welcome")
		case kindDrop:
			note("drop " + stranger.CodeIn(frame[1]))
		case kindError:
			note("error " + stranger.CodeIn(frame[3]))
		case kindAnswer:
			if alive && frame[2] == int64(c.n) {
				note("lives")
				return true
			}
		}
	}
	return false
}
