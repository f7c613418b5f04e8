package rpcclient

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"

	"busd/bus"
	"busd/rpc/jencode"
)

// Send calls a method that takes content, with size bytes of r, -1 for all that there
// are, and returns its result as [Client.Call] does. It takes a piece of memory
// whatever the size, there is no bound but the context's, and the client's Timeout is how
// long nothing may move. It is tried again as calls are, if nothing of r has been read or
// r is an [io.Seeker]. Once it has returned r is not read any more, except that a Read
// that hangs is left alone when the context ends.
//
// A method of busd gets the content as its last argument; values go and come as plain
// JSON has them. With an empty method or [StreamFromClient] it is DIRAC's upload, which
// both servers know: args is then the file's ID, and if need be a token, and size must
// be known.
func (c *Client) Send(ctx context.Context, r io.Reader, size int64, method string, args ...any) (any, error) {
	t := c.transfer(ctx)
	defer t.end()
	t.total = size
	src := newSource(t, r, size)
	defer src.stop()
	request, dialect, err := c.upload(src, method, args)
	if err != nil {
		return nil, unsent(err)
	}
	request.header = http.Header{"Expect": {"100-continue"}} // who refuses does so before anything is read
	var value any
	request.take = func(answer *http.Response) *Error { return c.readAnswer(answer, &value, dialect) }
	if failure := c.send(t.ctx, request); failure != nil {
		return nil, failure
	}
	return value, nil
}

// SendFile is [Client.Send] of a file, as long as it is now.
func (c *Client) SendFile(ctx context.Context, path, method string, args ...any) (any, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unsent(bus.Wrap(bus.CodeFailedPrecondition, err, "the file cannot be read"))
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return nil, unsent(bus.Wrap(bus.CodeFailedPrecondition, err, "the file cannot be read"))
	}
	return c.Send(ctx, f, info.Size(), method, args...)
}

// upload makes the request that a method wants, and says how its values are written.
func (c *Client) upload(src *source, method string, args []any) (*request, jencode.Dialect, error) {
	if method == "" || method == StreamFromClient {
		r, err := c.uploadForm(src, args)
		return r, jencode.DIRAC, err
	}
	list, err := jencode.Append(nil, append([]any{}, args...), jencode.JSON)
	if err != nil {
		return nil, 0, bus.Errorf(bus.CodeInvalidArgument, "arguments: %v", err)
	}
	query := url.Values{"args": {string(list)}}
	if len(c.claim) > 0 {
		query.Set("extraCredentials", string(c.claim))
	}
	return &request{
		method: method, path: "/" + method, query: query.Encode(), kind: []string{"application/octet-stream"},
		body: &content{src: src}, begun: src.begun.Load,
	}, jencode.JSON, nil
}

// uploadForm is DIRAC's streamFromClient(fileID, token, size, bytes), as a multipart
// form: of that the length is known before it is sent, and nothing is urlencoded.
func (c *Client) uploadForm(src *source, args []any) (*request, error) {
	switch {
	case src.size < 0:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "%s wants the size", StreamFromClient)
	case len(args) == 1:
		args = append(args[:1:1], "")
	case len(args) != 2:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "%s: want the file's ID, and if need be a token, got %d arguments", StreamFromClient, len(args))
	}
	list, err := jencode.Append(nil, append(args[:2:2], src.size), jencode.DIRAC)
	if err != nil {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "arguments: %v", err)
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	fields := [][2]string{{"method", StreamFromClient}, {"clientVO", c.cfg.VO}, {"clientSetup", c.cfg.Setup}}
	if len(c.claim) > 0 {
		fields = append(fields, [2]string{"extraCredentials", string(c.claim)})
	}
	fields = append(fields, [2]string{"args", string(list[:len(list)-1]) + `, {"__dCls": "b64", "obj": "`})
	for _, field := range fields {
		err = errors.Join(err, w.WriteField(field[0], field[1]))
	}
	head := bytes.Clone(form.Bytes())
	form.Reset()
	form.WriteString(`"}]`)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err // a buffer's, which has none
	}
	return &request{
		method: StreamFromClient, kind: []string{w.FormDataContentType()},
		body: &content{head: head, src: src, tail: form.Bytes(), base64: true},
	}, nil
}

// A content is a body that comes from a reader.
type content struct {
	head, tail []byte
	src        *source
	base64     bool
}

