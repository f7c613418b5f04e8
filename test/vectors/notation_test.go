package vectors_test

import (
	"fmt"
	"strings"
)

// kinds are the frames' names, by number.
var kinds = []string{
	"hello", "welcome", "drop", "ack", "data", "request", "answer", "error", "cancel", "goaway", "call", "part",
}

func kindOf(name string) (int64, bool) {
	for i, k := range kinds {
		if k == name {
			return int64(i), true
		}
	}
	return 0, false
}

// parseFrame reads a frame's readable form, such as
//
//	data 1 Ping {"id": 7} flags=1
//
// and returns it as the list that travels. "frame [...]" is any list.
func parseFrame(text string, vars map[string]any) ([]any, error) {
	s := &scanner{text: text, vars: vars}
	name := s.word()
	if name == "frame" {
		v, err := s.value()
		if err != nil {
			return nil, err
		}
		list, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("frame: want a list, got %s", show(v))
		}
		return list, s.end()
	}
	kind, ok := kindOf(name)
	if !ok {
		return nil, fmt.Errorf("no frame is called %q", name)
	}
	list, err := s.elements(name, []any{kind})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return list, s.end()
}

func (s *scanner) end() error {
	if s.peek() != 0 {
		return s.fail("the end of the line")
	}
	return nil
}

// elements reads what a frame has after its kind.
func (s *scanner) elements(name string, list []any) ([]any, error) {
	switch name {
	case "hello", "welcome", "drop", "goaway":
		return s.append(list, 1)
	case "ack":
		list, err := s.append(list, 2)
		if err != nil {
			return nil, err
		}
		return s.named(list, "flags", []any{})
	case "cancel":
		return s.named(list, "re", nil)
	case "error":
		list, err := s.append(list, 1)
		if err == nil {
			list, err = s.named(list, "re", nil)
		}
		if err != nil {
			return nil, err
		}
		return s.append(list, 1)
	case "answer":
		return s.answer(list)
	}
	list, err := s.append(list, 1)
	if err != nil {
		return nil, err
	}
	list = append(list, s.word())
	if list, err = s.append(list, 1); err != nil {
		return nil, err
	}
	if name != "data" {
		return s.named(list, "timeout", []any{})
	}
	if s.peek() == 'r' {
		return s.named(append(list, int64(0)), "re", nil)
	}
	if list, err = s.named(list, "flags", []any{}); err != nil || len(list) < 5 {
		return list, err
	}
	return s.named(list, "re", []any{})
}

func (s *scanner) answer(list []any) ([]any, error) {
	list, err := s.append(list, 1)
	if err == nil {
		list, err = s.named(list, "re", nil)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case s.peek() == 0:
		return append(list, nil, nil), nil
	case strings.HasPrefix(s.text[s.pos:], "h\""), strings.HasPrefix(s.text[s.pos:], "b'"):
		return s.append(append(list, nil), 1)
	}
	return s.append(append(list, s.word()), 1)
}

// append reads n values.
func (s *scanner) append(list []any, n int) ([]any, error) {
	for range n {
		v, err := s.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// named reads name=value; if it is not there it appends otherwise, or fails if
// that is nil.
func (s *scanner) named(list []any, name string, otherwise []any) ([]any, error) {
	if s.take(name + "=") {
		return s.append(list, 1)
	}
	if otherwise == nil {
		return nil, s.fail(name + "=")
	}
	return append(list, otherwise...), nil
}

// showFrame writes a frame's readable form. What is no frame by its number of
// elements is written as a list.
func showFrame(list []any) string {
	general := "frame " + show(list)
	if len(list) == 0 {
		return general
	}
	kind, ok := list[0].(int64)
	if !ok || kind < 0 || int(kind) >= len(kinds) {
		return general
	}
	name, rest := kinds[kind], list[1:]
	var text string
	switch {
	case len(rest) == 1 && (name == "hello" || name == "welcome" || name == "drop" || name == "goaway"):
		text = show(rest[0])
	case len(rest) == 2 && name == "ack":
		text = show(rest[0]) + " " + show(rest[1])
	case len(rest) == 3 && name == "ack":
		text = show(rest[0]) + " " + show(rest[1]) + " flags=" + show(rest[2])
	case len(rest) == 1 && name == "cancel":
		text = "re=" + show(rest[0])
	case len(rest) == 3 && name == "error":
		text = show(rest[0]) + " re=" + show(rest[1]) + " " + show(rest[2])
	case len(rest) == 4 && name == "answer":
		text = showAnswer(rest)
	case len(rest) >= 3 && (name == "data" || name == "request" || name == "call"):
		text = showMessage(name, rest)
	}
	if text == "" {
		return general
	}
	return name + " " + text
}

func showAnswer(rest []any) string {
	text := show(rest[0]) + " re=" + show(rest[1])
	message, named := rest[2].(string)
	switch {
	case named:
		return text + " " + message + " " + show(rest[3])
	case rest[3] != nil:
		return text + " " + showText(rest[3])
	}
	return text
}

func showMessage(name string, rest []any) string {
	message, ok := rest[1].(string)
	if !ok {
		return ""
	}
	text := show(rest[0]) + " " + message + " "
	if name == "call" {
		text += showText(rest[2])
	} else {
		text += show(rest[2])
	}
	switch {
	case len(rest) == 3:
		return text
	case len(rest) == 4 && name == "data":
		return text + " flags=" + show(rest[3])
	case len(rest) == 4:
		return text + " timeout=" + show(rest[3])
	case len(rest) == 5 && name == "data":
		if flags := show(rest[3]); flags != "0" {
			text += " flags=" + flags
		}
		return text + " re=" + show(rest[4])
	}
	return ""
}

// hexOf groups bytes by four.
func hexOf(b []byte) string {
	var text strings.Builder
	for i, c := range b {
		if i > 0 && i%4 == 0 {
			text.WriteByte(' ')
		}
		fmt.Fprintf(&text, "%02x", c)
	}
	return text.String()
}
