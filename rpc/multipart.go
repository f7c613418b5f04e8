package rpc

import (
	"errors"
	"io"
	"mime/multipart"

	"busd/bus"
)

// partGap is how many bytes may stand before and between the parts of a multipart
// form: their headers.
const partGap = 16 << 10

// takeMultipart reads a multipart form. Its error is the source's or a
// *bus.Error.
func (l *largeForm) takeMultipart(from io.Reader, boundary string) error {
	gap := &gapReader{from: from}
	r := multipart.NewReader(gap, boundary)
	for {
		gap.left = partGap
		part, err := r.NextRawPart()
		if err == io.EOF { //nolint:errorlint // wrapped, it is the end before its time
			return nil
		}
		if err == nil {
			gap.left = -1
			err = l.takePart(part)
		}
		if err != nil {
			return gap.why(err)
		}
	}
}

func (l *largeForm) takePart(part *multipart.Part) error {
	if err := l.fields.more(); err != nil {
		return err
	}
	name := part.FormName()
	switch {
	case part.FileName() != "" && l.hasFile:
		return badCall("multipart: more than one file")
	case part.FileName() != "":
		l.hasFile = true
		_, err := io.Copy(&l.file, part)
		return err
	case len(name) > MaxFieldName:
		return badCall("form: a field's name has more than %d bytes", MaxFieldName)
	}
	return l.take([]byte(name), func(to io.Writer) error {
		_, err := io.Copy(to, textReader{part})
		return err
	})
}

// A textReader reads a text, whose control characters become spaces, as in an
// urlencoded one.
type textReader struct{ from io.Reader }

func (t textReader) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	for i, c := range p[:n] {
		if isControl(c) {
			p[i] = ' '
		}
	}
	return n, err
}

// A gapReader bounds what is read between the parts of a form, which
// mime/multipart does not.
type gapReader struct {
	from io.Reader
	left int   // bytes that may be read; below 0: any
	err  error // why reading ended
}

func (g *gapReader) Read(p []byte) (int, error) {
	switch {
	case g.left == 0:
		g.err = badCall("multipart: more than %d bytes between two parts", partGap)
		return 0, g.err
	case g.left > 0:
		p = p[:min(len(p), g.left)]
	}
	n, err := g.from.Read(p)
	if g.left > 0 {
		g.left -= n
	}
	if err != nil && !errors.Is(err, io.EOF) {
		g.err = err
	}
	return n, err
}

// why says what is wrong with a form that reading ended at with an error.
func (g *gapReader) why(err error) error {
	if g.err != nil {
		return g.err
	}
	if said := (*bus.Error)(nil); errors.As(err, &said) {
		return said
	}
	return badCall("multipart: the form is not framed as its Content-Type says")
}
