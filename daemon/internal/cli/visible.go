package cli

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// visible makes what a stranger says fit for a terminal, in one line: what would move
// the cursor, turn the text around or begin a line is written as JSON escapes it.
func visible(s string) string { return escaped(s, "") }

// visibleLines is visible for what has lines of its own; JSON stays the same JSON.
func visibleLines(s string) string { return escaped(s, "\n\t") }

func escaped(s, but string) string {
	var b strings.Builder
	for _, r := range s { // bytes that are no UTF-8 become U+FFFD
		switch {
		case !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || strings.ContainsRune(but, r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// visibleDoc is visible for documentation, whose lines are made one.
func visibleDoc(s string) string { return visible(strings.Join(strings.Fields(s), " ")) }
