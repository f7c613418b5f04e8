package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"busd/bus"
	"busd/daemon/internal/admin"
	"busd/daemon/internal/config"
	"busd/internal/mtls"
)

// maxDenyFile bounds the file of entries that operators add, in bytes.
const maxDenyFile = 32 << 20

// denials are the entries of the deny list: those of the configuration, and
// those that operators add with busd deny, which are kept in a file if there is
// one. Its methods may be called concurrently.
type denials struct {
	// Fixed at creation.
	path  string // empty: what is added is forgotten at the end of the process
	apply func(*mtls.DenyList)

	mu sync.Mutex
	// Guarded by mu.
	configured []mtls.Denial
	added      []addedDenial
	seen       []byte // of the file
	failed     error  // what is wrong with it now
}

// addedDenial is an entry as the file has it.
type addedDenial struct {
	mtls.Denial
	Added time.Time `json:"added"`
	Note  string    `json:"note,omitempty"`
}

// denialsOf are the entries of a configuration.
func denialsOf(c *config.Config) []mtls.Denial {
	list := make([]mtls.Denial, len(c.TLS.Deny))
	for i, d := range c.TLS.Deny {
		list[i] = mtls.Denial(d)
	}
	return list
}

// checkDeny looks at the deny list of a configuration.
func checkDeny(c *config.Config) error {
	_, err := mtls.NewDenyList(denialsOf(c))
	if err == nil {
		return nil
	}
	var entry *mtls.DenialError
	if errors.As(err, &entry) {
		return &config.Error{Faults: []*config.Fault{c.Fault(fmt.Sprintf("tls.deny[%d]", entry.Index), "%s", reasonOf(entry.Err))}}
	}
	return &config.Error{Faults: []*config.Fault{c.Fault("tls.deny", "%s", reasonOf(err))}}
}

// newDenials reads the file, and puts all entries in force by apply.
func newDenials(c *config.Config, apply func(*mtls.DenyList)) (*denials, error) {
	if err := checkDeny(c); err != nil {
		return nil, err
	}
	d := &denials{path: c.TLS.DenyFile, apply: apply, configured: denialsOf(c)}
	if _, err := d.reload(); err != nil {
		return nil, &config.Error{Faults: []*config.Fault{c.Fault("tls.deny_file", "%s", reasonOf(err))}}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d, d.enforceLocked()
}

// configure puts the entries of another configuration, which were checked, in
// force.
func (d *denials) configure(list []mtls.Denial) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.configured = list
	return d.enforceLocked()
}

// enforceLocked puts all entries in force.
func (d *denials) enforceLocked() error {
	all := slices.Clone(d.configured)
	for _, one := range d.added {
		all = append(all, one.Denial)
	}
	list, err := mtls.NewDenyList(all)
	if err == nil {
		d.apply(list)
	}
	return err
}

// reload looks at the file, which another process may have changed, and tells
// whether that changed anything. After an error what was in force stays.
func (d *denials) reload() (changed bool, err error) {
	if d.path == "" {
		return false, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	changed, d.failed = d.readLocked()
	return changed, d.failed
}

// fault is what is wrong with the file now, or nil.
func (d *denials) fault() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

func (d *denials) readLocked() (changed bool, err error) {
	data, err := readDenyFile(d.path)
	if err != nil || bytes.Equal(data, d.seen) {
		return false, err
	}
	var added []addedDenial
	if err := decodeStrictly(bytes.NewReader(data), &added); err != nil {
		return false, denyFileFault(d.path, err)
	}
	before := d.added
	d.added = added
	if err := d.enforceLocked(); err != nil {
		d.added = before
		reason := reasonOf(err)
		var entry *mtls.DenialError
		if errors.As(err, &entry) {
			reason = fmt.Sprintf("entry %d: %s", entry.Index-len(d.configured)+1, reason)
		}
		return false, denyFileFault(d.path, errors.New(reason))
	}
	d.seen = data
	return true, nil
}

func denyFileFault(path string, err error) error {
	return bus.Errorf(bus.CodeFailedPrecondition, "deny file %s: %v", path, err)
}

// readDenyFile reads the file; one that is not there is an empty list.
func readDenyFile(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []byte("[]"), nil
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is not a regular file")
	case info.Size() > maxDenyFile:
		err = fmt.Errorf("it is larger than %d MiB", maxDenyFile>>20)
	}
	if err != nil {
		return nil, denyFileFault(path, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, denyFileFault(path, err)
	}
	return data, nil
}

func decodeStrictly(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is more behind the list")
	}
	return nil
}

// list returns all entries.
func (d *denials) list() []admin.Denial {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]admin.Denial, 0, len(d.configured)+len(d.added))
	for _, one := range d.configured {
		clean, _ := one.Clean() // it was checked
		all = append(all, admin.Denial{Serial: clean.Serial, Issuer: clean.Issuer, Key: clean.Key, Name: clean.Name, Configured: true})
	}
	for _, one := range d.added {
		all = append(all, admin.Denial{Serial: one.Serial, Issuer: one.Issuer, Key: one.Key, Name: one.Name, Note: one.Note, Added: one.Added})
	}
	return all
}

// len is how many entries there are.
func (d *denials) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.configured) + len(d.added)
}

// add adds an entry; it is false if it is there already.
func (d *denials) add(said admin.Denial) (bool, error) {
	clean, err := entryOf(said)
	if err != nil {
		return false, err
	}
	return d.change(func(all []addedDenial) ([]addedDenial, bool) {
		if slices.ContainsFunc(all, func(a addedDenial) bool { return a.Denial == clean }) {
			return all, false
		}
		return append(slices.Clone(all), addedDenial{clean, time.Now().UTC().Truncate(time.Second), said.Note}), true
	})
}

// remove removes an entry; it is false if it is not there. Those of the
// configuration stay.
func (d *denials) remove(said admin.Denial) (bool, error) {
	clean, err := entryOf(said)
	if err != nil {
		return false, err
	}
	removed, err := d.change(func(all []addedDenial) ([]addedDenial, bool) {
		left := slices.DeleteFunc(slices.Clone(all), func(a addedDenial) bool { return a.Denial == clean })
		return left, len(left) != len(all)
	})
	if removed || err != nil {
		return removed, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.configured {
		if other, _ := one.Clean(); other == clean {
			return false, bus.Errorf(bus.CodeFailedPrecondition, "the entry stands in the configuration, under tls.deny: remove it there, and reload")
		}
	}
	return false, nil
}

func entryOf(said admin.Denial) (mtls.Denial, error) {
	return mtls.Denial{Serial: said.Serial, Issuer: said.Issuer, Key: said.Key, Name: said.Name}.Clean()
}

// change changes what was added, in the file first: what cannot be kept is not
// done.
func (d *denials) change(to func([]addedDenial) ([]addedDenial, bool)) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.path != "" {
		if _, err := d.readLocked(); err != nil { // of another process
			return false, err
		}
	}
	next, changed := to(d.added)
	if !changed {
		return false, nil
	}
	before := d.added
	d.added = next
	err := d.enforceLocked()
	if err == nil && d.path != "" {
		err = d.writeLocked()
	}
	if err != nil {
		d.added = before
		return false, errors.Join(err, d.enforceLocked())
	}
	return true, nil
}

func (d *denials) writeLocked() error {
	data, err := json.MarshalIndent(d.added, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if err := mtls.WriteFiles(true, mtls.File{Path: d.path, Data: data, Secret: true}); err != nil {
		return bus.Errorf(bus.CodeFailedPrecondition, "deny file: it cannot be written: %s", reasonOf(err))
	}
	d.seen = data
	return nil
}
