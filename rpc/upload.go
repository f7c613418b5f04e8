package rpc

import (
	"bytes"
	"encoding/base64"
	"io"
	"sync"

	"busd/bus"
)

// An upload is what a method reads that takes a stream. A method that is left
// behind may still read from it: once it is stopped, that fails.
type upload struct {
	mu sync.Mutex
	// Guarded by mu.
	from    io.Reader
	stopped bool
	fault   *bus.Error // why reading failed; nil: it has not
}

// errStopped is what a method gets that reads on when its call has been answered.
var errStopped = bus.Errorf(bus.CodeCanceled, "the call has ended")

// Read reads what the client sends.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stopped {
		return 0, errStopped
	}
	n, err := u.from.Read(p)
	if err != nil && err != io.EOF && u.fault == nil {
		u.fault = bus.AsError(err)
	}
	return n, err
}

// stop ends the reading. It waits for a Read that has begun, which interrupt
// ends.
func (u *upload) stop(interrupt func()) {
	if !u.mu.TryLock() {
		interrupt()
		u.mu.Lock()
	}
	defer u.mu.Unlock()
	u.stopped, u.from = true, nil
}

// maxLead is how many bytes the arguments before a streamed one may have together.
const maxLead = 64 << 10

// uploadStart is how bytes in JEncode begin, as DIRAC's clients write them; white
// space may stand between.
var uploadStart = [...]string{"{", `"__dCls"`, ":", `"b64"`, ",", `"obj"`, ":"}

// splitUpload takes a spooled list of arguments apart: head is the list without
// its last one, last reads the bytes that this one is.
func (s *spool) splitUpload() (head []byte, last io.Reader, err *bus.Error) {
	lead := make([]byte, min(s.size, maxLead))
	if err := s.read(lead, 0); err != nil {
		return nil, nil, err
	}
	refused := badCall(`args: want a list whose last argument is bytes, {"__dCls": "b64", "obj": …}, those before it at most %d bytes`, maxLead)
	at := skipSpace(lead, 0)
	if at == len(lead) || lead[at] != '[' {
		return nil, nil, refused
	}
	at++
	for first := true; ; first = false {
		at = skipSpace(lead, at)
		if text := matchUpload(lead, at); text > 0 {
			end, isLast, err := s.endOfUpload(int64(text))
			switch {
			case err != nil:
				return nil, nil, err
			case isLast:
				head = bytes.TrimSuffix(bytes.TrimRight(lead[:at], " \t\r\n"), []byte(","))
				if hasOther := len(bytes.TrimSpace(head)) > 1; hasOther == first {
					return nil, nil, refused
				}
				return append(head, ']'), s.bytes(int64(text), end), nil
			}
		}
		if at = skipSpace(lead, skipValue(lead, at)); at == len(lead) || lead[at] != ',' {
			return nil, nil, refused
		}
		at++
	}
}

// bytes reads the bytes that base64 from one place to another stands for.
func (s *spool) bytes(from, to int64) io.Reader {
	return &strictBase64{base64.NewDecoder(base64.StdEncoding, io.NewSectionReader(s.file, from, to-from))}
}

// strictBase64 says in words for a stranger what is wrong.
type strictBase64 struct{ from io.Reader }

func (b *strictBase64) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a decoder's error, or the end as it is
		err = badCall("args: the last argument is no base64")
	}
	return n, err
}

// matchUpload returns where the text of bytes in JEncode begins, that begin at a
// place; 0: there are none.
func matchUpload(p []byte, at int) int {
	for _, token := range uploadStart {
		if at = skipSpace(p, at); !bytes.HasPrefix(p[at:], []byte(token)) {
			return 0
		}
		at += len(token)
	}
	if at = skipSpace(p, at); at < len(p) && p[at] == '"' {
		return at + 1
	}
	return 0
}

// endOfUpload finds where the text ends that begins at a place, and whether the
// list ends with it.
func (s *spool) endOfUpload(from int64) (end int64, isLast bool, err *bus.Error) {
	window := make([]byte, spoolWindow)
	for end = from; end < s.size; {
		part := window[:min(spoolWindow, s.size-end)]
		if err := s.read(part, end); err != nil {
			return 0, false, err
		}
		i := bytes.IndexAny(part, `"\`)
		if i < 0 {
			end += int64(len(part))
			continue
		}
		if part[i] != '"' {
			return 0, false, badCall("args: the last argument is no base64")
		}
		end += int64(i)
		tail := window[:min(spoolWindow, s.size-end)]
		if err := s.read(tail, end); err != nil {
			return 0, false, err
		}
		return end, end+int64(len(tail)) == s.size && isEndOfList(tail[1:]), nil
	}
	return 0, false, badCall("args: the list is cut off")
}

// isEndOfList tells whether p ends an object and the list that it stands in.
func isEndOfList(p []byte) bool {
	at := skipSpace(p, 0)
	if at == len(p) || p[at] != '}' {
		return false
	}
	at = skipSpace(p, at+1)
	return at < len(p) && p[at] == ']' && skipSpace(p, at+1) == len(p)
}

// skipSpace returns the first place from one on where no white space stands.
func skipSpace(p []byte, at int) int {
	for at < len(p) && (p[at] == ' ' || p[at] == '\t' || p[at] == '\n' || p[at] == '\r') {
		at++
	}
	return at
}

// skipValue returns the place after the JSON value that begins at a place, or the
// end of p where it does not end. Whether the value is well formed is not its
// concern.
func skipValue(p []byte, at int) int {
	depth := 0
	for at < len(p) {
		switch c := p[at]; c {
		case '"':
			at = skipString(p, at)
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return at
			}
		case ',':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return len(p)
}

// skipString returns the place of the quote that ends the string which begins at a
// place, or the end of p.
func skipString(p []byte, at int) int {
	for at++; at < len(p) && p[at] != '"'; at++ {
		if p[at] == '\\' {
			at++
		}
	}
	return min(at, len(p))
}
