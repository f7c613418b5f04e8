package mtls

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"busd/bus"
)

// A File is something to write.
type File struct {
	Path string
	Data []byte
	// Secret files are for their owner alone (mode 0600), the others may be
	// read by all (0644).
	Secret bool
}

// WriteFiles writes all files, and makes the directories that are missing, for
// their owner alone. Without force it writes nothing if one of them exists,
// and says which. With force each file is replaced whole: whoever reads it
// meanwhile sees the old one or the new one.
func WriteFiles(force bool, files ...File) error {
	if !force {
		for _, file := range files {
			if _, err := os.Lstat(file.Path); !errors.Is(err, fs.ErrNotExist) {
				return existsError(file.Path, err)
			}
		}
	}
	for _, file := range files {
		if err := os.MkdirAll(filepath.Dir(file.Path), 0o700); err != nil {
			return broken(plainCause(err), "directory "+filepath.Dir(file.Path))
		}
		write := createFile
		if force {
			write = replaceFile
		}
		if err := write(file); err != nil {
			return err
		}
	}
	return nil
}

func existsError(path string, err error) error {
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return broken(plainCause(err), path)
	}
	return bus.Errorf(bus.CodeAlreadyExists, "%s exists: it is not overwritten without --force", path)
}

func (f File) mode() fs.FileMode {
	if f.Secret {
		return 0o600
	}
	return 0o644
}

func createFile(file File) error {
	f, err := os.OpenFile(file.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, file.mode())
	if err != nil {
		return existsError(file.Path, err)
	}
	if err := fill(f, file.Data); err != nil {
		return errors.Join(broken(plainCause(err), file.Path), os.Remove(file.Path))
	}
	return nil
}

func replaceFile(file File) error {
	// CreateTemp makes it for its owner alone.
	f, err := os.CreateTemp(filepath.Dir(file.Path), "."+filepath.Base(file.Path)+".*")
	if err != nil {
		return broken(plainCause(err), file.Path)
	}
	err = f.Chmod(file.mode())
	if err != nil {
		err = errors.Join(err, f.Close())
	} else {
		err = fill(f, file.Data)
	}
	if err == nil {
		err = os.Rename(f.Name(), file.Path)
	}
	if err != nil {
		return errors.Join(broken(plainCause(err), file.Path), os.Remove(f.Name()))
	}
	return nil
}

// fill writes data, makes it last, and closes f.
func fill(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
