package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"busd/bus"
	"busd/msgclient"
)

// A line tells the person, or with --json the program, what happens to the
// connection of a command that keeps one, on standard error.
type line struct {
	// Fixed at creation.
	app    *app
	asJSON bool
	begins bool // tell of the first connection, too

	mu sync.Mutex
	// Guarded by mu.
	known bool  // it was connected
	lost  error // why the last connection ended, if there has been no other since
	tries int   // attempts that failed since then
}

// What happens to a connection, as programs read it.
const (
	eventConnected  = "connected"
	eventLost       = "lost"        // it ended, or an attempt to have another failed
	eventResumed    = "resumed"     // connected again, and nothing is lost
	eventNotResumed = "not_resumed" // connected again, with a new session
	eventMoved      = "moved"       // to another connection, before the last one ended
)

// A lineEvent is how that is printed for programs.
type lineEvent struct {
	Time     time.Time    `json:"time"`
	Event    string       `json:"event"`
	Identity bus.Identity `json:"identity,omitempty"`
	// Code and Reason say why it was lost, RetryMS when the next attempt is.
	Code    string `json:"code,omitempty"`
	Reason  string `json:"reason,omitempty"`
	RetryMS *int64 `json:"retry_ms,omitempty"`
	// Lost is of how many messages of ours it is not known whether they arrived.
	Lost *int `json:"lost,omitempty"`
}

// watch fills in the callbacks that tell it; OnDrop's is called first.
func (l *line) watch(cfg msgclient.Config) msgclient.Config {
	cfg.OnConnect = func(_ context.Context, c *msgclient.Client) { l.connected(c.Identity(), c.Resumption()) }
	dropped := cfg.OnDrop
	cfg.OnDrop = func(ctx context.Context, c *msgclient.Client, why error) {
		l.dropped(why)
		if dropped != nil {
			dropped(ctx, c, why)
		}
	}
	cfg.OnRetry = func(_ *msgclient.Client, why error, wait time.Duration) { l.retries(why, wait) }
	return cfg
}

func (l *line) connected(identity bus.Identity, r msgclient.Resumption) {
	l.mu.Lock()
	known, lost := l.known, l.lost
	l.known, l.lost, l.tries = true, nil, 0
	l.mu.Unlock()
	switch {
	case !known && l.begins:
		l.tell(lineEvent{Event: eventConnected, Identity: identity}, "connected, listening as %s", identity)
	case !known:
	case lost == nil && r.Resumed:
		l.tell(lineEvent{Event: eventMoved, Lost: &r.Lost}, "moved to another connection, session resumed: nothing lost")
	case lost == nil:
		l.tell(lineEvent{Event: eventMoved, Lost: &r.Lost}, "moved to another server, with a new session: %s", unknownOf(r.Lost))
	case r.Resumed:
		l.tell(lineEvent{Event: eventResumed, Lost: &r.Lost}, "connected again, session resumed: nothing lost")
	default:
		reason := visible(r.Reason)
		if reason == "" {
			reason = "there was none"
		}
		l.tell(lineEvent{Event: eventNotResumed, Reason: r.Reason, Lost: &r.Lost},
			"connected again, session not resumed (%s): %s, what the service sent in between did not wait for us", reason, unknownOf(r.Lost))
	}
}

// unknownOf says what became of our own messages.
func unknownOf(lost int) string {
	if lost == 0 {
		return "nothing of ours lost"
	}
	return fmt.Sprintf("%s of ours unknown", plural(lost, "message"))
}

func (l *line) dropped(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost, l.tries = why, 0
}

func (l *line) retries(why error, wait time.Duration) {
	l.mu.Lock()
	what := "connection lost"
	switch {
	case l.tries > 0:
		what = "not connected"
	case bus.CodeOf(why) == bus.CodeGoingAway:
		what = "the server ended the connection"
	}
	l.tries++
	l.mu.Unlock()
	code := bus.CodeOf(why).String()
	again := "trying again at once"
	if wait > 0 {
		again = "trying again in " + wait.Round(10*time.Millisecond).String()
	}
	ms := wait.Milliseconds()
	l.tell(lineEvent{Event: eventLost, Code: code, Reason: plain(why), RetryMS: &ms}, "%s: %s (%s), %s", what, plain(why), code, again)
}

func (l *line) tell(e lineEvent, format string, a ...any) {
	if !l.asJSON {
		l.app.note(format, a...)
		return
	}
	e.Time = time.Now().UTC()
	if text, err := json.Marshal(e); err == nil {
		l.app.note("%s", text)
	}
}

// explain completes the error of a command whose time was over before its
// connection came back.
func (l *line) explain(err error) error {
	l.mu.Lock()
	lost := l.lost
	l.mu.Unlock()
	var f *fault
	if lost != nil && errors.As(err, &f) && exitOf(err) == exitTimeout {
		f.details = append(f.details, detail{"connection", "lost, and not back yet: " + plain(lost)})
	}
	return err
}

// ridesOver tells whether a command that has something to finish waits for the
// next connection when one ended so: a line that broke or a server that goes
// away, and nothing that the service means by it.
func ridesOver(why error) bool {
	var e *bus.Error
	if !errors.As(why, &e) || !e.Remote {
		return true
	}
	switch e.Code { //nolint:exhaustive // every other code says something about what was asked
	case bus.CodeGoingAway, bus.CodeUnavailable, bus.CodeKeepaliveTimeout:
		return true
	}
	return false
}
