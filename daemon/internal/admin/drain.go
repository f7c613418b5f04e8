package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"busd/bus"
)

const (
	// progressEvery is how often whoever asked for a drain hears how far it is.
	progressEvery = time.Second
	// progressTimeout bounds how long he may take to read a line of that.
	progressTimeout = 10 * time.Second
	// maxRequest bounds what he may say.
	maxRequest = 4 << 10
)

// A DrainRequest is what an operator asks for with a drain. As JSON it is the
// body of the request.
type DrainRequest struct {
	// Target is where clients are asked to move to, a URL; empty: where they
	// like.
	Target string `json:"target,omitempty"`
	// TimeoutMS is after how many milliseconds what is left is cut off; 0 is
	// what the configuration says.
	TimeoutMS int64 `json:"timeout_ms,omitempty"`
}

// Timeout is TimeoutMS as a duration, or zero where nothing was said.
func (r DrainRequest) Timeout(zero time.Duration) time.Duration {
	if r.TimeoutMS == 0 {
		return zero
	}
	return time.Duration(r.TimeoutMS) * time.Millisecond
}

// A State says how far a drain is.
type State string

// The states.
const (
	StateDraining State = "draining" // clients go
	StateDrained  State = "drained"  // all have gone, and nobody listens any more
	StateCutOff   State = "cut_off"  // as drained, but some had not finished
)

// Progress is how far a drain is.
type Progress struct {
	Time  time.Time `json:"time"`
	State State     `json:"state"`
	// Connections are the stable connections that are left.
	Connections int `json:"connections"`
	// Seconds since it began.
	Seconds float64 `json:"seconds"`
	// Already: it had begun before it was asked for, so that its target and
	// time-out are others'.
	Already bool `json:"already,omitempty"`
	// Code and Reason say why some had not finished.
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Drain begins a drain, unless one has begun: then already is true. From now on
// the program is not ready. The error is that of [Config.Drain], and then
// nothing has begun.
func (a *Admin) Drain(r DrainRequest) (already bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase == Draining {
		return true, nil
	}
	if err := a.config.Drain(r); err != nil {
		return false, err
	}
	a.drainsLocked()
	return false, nil
}

// drainsLocked takes note that the program drains.
func (a *Admin) drainsLocked() {
	if a.phase != Draining {
		a.phase, a.since = Draining, time.Now()
	}
}

// Drained tells those who follow the drain how it ended; err is why not all
// connections had finished, or nil. It is called once, when everything else has
// ended.
func (a *Admin) Drained(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcome = err
	close(a.over)
}

// Progress returns how far the drain is.
func (a *Admin) Progress() Progress {
	p := Progress{Time: time.Now().UTC(), State: StateDraining}
	for _, s := range a.Services() {
		p.Connections += s.Conns
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p.Seconds = p.Time.Sub(a.since).Round(time.Millisecond).Seconds()
	select {
	case <-a.over:
	default:
		return p
	}
	p.State = StateDrained
	if a.outcome != nil {
		p.State, p.Code = StateCutOff, bus.CodeOf(a.outcome).String()
		p.Reason = reasonOf(a.outcome)
	}
	return p
}

// reasonOf is what is said of an error, without the errors underneath where
// there are any.
func reasonOf(err error) string {
	var e *bus.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return err.Error()
}

// handleDrain begins a drain and tells how far it is, a line of JSON each
// second, until everything but this answer has ended. Who stops reading stops
// nothing.
func (a *Admin) handleDrain(w http.ResponseWriter, r *http.Request) {
	if status, reason := stranger(r); reason != "" {
		plain(w, status, reason)
		return
	}
	request, err := readDrain(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		plain(w, http.StatusBadRequest, "want a JSON object such as {\"target\": \"wss://host:port\", \"timeout_ms\": 30000}, or nothing: "+err.Error())
		return
	}
	already, err := a.Drain(request)
	if err != nil {
		plain(w, http.StatusBadRequest, reasonOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // where there is none it need not be lifted
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		p := a.Progress()
		p.Already = already
		_ = control.SetWriteDeadline(time.Now().Add(progressTimeout)) // as above
		if json.NewEncoder(w).Encode(p) != nil || control.Flush() != nil || p.State != StateDraining {
			return
		}
		select {
		case <-tick.C:
		case <-a.over:
		case <-r.Context().Done():
			return
		}
	}
}

// readDrain reads a request, which may say nothing.
func readDrain(body io.Reader) (r DrainRequest, err error) {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	err = d.Decode(&r)
	if errors.Is(err, io.EOF) {
		return r, nil
	}
	if err == nil && d.More() {
		err = errors.New("there is more behind it")
	}
	return r, err
}

// stranger says why a request that changes something is refused: it comes from
// another machine, through a proxy on this one (for whoever uses that), or from a
// page in a browser here.
func stranger(r *http.Request) (status int, reason string) {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case err != nil || !remote.Addr().Unmap().IsLoopback():
		return http.StatusForbidden, "only from this machine, by its loopback address"
	case !isLocal(r.Host):
		return http.StatusMisdirectedRequest, notLocal
	case proxied(r.Header):
		return http.StatusForbidden, "not through a proxy: only from this machine itself"
	case r.Header.Values("Origin") != nil || r.Header.Values("Sec-Fetch-Site") != nil:
		return http.StatusForbidden, "not for web pages"
	}
	return 0, ""
}

// proxied tells whether a proxy says that it passes on another's request.
func proxied(h http.Header) bool {
	for name := range h {
		if name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded") {
			return true
		}
	}
	return false
}
