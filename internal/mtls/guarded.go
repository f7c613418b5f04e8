package mtls

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// ReadGuarded reads a regular file of at most so many bytes that counts as its
// owner's word: it is refused if others may write it, or replace it in its
// directory. It waits for nothing, such as the other end of a pipe. The errors
// begin with name, such as "deny file", and the path.
func ReadGuarded(name, path string, most int64) ([]byte, fs.FileInfo, error) {
	name += " " + path
	data, info, err := readRegular(path, most)
	if err != nil {
		return nil, nil, broken(plainCause(err), name)
	}
	if runtime.GOOS == "windows" { // which has no such bits
		return data, info, nil
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return nil, nil, broken(nil, fmt.Sprintf("%s: others than its owner may write it (mode %04o): chmod go-w %s", name, mode, path))
	}
	dir := filepath.Dir(path)
	in, err := os.Stat(dir)
	if err != nil {
		return nil, nil, broken(plainCause(err), name)
	}
	// In one with the sticky bit nobody replaces the files of others.
	if mode := in.Mode(); mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0 {
		return nil, nil, broken(nil, fmt.Sprintf("%s: everybody may replace files in its directory (mode %04o): chmod o-w %s", name, mode.Perm(), dir))
	}
	return data, info, nil
}
