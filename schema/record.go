package schema

import (
	"encoding/base64"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
)

// A Record is a message without a Go type: attributes by name, each checked
// as it is set. It is a [Message] like any other.
//
// A Record is not safe for concurrent use.
type Record struct {
	definition Definition
	// values are in the definition's order, in plain form; nil is not set.
	values []any
}

// NewRecord makes an empty record of that definition, which it keeps and
// which must not be changed.
func NewRecord(d Definition) *Record {
	return &Record{definition: d, values: make([]any, len(d.Attrs))}
}

// Definition returns the record's definition; it must not be changed.
func (r *Record) Definition() Definition { return r.definition }

// MessageName returns the name of the message; of a nil record, "".
func (r *Record) MessageName() string {
	if r == nil {
		return ""
	}
	return r.definition.Name
}

// Set sets an attribute to a copy of value, which must fit as
// [Definition.Check] says; else the error is a [*ValueError] and nothing
// changes. nil removes an optional attribute.
func (r *Record) Set(name string, value any) error {
	i := indexAttr(r.definition.Attrs, name)
	if i < 0 {
		return r.fault(unknownAttr(r.definition.Attrs, name))
	}
	var c checker
	plain, err := c.attr(&r.definition.Attrs[i], value, 1)
	if err != nil {
		return r.fault(err)
	}
	r.values[i] = plain
	return nil
}

// Get returns an attribute's value, and whether it is set. Values are plain
// whatever was given to Set: bool, int64, float64, string (an enum too),
// []byte, time.Time in UTC, []any, and map[string]any for maps and structs.
// What is behind them belongs to the record and must not be changed.
func (r *Record) Get(name string) (any, bool) {
	i := indexAttr(r.definition.Attrs, name)
	if i < 0 || r.values[i] == nil {
		return nil, false
	}
	return r.values[i], true
}

// Check tells whether the record may be sent: whether all required attributes
// are set. The error is a [*ValueError].
func (r *Record) Check() error {
	for i, a := range r.definition.Attrs {
		if r.values[i] == nil && !a.Optional {
			return r.fault(misfit(a.Type.want(), "nothing").under(a.Name))
		}
	}
	return nil
}

// Attrs yields the attributes that are set, in contract order, with values as
// [Record.Get] returns them.
func (r *Record) Attrs() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for i, v := range r.values {
			if v != nil && !yield(r.definition.Attrs[i].Name, v) {
				return
			}
		}
	}
}

// String returns the message's name and its attributes, each cut to five
// characters: enough to tell records apart in a log, which is no place for
// contents.
func (r *Record) String() string {
	if r == nil {
		return "<nil>"
	}
	var b strings.Builder
	b.WriteString(r.definition.Name)
	b.WriteByte('{')
	first := true
	for name, v := range r.Attrs() {
		if !first {
			b.WriteString(", ")
		}
		first = false
		b.WriteString(name + ": " + glimpse(v))
	}
	b.WriteByte('}')
	return b.String()
}

func (r *Record) fault(e *ValueError) error {
	e.Message = r.definition.Name
	return e
}

// glimpse returns the first five characters of a value. Of a list or a map it
// shows only how long it is.
func glimpse(v any) string {
	const most = 5
	text := ""
	switch v := v.(type) {
	case string:
		start, more := firstRunes(v, most)
		return strconv.Quote(start) + more
	case []byte:
		text = base64.StdEncoding.EncodeToString(v[:min(len(v), most)])
	case time.Time:
		text = v.Format(time.RFC3339)
	case []any:
		return fmt.Sprintf("[%d]", len(v))
	case map[string]any:
		return fmt.Sprintf("{%d}", len(v))
	default:
		text = fmt.Sprint(v)
	}
	start, more := firstRunes(text, most)
	return start + more
}

func firstRunes(s string, n int) (start, more string) {
	for i := range s {
		if n == 0 {
			return s[:i], "…"
		}
		n--
	}
	return s, ""
}
