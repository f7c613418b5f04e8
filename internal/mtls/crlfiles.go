package mtls

import (
	"cmp"
	"crypto/sha256"
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
	// kept are lists that were in it before, and that nothing replaces.
	kept []*crl
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
		faults = append(faults, next.keep(f[path], issuers)...)
	}
	return next, faults
}

// keep puts into the new state what would be lost of a file as it was: lists that
// are neither in the file now, nor replaced by any others.
func (f crlFiles) keep(last *crlFile, issuers *issuers) (faults []crlFault) {
	file := f[last.path]
	lost := slices.Clone(last.kept)
	if file != last {
		lost = append(lost, last.lists...)
	}
	lost = slices.DeleteFunc(lost, func(list *crl) bool { return f.dispensable(list, issuers) })
	switch {
	case file == nil && len(lost) == 0, file != nil && len(lost) == len(file.kept):
	case file == nil && len(lost) == len(last.kept)+len(last.lists):
		f[last.path] = last
	case file == nil:
		f[last.path] = &crlFile{path: last.path, named: last.named, kept: lost}
	default:
		f[last.path] = &crlFile{path: file.path, named: file.named, hash: file.hash, lists: file.lists, kept: lost}
	}
	if file == nil && len(lost) > 0 {
		return []crlFault{{last.named, broken(nil, "CRL file "+last.path+" has gone: what it said is kept")}}
	}
	for _, list := range lost {
		faults = append(faults, crlFault{last.named, broken(nil, "CRL file "+last.path+": the list of "+list.dn+" is not in it any more: what it said is kept")})
	}
	return faults
}

// dispensable tells whether a list that is not in its file any more can be
// forgotten: it does not count, or who has signed it is believed no more, or
// another list says the same or is newer.
func (f crlFiles) dispensable(list *crl, issuers *issuers) bool {
	if !issuers.believe(list) {
		return true
	}
	for _, file := range f {
		for _, other := range file.all() {
			if other != list && other.replaces(list) {
				return true
			}
		}
	}
	return false
}

// all returns the file's lists, those of before included.
func (f *crlFile) all() []*crl { return slices.Concat(f.lists, f.kept) }

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
	}
	if f != nil {
		if err := f.noOlder(lists); err != nil {
			return nil, broken(err, name)
		}
	}
	return &crlFile{path: read.path, named: read.named, hash: hash, lists: lists}, nil
}

// noOlder refuses lists where the best that is there in place of one before is
// older. That there is none, load sees to.
func (f *crlFile) noOlder(lists []*crl) error {
	for _, last := range f.all() {
		var older *crl
		newer := false
		for _, list := range lists {
			switch {
			case !list.follows(last):
			case list.olderThan(last):
				older = list
			default:
				newer = true
			}
		}
		if older != nil && !newer {
			return fmt.Errorf("the list of %s is older than the one before it (number %v, before %v), or says less", older.dn, older.number, last.number)
		}
	}
	return nil
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
