package mtls

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// sightAge bounds for how long files are taken to be what they were because
	// they look the same: then their contents are compared all the same.
	sightAge = 30 * time.Second
	// sightSettle is how long ago a file must have been written for its looks to
	// count: two writes in one tick of a file system's clock look the same.
	sightSettle = 3 * time.Second
)

// A sight is how files looked: what the operating system says of them without
// reading. A nil sight is like no other.
type sight struct {
	at    time.Time
	files map[string]fs.FileInfo // nil info: it could not be looked at
}

// look looks at files, and at those of directories that keep takes.
func look(paths []string, keep func(name string) bool, now time.Time) *sight {
	s := &sight{at: now, files: map[string]fs.FileInfo{}}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			s.files[path] = nil
			continue
		}
		s.files[path] = info
		if !info.IsDir() {
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			s.files[path] = nil
		}
		for _, entry := range entries {
			if !keep(entry.Name()) || len(s.files) > 2*maxCADirFiles {
				continue
			}
			at := filepath.Join(path, entry.Name())
			if s.files[at], err = os.Stat(at); err != nil {
				s.files[at] = nil
			}
		}
	}
	return s
}

// same tells whether files can be taken to be what they were.
func (s *sight) same(now *sight) bool {
	if s == nil || now.at.Sub(s.at) > sightAge || now.at.Before(s.at) || len(s.files) != len(now.files) {
		return false
	}
	for path, info := range s.files {
		other, there := now.files[path]
		switch {
		case !there || (info == nil) != (other == nil):
			return false
		case info == nil:
		case !os.SameFile(info, other) || info.Size() != other.Size() || !info.ModTime().Equal(other.ModTime()) || info.Mode() != other.Mode():
			return false
		case !info.IsDir() && s.at.Sub(info.ModTime()) < sightSettle:
			return false
		}
	}
	return true
}
