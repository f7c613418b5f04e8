package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

const (
	// maxDenyFile bounds the file of entries that operators add, in bytes.
	maxDenyFile = 32 << 20
	// denyFileSettles is how old a file must be to be known by its size and time
	// alone: a younger one may change without another time.
	denyFileSettles = 3 * time.Second
)

// addedDenial is an entry as the file has it.
type addedDenial struct {
	mtls.Denial
	Added time.Time `json:"added"`
	Note  string    `json:"note,omitempty"`
}

// A denyFile is what is known of the file that keeps entries. The zero value
// knows nothing.
type denyFile struct {
	there bool        // this process has seen it, or written it
	gone  bool        // and it is not there any more
	info  fs.FileInfo // of what was read last; nil: it is to be read again
	known bool        // sum and err are of what was read or written last
	sum   [sha256.Size]byte
	err   error
}

// read returns what the file says, if that is not what it said before. One that
// was never there says nothing; one that has gone is an error.
func (f *denyFile) read(path string) (added []addedDenial, changed bool, err error) {
	info, err := os.Lstat(path) // a symbolic link would be replaced
	missing := errors.Is(err, fs.ErrNotExist)
	f.gone = missing && f.there
	switch {
	case f.gone:
		return nil, false, denyFileFault(path, errors.New("it has gone: what it said stays in force, and busd deny add writes it anew"))
	case missing:
		return nil, false, nil
	case err != nil:
		return nil, false, denyFileFault(path, err)
	case !info.Mode().IsRegular():
		return nil, false, denyFileFault(path, errors.New("it is not a regular file"))
	}
	f.there = true
	if f.info != nil && os.SameFile(f.info, info) && f.info.Size() == info.Size() && f.info.Mode() == info.Mode() && f.info.ModTime().Equal(info.ModTime()) {
		return nil, false, f.err
	}
	f.info = nil
	data, info, err := mtls.ReadGuarded("deny file", path, maxDenyFile)
	if err != nil {
		return nil, false, err
	}
	if time.Since(info.ModTime()) > denyFileSettles {
		f.info = info
	}
	sum := sha256.Sum256(data)
	if f.known && f.sum == sum {
		return nil, false, f.err
	}
	f.known, f.sum, f.err = true, sum, nil
	if added, err = decodeDenied(data); err != nil {
		f.refused(denyFileFault(path, err))
	}
	return added, f.err == nil, f.err
}

// refused takes note that what was read last cannot be used.
func (f *denyFile) refused(err error) { f.err = err }

// retry has what was refused looked at again.
func (f *denyFile) retry() {
	if f.err != nil {
		*f = denyFile{there: f.there}
	}
}

// write replaces the file.
func (f *denyFile) write(path string, list []addedDenial) error {
	if list == nil {
		list = []addedDenial{} // which is "[]", and not "null"
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if len(data) > maxDenyFile {
		return bus.Errorf(bus.CodeResourceExhausted, "deny file: it would be larger than %d MiB", maxDenyFile>>20)
	}
	if err := mtls.WriteFiles(true, mtls.File{Path: path, Data: data, Secret: true}); err != nil {
		return bus.Errorf(bus.CodeFailedPrecondition, "deny file: it cannot be written: %s", reasonOf(err))
	}
	*f = denyFile{there: true, known: true, sum: sha256.Sum256(data)}
	return nil
}

func denyFileFault(path string, err error) error {
	reason := err.Error()
	var e *bus.Error
	if errors.As(err, &e) {
		reason = e.Reason
	}
	return bus.Errorf(bus.CodeFailedPrecondition, "deny file %s: %s", path, reason)
}

// decodeDenied reads what write writes, and what people make of it.
func decodeDenied(data []byte) ([]addedDenial, error) {
	var list []addedDenial
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the list")
	}
	if list == nil {
		return nil, errors.New("want a list, [] if nobody is denied")
	}
	for i := range list {
		var err error
		if list[i].Denial, err = list[i].Clean(); err != nil {
			return nil, fmt.Errorf("entry %d: %s", i+1, reasonOf(err))
		}
	}
	return list, nil
}
