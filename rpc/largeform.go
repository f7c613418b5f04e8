package rpc

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"busd/bus"
)

// A store takes a value whose size nobody knows yet: in memory as long as it is
// small, then in a spool.
type store struct {
	most  int                         // bytes in memory
	large func() (*spool, *bus.Error) // is asked once
	small []byte
	spool *spool // nil: all is in small
}

// Write appends p. Its error is a *bus.Error.
func (s *store) Write(p []byte) (int, error) {
	if s.spool == nil && len(s.small)+len(p) <= s.most {
		s.small = append(s.small, p...)
		return len(p), nil
	}
	if s.spool == nil {
		var err *bus.Error
		if s.spool, err = s.large(); err != nil {
			return 0, err
		}
		if _, err := s.spool.Write(s.small); err != nil {
			return 0, err
		}
		s.small = nil
	}
	return s.spool.Write(p)
}

// reset throws away what was written.
func (s *store) reset() *bus.Error {
	s.small = s.small[:0]
	if s.spool != nil {
		return s.spool.empty()
	}
	return nil
}

// end ends the writing.
func (s *store) end() *bus.Error {
	if s.spool != nil {
		return s.spool.flush()
	}
	return nil
}

// reader reads what was written.
func (s *store) reader() io.Reader {
	if s.spool != nil {
		return io.NewSectionReader(s.spool.file, 0, s.spool.size)
	}
	return bytes.NewReader(s.small)
}

// close gives it up.
func (s *store) close() {
	if s.spool != nil {
		s.spool.close()
	}
}

// A largeForm is a form that is read field by field.
type largeForm struct {
	fields *fields
	// args is the field of that name, file the one part of a multipart form that
	// is a file.
	args, file       store
	hasArgs, hasFile bool
}

// takeURLEncoded reads an urlencoded form. Its error is the source's or a
// *bus.Error.
func (l *largeForm) takeURLEncoded(from io.Reader) error {
	r := bufio.NewReaderSize(from, spoolWindow)
	for {
		name, hasValue, err := nextName(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.fields.more(); err != nil {
			return err
		}
		err = l.take(name, func(to io.Writer) error {
			if !hasValue {
				return nil
			}
			return copyValue(to, r, name)
		})
		if err != nil {
			return err
		}
	}
}

// nextName reads up to a field's value; io.EOF: there is none.
func nextName(r *bufio.Reader) (name []byte, hasValue bool, err error) {
	window, err := r.Peek(MaxFieldName + 1)
	if len(window) == 0 {
		return nil, false, err
	}
	i := bytes.IndexAny(window, "=&")
	switch {
	case i >= 0:
		name, hasValue = bytes.Clone(window[:i]), window[i] == '='
		_, _ = r.Discard(i + 1) // it is there
	case err == nil:
		return nil, false, badCall("form: a field's name has more than %d bytes", MaxFieldName)
	case !errors.Is(err, io.EOF):
		return nil, false, err
	default:
		name = bytes.Clone(window)
		_, _ = r.Discard(len(window)) // as above
	}
	name, wrong := fieldName(name)
	if wrong != nil {
		return nil, false, wrong
	}
	return name, hasValue, nil
}

// copyValue decodes a field's value.
func copyValue(to io.Writer, r *bufio.Reader, name []byte) error {
	for {
		window, err := r.Peek(r.Size())
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		part, _, isLast := bytes.Cut(window, []byte{'&'})
		used := len(part)
		if isLast {
			used++
		}
		isLast = isLast || err != nil
		decoded, rest, ok := unescape(part, isLast)
		if !ok {
			return badEscape(name)
		}
		if _, err := to.Write(decoded); err != nil {
			return err
		}
		_, _ = r.Discard(used - len(rest)) // they are there
		if isLast {
			return nil
		}
	}
}

// take reads one field.
func (l *largeForm) take(name []byte, read func(to io.Writer) error) error {
	if string(name) == "args" {
		l.hasArgs = true
		if err := l.args.reset(); err != nil {
			return err
		}
		return read(&l.args)
	}
	small := smallField{name: name}
	if err := read(&small); err != nil {
		return err
	}
	if err := l.fields.set(name, small.value); err != nil {
		return err
	}
	return nil
}

// A smallField is a value of at most MaxField bytes.
type smallField struct{ name, value []byte }

func (f *smallField) Write(p []byte) (int, error) {
	if len(f.value)+len(p) > MaxField {
		return 0, longField(f.name)
	}
	f.value = append(f.value, p...)
	return len(p), nil
}
