package mtls

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Bounds on a directory of CAs, which hold those of all grids many times over.
const (
	maxCADirFiles = 4096
	maxCADirBytes = 4 * maxFile
)

// readCAs reads files, and the files of directories.
func readCAs(paths []string) ([]pemFile, error) {
	var cas []pemFile
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			files, err := readCADir(path)
			if err != nil {
				return nil, err
			}
			cas = append(cas, files...)
			continue
		}
		file, err := readFile("CA", path)
		if err != nil {
			return nil, err
		}
		cas = append(cas, file)
	}
	return cas, nil
}

// readCADir reads the files of a directory such as OpenSSL uses: *.pem, *.crt,
// and *.0 to *.9, which is what links by hash are called. What is no file, or
// a link to nothing, is passed over.
func readCADir(dir string) ([]pemFile, error) {
	name := "CA file " + dir
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, broken(plainCause(err), name)
	}
	// So that one in which there is nothing is known, too.
	files := []pemFile{{name: name, dir: dir}}
	size := 0
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if !isCAFile(entry.Name()) {
			continue
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		file, err := readFile("CA", path)
		if err != nil {
			return nil, err
		}
		file.dir = dir
		files = append(files, file)
		size += len(file.data)
		if len(files) > maxCADirFiles || size > maxCADirBytes {
			return nil, broken(nil, fmt.Sprintf("%s: it holds too much: at most %d files and %d MiB are read", name, maxCADirFiles, maxCADirBytes>>20))
		}
	}
	return files, nil
}

func isCAFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".pem" || ext == ".crt" || len(ext) == 2 && strings.Contains("0123456789", ext[1:])
}
