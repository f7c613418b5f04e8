package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"busd/bus"
)

// A Denial is an entry of the deny list: certificates that all it says is true of
// are as good as revoked.
type Denial struct {
	// Serial is a serial number in hexadecimal, Issuer who issued the
	// certificate, in DIRAC's form, Key "sha256:" and the hash of the public key,
	// Name the peer's name or subject, in which * stands for anything.
	Serial string `json:"serial,omitempty"`
	Issuer string `json:"issuer,omitempty"`
	Key    string `json:"key,omitempty"`
	Name   string `json:"name,omitempty"`
	// Note is for people: why.
	Note string `json:"note,omitempty"`
	// Added is when; zero where Configured: it stands in the configuration.
	Added      time.Time `json:"added,omitzero"`
	Configured bool      `json:"configured,omitempty"`
}

// A DenyOutcome is what came of a change of the deny list.
type DenyOutcome struct {
	// Changed: the list is another one now.
	Changed bool `json:"changed"`
	// Persistent: it is kept over a restart.
	Persistent bool `json:"persistent"`
	// Connections and Sessions are those that were ended.
	Connections int `json:"connections"`
	Sessions    int `json:"sessions"`
}

// A DenyList is what operators may do with the deny list. The errors are written
// for them. Its methods may be called concurrently, and return at once.
type DenyList interface {
	List() []Denial
	Persistent() bool
	Add(d Denial) (DenyOutcome, error)
	Remove(d Denial) (DenyOutcome, error)
}

// Denied is the whole list, as it is answered.
type Denied struct {
	Persistent bool     `json:"persistent"`
	Entries    []Denial `json:"entries"`
}

// maxNote bounds a note, in bytes.
const maxNote = 256

// handleDenied shows the deny list.
func (a *Admin) handleDenied(w http.ResponseWriter, r *http.Request) {
	if status, reason := stranger(r); reason != "" {
		plain(w, status, reason)
		return
	}
	list := a.config.Deny
	answer(w, Denied{Persistent: list.Persistent(), Entries: list.List()})
}

// handleDeny changes the deny list by one entry.
func (a *Admin) handleDeny(change func(Denial) (DenyOutcome, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if status, reason := stranger(r); reason != "" {
			plain(w, status, reason)
			return
		}
		d, err := readDenial(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			plain(w, http.StatusBadRequest, "want a JSON object such as {\"serial\": \"0a1b\", \"issuer\": \"/CN=CA\"}: "+err.Error())
			return
		}
		outcome, err := change(d)
		switch {
		case bus.CodeOf(err) == bus.CodeInvalidArgument:
			plain(w, http.StatusBadRequest, reasonOf(err))
		case err != nil:
			plain(w, http.StatusConflict, reasonOf(err))
		default:
			answer(w, outcome)
		}
	}
}

func readDenial(body io.Reader) (d Denial, err error) {
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return d, err
	}
	switch {
	case decoder.More():
		return d, errors.New("there is more behind it")
	case len(d.Note) > maxNote:
		return d, errors.New("the note is too long")
	}
	return d, nil
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(v) // who has gone does not hear it
}
