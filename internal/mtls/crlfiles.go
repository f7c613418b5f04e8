package mtls

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A crlFile is a file with lists of revoked certificates, as it was when it was
// last good.
type crlFile struct {
	path  string
	named bool // and not found in a directory
	hash  [sha256.Size]byte
	lists []*crl
}

// A crlFault is what is wrong with one file.
type crlFault struct {
	named bool
	err   error
}

// crlFiles are the last good state of all files, by path. It is immutable.
type crlFiles map[string]*crlFile

// A crlRead is one file or directory entry that was found.
type crlRead struct {
	path  string
	named bool
	data  []byte
	err   error
}

// load reads files and directories, and takes what is good: of a file that is
// not, or that says less than it did, what it was is kept. issuers are those
// whose lists can be verified now; of others they wait.
func (f crlFiles) load(paths []string, issuers *issuers) (next crlFiles, faults []crlFault) {
	next = crlFiles{}
	for _, one := range readCRLs(paths) {
		last := f[one.path]
		file, err := last.next(one, issuers)
		if err != nil {
			faults = append(faults, crlFault{one.named, err})
			file = last
		}
		if file != nil {
			next[one.path] = file
		}
	}
	for _, path := range slices.Sorted(maps.Keys(f)) {
		last := f[path]
		if next[path] != nil || last.dispensable(next, issuers) {
			continue
		}
		next[path] = last
		faults = append(faults, crlFault{last.named, broken(nil, "CRL file "+path+" has gone: what it said is kept")})
	}
	return next, faults
}

// next makes a file of what was read, and returns the last one if it is that.
func (f *crlFile) next(read crlRead, issuers *issuers) (*crlFile, error) {
	name := "CRL file " + read.path
	if read.err != nil {
		return nil, broken(plainCause(read.err), name)
	}
	hash := sha256.Sum256(read.data)
	if f != nil && f.hash == hash {
		for _, list := range f.lists {
			issuers.settle(list)
		}
		return f, nil
	}
	lists, err := parseCRLs(read.data)
	if err != nil {
		return nil, broken(err, name)
	}
	if len(lists) == 0 {
		if read.named {
			return nil, broken(noPEM(read.data, "list of revoked certificates (X509 CRL)"), name)
		}
		return nil, nil //nolint:nilnil // a directory's file that holds something else
	}
	for _, list := range lists {
		if issuers.settle(list) == refuted {
			return nil, broken(nil, fmt.Sprintf("%s: the list of %s is not signed by its issuer", name, list.dn))
		}
		if f == nil {
			continue
		}
		for _, last := range f.lists {
			if last.issuer == list.issuer && list.olderThan(last) {
				return nil, broken(nil, fmt.Sprintf("%s: the list of %s is older than the one before it (number %v, before %v)", name, list.dn, list.number, last.number))
			}
		}
	}
	return &crlFile{path: read.path, named: read.named, hash: hash, lists: lists}, nil
}

// dispensable tells whether a file that has gone can be forgotten: nobody that
// it is about is believed any more, or other files say the same or more.
func (f *crlFile) dispensable(next crlFiles, issuers *issuers) bool {
	return !slices.ContainsFunc(f.lists, func(list *crl) bool {
		if !issuers.know(list.issuer) {
			return false
		}
		for _, other := range next {
			if slices.ContainsFunc(other.lists, func(o *crl) bool {
				return o.issuer == list.issuer && o.signed.Load() && !o.olderThan(list)
			}) {
				return false
			}
		}
		return true
	})
}

// readCRLs reads files, and those of directories that may hold lists. Each is
// found or not by itself.
func readCRLs(paths []string) []crlRead {
	var all []crlRead
	left := int64(maxCADirBytes)
	read := func(path string, named bool) {
		data, _, err := readRegular(path, min(maxFile, left))
		if errors.Is(err, fs.ErrNotExist) && !named {
			return // a link to nothing
		}
		left -= int64(len(data))
		if left <= 0 {
			err = fmt.Errorf("with it the lists are larger than %d MiB together", maxCADirBytes>>20)
		}
		all = append(all, crlRead{path, named, data, err})
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			read(path, true)
			continue
		}
		names, err := crlNames(path)
		if err != nil {
			all = append(all, crlRead{path: path, named: true, err: err})
		}
		for _, name := range names {
			read(name, false)
		}
	}
	// A file that is named and found counts once.
	slices.SortStableFunc(all, func(a, b crlRead) int { return cmp.Compare(a.path, b.path) })
	return slices.CompactFunc(all, func(a, b crlRead) bool { return a.path == b.path })
}

// crlNames returns the files of a directory that may hold lists: *.r0 to *.r9,
// as OpenSSL and the grid name them, *.crl and *.pem.
func crlNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if !isCRLFile(entry.Name()) {
			continue
		}
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			continue
		}
		if names = append(names, path); len(names) > maxCADirFiles {
			return names[:maxCADirFiles], fmt.Errorf("it holds too much: at most %d files are read", maxCADirFiles)
		}
	}
	return names, nil
}

func isCRLFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".crl" || ext == ".pem" || len(ext) == 3 && ext[1] == 'r' && strings.Contains("0123456789", ext[2:])
}

// What settle finds of a list.
type verdict uint8

const (
	unknown  verdict = iota // nobody of its issuer's name is believed here, yet
	verified                // its issuer has signed it
	refuted                 // its issuer has not
)

// issuers are the certificates that may have signed lists, by nameKey of their
// subjects. It is immutable.
type issuers struct {
	byName map[string][]*x509.Certificate
}

func newIssuers(certs ...[]*x509.Certificate) *issuers {
	i := &issuers{map[string][]*x509.Certificate{}}
	for _, cert := range slices.Concat(certs...) {
		key := nameKey(cert.RawSubject)
		if !slices.ContainsFunc(i.byName[key], cert.Equal) {
			i.byName[key] = append(i.byName[key], cert)
		}
	}
	return i
}

func (i *issuers) know(name string) bool { return len(i.byName[name]) > 0 }

// settle verifies a list, unless it is already. It is called for one list at a
// time.
func (i *issuers) settle(list *crl) verdict {
	if list.signed.Load() {
		return verified
	}
	for _, cert := range i.byName[list.issuer] {
		if list.verifiedBy(cert) {
			list.list = nil // its bytes may be much
			list.signed.Store(true)
			return verified
		}
	}
	if i.know(list.issuer) {
		return refuted
	}
	return unknown
}
