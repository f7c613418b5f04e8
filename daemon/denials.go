package daemon

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"busd/bus"
	"busd/daemon/internal/admin"
	"busd/daemon/internal/config"
	"busd/internal/mtls"
)

// denials are the entries of the deny list: those of the configuration, and
// those that operators add with busd deny, which are kept in a file if there is
// one. Its methods may be called concurrently; those that tell what there is wait
// for no file.
type denials struct {
	// Fixed at creation.
	path  string // empty: what is added is forgotten at the end of the process
	apply func(*mtls.DenyList)

	changing sync.Mutex // held by who changes something; before mu
	// Guarded by changing.
	file  denyFile
	inUse *mtls.DenyList

	mu sync.Mutex
	// Guarded by mu, and written by who holds changing, too. All entries are clean.
	configured []mtls.Denial
	added      []addedDenial
	failed     error // what is wrong with the file now
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
	d := &denials{path: c.TLS.DenyFile, apply: apply}
	if err := d.configure(denialsOf(c)); err != nil {
		return nil, err
	}
	if _, err := d.reload(); err != nil {
		return nil, &config.Error{Faults: []*config.Fault{c.Fault("tls.deny_file", "%s", reasonOf(err))}}
	}
	return d, nil
}

// configure puts the entries of another configuration in force.
func (d *denials) configure(list []mtls.Denial) error {
	clean := make([]mtls.Denial, len(list))
	for i, one := range list {
		var err error
		if clean[i], err = one.Clean(); err != nil {
			return &mtls.DenialError{Index: i, Err: err}
		}
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	d.file.retry() // what was too much may not be any more
	return d.enforce(clean, d.added, nil)
}

// enforce puts entries in force once keep has kept them; after an error what was
// in force stays. It is called with changing held.
func (d *denials) enforce(configured []mtls.Denial, added []addedDenial, keep func() error) error {
	all := slices.Clone(configured)
	for _, one := range added {
		all = append(all, one.Denial)
	}
	list, err := d.inUse.Next(all)
	if err == nil && keep != nil {
		err = keep()
	}
	if err != nil {
		return err
	}
	d.inUse = list
	d.mu.Lock()
	d.configured, d.added = configured, added
	d.mu.Unlock()
	d.apply(list)
	return nil
}

// reload looks at the file, which another process may have changed, and tells
// whether that changed anything. After an error what was in force stays.
func (d *denials) reload() (changed bool, err error) {
	if d.path == "" {
		return false, nil
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	return d.read()
}

// read is reload for who holds changing.
func (d *denials) read() (changed bool, err error) {
	added, changed, err := d.file.read(d.path)
	if err == nil && changed {
		if err = d.enforce(d.configured, added, nil); err != nil {
			err = denyFileFault(d.path, err)
			d.file.refused(err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = err
	return changed && err == nil, err
}

// fault is what is wrong with the file now, or nil.
func (d *denials) fault() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// list returns all entries.
func (d *denials) list() []admin.Denial {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]admin.Denial, 0, len(d.configured)+len(d.added))
	for _, one := range d.configured {
		all = append(all, admin.Denial{Serial: one.Serial, Issuer: one.Issuer, Key: one.Key, Name: one.Name, Configured: true})
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
	if slices.Contains(d.configured, clean) {
		return false, bus.Errorf(bus.CodeFailedPrecondition, "the entry stands in the configuration, under tls.deny: remove it there, and reload")
	}
	return false, nil
}

func entryOf(said admin.Denial) (mtls.Denial, error) {
	return mtls.Denial{Serial: said.Serial, Issuer: said.Issuer, Key: said.Key, Name: said.Name}.Clean()
}

// change changes what was added, in the file first: what cannot be kept is not
// done. Processes that share the file change it one after another. Where the file
// has gone it is written anew, from what is in force.
func (d *denials) change(to func([]addedDenial) ([]addedDenial, bool)) (bool, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	if d.path == "" {
		next, changed := to(d.added)
		if !changed {
			return false, nil
		}
		err := d.enforce(d.configured, next, nil)
		return err == nil, err
	}
	lock, err := mtls.LockFile(d.path + ".lock")
	if err != nil {
		return false, bus.Errorf(bus.CodeFailedPrecondition, "deny file: it cannot be locked: %s", reasonOf(err))
	}
	defer lock.Close()
	if _, err = d.read(); err != nil && !d.file.gone { // of another process
		return false, err
	}
	next, changed := to(d.added)
	if !changed && !d.file.gone {
		return false, nil
	}
	if err := d.enforce(d.configured, next, func() error { return d.file.write(d.path, next) }); err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = nil
	return changed, nil
}