func (c *content) fresh() bool { return c.src.fresh() }

func (c *content) open() (io.ReadCloser, int64, error) {
	from, err := c.src.begin()
	if err != nil {
		return nil, 0, err
	}
	size := c.src.size
	if c.base64 {
		from, size = &base64Reader{from: from}, int64(base64.StdEncoding.EncodedLen(int(size)))
	}
	if size >= 0 {
		size += int64(len(c.head) + len(c.tail))
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(c.head), from, bytes.NewReader(c.tail))), size, nil
}

// A base64Reader reads what another one has as base64.
type base64Reader struct {
	from io.Reader
	text []byte // what is not yet read
	end  error
	// raw is a whole number of groups of three bytes.
	raw     [pieceSize / 4 * 3]byte
	encoded [pieceSize]byte
}

func (b *base64Reader) Read(p []byte) (int, error) {
	for len(b.text) == 0 {
		if b.end != nil {
			return 0, b.end
		}
		n, err := io.ReadFull(b.from, b.raw[:])
		if errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, new(*readError)) {
			err = io.EOF
		}
		if b.end = err; err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		base64.StdEncoding.Encode(b.encoded[:], b.raw[:n])
		b.text = b.encoded[:base64.StdEncoding.EncodedLen(n)]
	}
	n := copy(p, b.text)
	b.text = b.text[n:]
	return n, nil
}

// A source is what is to be sent. Attempts read it one after the other; one that has
// been given up reads nothing any more.
type source struct {
	// Fixed at creation.
	from   io.Reader
	seeker io.Seeker // nil: it can be read once
	start  int64
	size   int64 // -1: to its end
	t      *transfer
	turn   chan struct{} // holds a token while nobody reads

	// Guarded by turn.
	round int // of attempts
	done  int64

	begun atomic.Bool // something was asked for since begin
}

func newSource(t *transfer, r io.Reader, size int64) *source {
	s := &source{from: r, size: max(size, -1), t: t, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	if seeker, ok := r.(io.Seeker); ok {
		if at, err := seeker.Seek(0, io.SeekCurrent); err == nil { // of a pipe there is none
			s.seeker, s.start = seeker, at
		}
	}
	return s
}

// take waits until nobody reads.
func (s *source) take() error {
	select {
	case <-s.turn:
		return nil
	case <-s.t.ctx.Done():
		return context.Cause(s.t.ctx)
	}
}

// fresh tells whether it can be read from its beginning.
func (s *source) fresh() bool {
	if s.take() != nil {
		return false
	}
	defer func() { s.turn <- struct{}{} }()
	return !s.begun.Load() || s.seeker != nil
}

// begin returns a reader of all of it.
func (s *source) begin() (io.Reader, error) {
	if err := s.take(); err != nil {
		return nil, err
	}
	defer func() { s.turn <- struct{}{} }()
	if s.begun.Load() {
		if _, err := s.seeker.Seek(s.start, io.SeekStart); err != nil {
			return nil, err
		}
	}
	s.round++
	s.begun.Store(false)
	s.done, s.t.done = 0, 0
	return &reading{s, s.round}, nil
}

// stop ends all reading.
func (s *source) stop() {
	if s.take() != nil {
		return // a Read that hangs is left alone
	}
	s.round++
	s.turn <- struct{}{}
}

// A reading is one attempt's.
type reading struct {
	s     *source
	round int
}

// errGivenUp is what an attempt reads whose place another one has taken.
var errGivenUp = errors.New("the attempt was given up")

// Read reads exactly as much as was said.
func (r *reading) Read(p []byte) (int, error) {
	s := r.s
	if err := s.take(); err != nil {
		return 0, err
	}
	defer func() { s.turn <- struct{}{} }()
	if s.round != r.round || s.t.ctx.Err() != nil {
		return 0, errGivenUp
	}
	if s.size >= 0 {
		if p = p[:min(int64(len(p)), s.size-s.done)]; len(p) == 0 {
			return 0, io.EOF
		}
	}
	s.begun.Store(true)
	n, err := s.from.Read(p)
	s.done += int64(n)
	s.t.moved(n)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
	case s.size < 0 || s.done == s.size:
		return n, io.EOF
	default:
		err = io.ErrUnexpectedEOF
	}
	return n, &readError{err}
}
