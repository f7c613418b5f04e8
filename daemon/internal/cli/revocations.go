package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"busd/internal/mtls"
)

// revocationFile is the record of what a CA has revoked, beside the CA: JSON, an
// object a line. Lines are added and never changed, so that two commands at the
// same time lose nothing.
const revocationFile = "ca.revoked"

// maxRecord bounds the record that is read, in bytes: some hundred thousand
// certificates.
const maxRecord = 32 << 20

// A revocation is a line of the record: a certificate that was revoked, or the
// number of a list that was made.
type revocation struct {
	// Serial is the certificate's serial number in hexadecimal digits; empty in
	// the line of a list.
	Serial string    `json:"serial,omitempty"`
	At     time.Time `json:"at"`
	// Reason is one of reasonCodes; empty is none.
	Reason string `json:"reason,omitempty"`
	// Subject is whose it was, where that was known.
	Subject string `json:"subject,omitempty"`
	// List is the number of a list.
	List int64 `json:"list,omitempty"`
}

// reasonCodes are the reasons for which a certificate may be revoked, by RFC
// 5280, section 5.3.1. A hold, which may be taken back, is not among them: no
// list of busd takes anything back.
var reasonCodes = map[string]int{
	"": 0, "key-compromise": 1, "affiliation-changed": 3, "superseded": 4, "cessation-of-operation": 5, "privilege-withdrawn": 9,
}

// revocations are what a record says.
type revocations struct {
	path    string
	revoked []revocation
	at      map[string]int // the place in revoked, by serial number
	list    int64          // the number of the last list
}

// lockRevocations waits until no other command writes the record of the CA in
// dir, so that what is read until it is unlocked is the last word: no two lists
// get one number.
func lockRevocations(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, revocationFile)
	lock, err := mtls.LockFile(path)
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return nil, unwritable(path, failed)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Close() }, nil // nothing was written with it
}

// readRevocations reads the record of the CA in dir. One that is not there says
// nothing; one that cannot be understood is an error: nobody is to be believed
// again because of it.
func readRevocations(dir string) (*revocations, error) {
	r := &revocations{path: filepath.Join(dir, revocationFile), at: map[string]int{}}
	f, err := os.Open(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, unreadable(r.path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return nil, unreadable(r.path, err)
	}
	if len(data) > maxRecord {
		return nil, &fault{what: r.path + " is larger than 32 MiB", exit: exitFailed}
	}
	for i, line := range bytes.Split(data, []byte{'\n'}) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var one revocation
		if err := json.Unmarshal(line, &one); err != nil || !one.good() {
			return nil, &fault{
				what: fmt.Sprintf("%s, line %d, is not what busd pki revoke writes: nothing is done before somebody has looked at it", r.path, i+1),
				exit: exitFailed, try: []string{"busd pki revoke SERIAL            again, once the line is taken out"},
			}
		}
		if one.Serial == "" {
			r.list = max(r.list, one.List)
		} else if r.of(one.Serial) == nil {
			r.knows(one)
		}
	}
	return r, nil
}

// good tells whether a line says something.
func (v *revocation) good() bool {
	_, known := reasonCodes[v.Reason]
	if v.Serial == "" {
		return v.List > 0
	}
	number, ok := new(big.Int).SetString(v.Serial, 16)
	return ok && number.Sign() > 0 && known && !v.At.IsZero() && v.List == 0
}

// of returns what is said of a certificate, nil if nothing is. serial is in
// hexadecimal digits without leading zeros.
func (r *revocations) of(serial string) *revocation {
	if i, known := r.at[serial]; known {
		return &r.revoked[i]
	}
	return nil
}

func (r *revocations) knows(v revocation) {
	r.at[v.Serial] = len(r.revoked)
	r.revoked = append(r.revoked, v)
}

// add writes a line and returns once it is on the disk.
func (r *revocations) add(v revocation) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return unwritable(r.path, err)
	}
	defer f.Close()
	if unended(f) { // a line that a crash cut off stays one of its own, and is found
		line = append([]byte{'\n'}, line...)
	}
	if _, err := f.Write(append(line, '\n')); err != nil { // one write: lines of two commands do not mix
		return unwritable(r.path, err)
	}
	if err := f.Sync(); err != nil {
		return unwritable(r.path, err)
	}
	if v.Serial != "" {
		r.knows(v)
	} else {
		r.list = v.List
	}
	return nil
}

// unended tells whether the last line of a file has no end.
func unended(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}

// entries are what is revoked, for a list.
func (r *revocations) entries() []x509.RevocationListEntry {
	all := make([]x509.RevocationListEntry, len(r.revoked))
	for i, one := range r.revoked {
		number, _ := new(big.Int).SetString(one.Serial, 16) // good has looked at it
		all[i] = x509.RevocationListEntry{SerialNumber: number, RevocationTime: one.At.UTC(), ReasonCode: reasonCodes[one.Reason]}
	}
	return all
}
