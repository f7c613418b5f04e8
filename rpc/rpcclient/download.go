package rpcclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"os"
	"path/filepath"

	"busd/bus"
)

// maxVerdict bounds a result that came in place of content.
const maxVerdict = 64 << 10

// Receive calls a method whose result is content, writes that to w, and returns how
// many bytes it wrote; an empty method is [StreamToClient]. It takes a piece of memory
// whatever the size. There is no bound but the context's; the client's Timeout is how
// long nothing may come. It is tried again only as long as nothing has been
// written. What was written before an error is not whole.
func (c *Client) Receive(ctx context.Context, w io.Writer, method string, args ...any) (int64, error) {
	if method == "" {
		method = StreamToClient
	}
	list, err := encodeList(args)
	if err != nil {
		return 0, unsent(err)
	}
	k := c.newCall(method, list)
	k.raw = true
	t := c.transfer(ctx)
	defer t.end()
	failure := c.send(t.ctx, &request{
		method: method, kind: formType, body: bytesBody(k.form(c.claim)),
		header: http.Header{"Accept-Encoding": {"identity"}}, // so that Content-Length is the content's
		take:   func(r *http.Response) *Error { return t.receive(w, r) },
		taken:  func() bool { return t.done > 0 },
	})
	if failure != nil {
		return t.done, failure
	}
	return t.done, nil
}

// receive writes the content of an answer to w.
func (t *transfer) receive(w io.Writer, r *http.Response) *Error {
	if e := verdict(r); e != nil {
		return e
	}
	if r.ProtoMajor == 1 && r.ContentLength < 0 && len(r.TransferEncoding) == 0 {
		// It ends with the connection, which anybody can end: TLS does not tell.
		return odd("it has neither a length nor chunks, so that a part would be taken for the whole")
	}
	t.total = r.ContentLength
	piece := make([]byte, pieceSize)
	for {
		n, err := r.Body.Read(piece)
		if n > 0 {
			if _, err := w.Write(piece[:n]); err != nil {
				return failed(bus.Wrap(bus.CodeAborted, err, "what came cannot be written"))
			}
			t.moved(n)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return cut(err)
		}
	}
}

// verdict is the error of an answer that is no content: DIRAC's servers say S_ERROR in
// JSON where content was asked for, with status 200. nil: it is content, as everything
// is that is called an attachment.
func verdict(r *http.Response) *Error {
	if how, _, _ := mime.ParseMediaType(r.Header.Get("Content-Disposition")); how == "attachment" {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // of a bad one there is none
	switch kind {
	case "text/html":
		return odd("it is a page of HTML, in place of content")
	case "application/json":
	default:
		return nil
	}
	var head bytes.Buffer
	if _, err := io.Copy(&head, io.LimitReader(r.Body, maxVerdict)); err != nil {
		return cut(err)
	}
	_, e := parseAnswer(head.Bytes())
	switch {
	case e == nil:
		return odd("it is a result, in place of content: %q", excerpt(head.Bytes()))
	case e.Returned:
		return e
	}
	// A file that is JSON comes as application/octet-stream, too.
	return odd("it is JSON, in place of content: %q", excerpt(head.Bytes()))
}

// ErrUnwritable matches, by errors.Is, the error of a [Client.ReceiveFile] whose file
// cannot be written here.
var ErrUnwritable = errors.New("the file cannot be written")

// ReceiveFile is [Client.Receive] into a file, which appears when all of it is there
// and on the disk, in place of one that stood there. On an error nothing is left
// behind.
func (c *Client) ReceiveFile(ctx context.Context, path, method string, args ...any) (err error) {
	f, err := part(path)
	if err != nil {
		return unsent(bus.Wrap(bus.CodeFailedPrecondition, fmt.Errorf("%w: %w", ErrUnwritable, err), "the file cannot be written"))
	}
	defer func() {
		if err != nil {
			_ = f.Close() // the error says enough
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = c.Receive(ctx, f, method, args...); err != nil {
		return err
	}
	if err = keep(f, path); err != nil {
		return failed(bus.Wrap(bus.CodeAborted, fmt.Errorf("%w: %w", ErrUnwritable, err), "the content came, and cannot be kept"))
	}
	return nil
}

// part makes the file that is written before the one of this path is there: beside
// it.
func part(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is there, and no regular file", path)
	}
	dir, _ := filepath.Split(path)
	for {
		f, err := os.OpenFile(fmt.Sprintf("%s.busd-%016x.part", dir, rand.Uint64()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // as any program's file, within its umask; the name is no secret
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
	}
}

// keep gives a file its name once it is on the disk.
func keep(f *os.File, path string) error {
	err := f.Sync()
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
