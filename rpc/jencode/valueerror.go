package jencode

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A ValueError says what is wrong with a value. Of its contents it tells no more
// than numbers and the names on the way to it, cut to a length.
type ValueError struct {
	// Path is the place: "[2].name"; "byte 17", from 0, in what is not JSON at all;
	// empty: the value itself.
	Path string
	// Want and Got say what was wanted and what came: "int", "float 1.5".
	Want, Got string
}

// Error returns "path: want int, got float 1.5".
func (e *ValueError) Error() string {
	text := "want " + e.Want + ", got " + e.Got
	if e.Path != "" {
		text = e.Path + ": " + text
	}
	return text
}

// Bounds on what an error shows of a stranger's text, in bytes.
const (
	maxName = 64
	maxPath = 512
)

// misfit is a ValueError whose place is not yet known.
func misfit(want, got string) *ValueError { return &ValueError{Want: want, Got: got} }

// inside puts the place of an element before the path, on the way out of a list.
func (e *ValueError) inside(i int) *ValueError { return e.under("[" + strconv.Itoa(i) + "]") }

// member puts the name of a member before the path, on the way out of an object.
func (e *ValueError) member(name string) *ValueError { return e.under(place(name)) }

func (e *ValueError) under(step string) *ValueError {
	if e.Path != "" && e.Path[0] != '[' {
		step += "."
	}
	if e.Path = step + e.Path; len(e.Path) > maxPath {
		e.Path = strings.ToValidUTF8(e.Path[:maxPath], "") + "…"
	}
	return e
}

// place is how a path names a member: name, or ["any other text"].
func place(name string) string {
	word := name != "" && len(name) <= maxName
	for i := 0; word && i < len(name); i++ {
		c := name[i] | 0x20
		word = 'a' <= c && c <= 'z' || name[i] == '_' || i > 0 && '0' <= name[i] && name[i] <= '9'
	}
	if word {
		return name
	}
	return "[" + strconv.QuoteToASCII(cut(name)) + "]"
}

// cut shortens what a stranger wrote, so that an error stays one line.
func cut(s string) string {
	if len(s) <= maxName {
		return s
	}
	end := maxName
	for !utf8.RuneStart(s[end]) && end > maxName-utf8.UTFMax {
		end--
	}
	return s[:end] + "…"
}
