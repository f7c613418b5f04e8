package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"busd/schema"
)

// size says how much is in a contract.
func size(s *schema.Schema) string {
	text := plural(len(s.Messages()), "message")
	if n := len(s.Methods()); n > 0 {
		text += ", " + plural(n, "method")
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printSchema prints a contract for people.
func printSchema(out io.Writer, s *schema.Schema) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n%s\n", s.Service(), size(s), s.Fingerprint())
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, d := range s.Messages() {
		fmt.Fprintf(w, "\n%s\t%s\t%s\n", d.Name, origin(d), visibleDoc(d.Doc))
		printAttrs(w, "  ", d.Attrs)
	}
	for _, m := range s.Methods() {
		printMethod(w, m)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, trimmed(b.String()))
	return err
}

// printMethod prints a method: its arguments, those that may be left out with a ?,
// what each of them is, and what a result of several parts is made of.
func printMethod(w io.Writer, m schema.Method) {
	names, params := make([]string, len(m.Params)), m.Params
	for i, a := range m.Params {
		names[i] = a.Name
		if a.Optional {
			names[i] += "?"
		}
	}
	takes, gives := "", "nothing"
	if m.Upload {
		takes, params = "takes a file, ", params[:len(params)-1]
	}
	switch {
	case m.Download:
		gives = "a file"
	case m.Result != nil:
		gives = typeText(*m.Result)
	}
	fmt.Fprintf(w, "\n%s(%s)\t%sreturns %s\t%s\n", m.Name, strings.Join(names, ", "), takes, visible(gives), visibleDoc(m.Doc))
	printAttrs(w, "  ", params)
	if m.Upload {
		file := m.Params[len(params)]
		fmt.Fprintf(w, "  %s\ta file\t%s\n", file.Name, visibleDoc(file.Doc))
	}
	if m.Result == nil {
		return
	}
	if parts := inner(*m.Result); len(parts) > 0 {
		fmt.Fprint(w, "  in its result:\n")
		printAttrs(w, "    ", parts)
	}
}

// trimmed takes away the blanks at the ends of lines.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// origin says who sends a message, and what happens where there is no room.
func origin(d schema.Definition) string {
	from := map[schema.Sender]string{
		schema.FromClient: "from clients", schema.FromService: "from the service", schema.FromBoth: "from both",
	}[d.From]
	switch {
	case d.Class == schema.Latest && d.Key != "":
		from += ", latest of each " + d.Key
	case d.Class != schema.Must:
		from += ", " + d.Class.String()
	}
	return from
}

func printAttrs(w io.Writer, indent string, attrs []schema.Attribute) {
	for _, a := range attrs {
		text := typeText(a.Type)
		if a.Optional {
			text += ", optional"
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\n", indent, a.Name, visible(text), visibleDoc(a.Doc))
		printAttrs(w, indent+"  ", inner(a.Type))
	}
}

// inner returns the attributes of a struct, also inside lists and maps.
func inner(t schema.Type) []schema.Attribute {
	for t.Elem != nil {
		t = *t.Elem
	}
	return t.Attrs
}

// typeText says a type and its constraints in one line, such as "int 0..10".
func typeText(t schema.Type) string {
	s := t.Kind.String()
	switch t.Kind { //nolint:exhaustive // the others are their word
	case schema.List:
		s += " of " + elemText(*t.Elem)
	case schema.Map:
		s += " of string to " + elemText(*t.Elem)
	case schema.Enum:
		s = strings.Join(t.Values, "|")
	case schema.Int:
		s += span(t.MinInt, t.MaxInt)
	case schema.Float:
		s += span(t.MinFloat, t.MaxFloat)
		if t.NonFinite {
			s += ", or NaN or infinite"
		}
	}
	if length := span(t.MinLen, t.MaxLen); length != "" {
		s += ", length" + length
	}
	if t.Pattern != "" {
		s += ", like " + t.Pattern
	}
	return s
}

// elemText keeps an element's constraints apart from those of the whole.
func elemText(t schema.Type) string {
	if text := typeText(t); strings.Contains(text, ",") {
		return "(" + text + ")"
	}
	return typeText(t)
}

// span says bounds, such as " 0..10" or " 1..".
func span[T any](low, high *T) string {
	if low == nil && high == nil {
		return ""
	}
	s := " "
	if low != nil {
		s += fmt.Sprint(*low)
	}
	s += ".."
	if high != nil {
		s += fmt.Sprint(*high)
	}
	return s
}

// printChanges prints what differs between two contracts for people.
func printChanges(out io.Writer, changes []schema.Change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(out, "no difference")
		return err
	}
	for _, c := range changes {
		mark := "        "
		if c.Breaking {
			mark = "breaking"
		}
		if _, err := fmt.Fprintf(out, "%s  %s\n", mark, visible(strings.TrimSuffix(c.String(), " (breaking)"))); err != nil {
			return err
		}
	}
	return nil
}

// A change is how a difference is printed for programs.
type change struct {
	Message  string `json:"message,omitempty"`
	Method   string `json:"method,omitempty"`
	Path     string `json:"path,omitempty"`
	What     string `json:"what"`
	Breaking bool   `json:"breaking"`
}

func changesOf(changes []schema.Change) []change {
	all := make([]change, len(changes))
	for i, c := range changes {
		all[i] = change{Message: c.Message, Method: c.Method, Path: c.Path, What: c.What, Breaking: c.Breaking}
	}
	return all
}
