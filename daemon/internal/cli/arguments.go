package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"busd/rpc/jencode"
)

// arguments are those of a call, as jencode writes them: in their order, or by
// name.
type arguments struct {
	list  []any
	named map[string]any // nil: they are in their order
}

// readArguments reads what was typed; "-", once, is read from standard input.
func readArguments(in io.Reader, list, named []string) (arguments, error) {
	var a arguments
	fromInput := false
	for _, text := range list {
		if text == "-" {
			if fromInput {
				return a, usage("", "standard input can be one argument: - is there twice")
			}
			fromInput = true
			whole, err := readInput(in)
			if err != nil {
				return a, err
			}
			text = strings.TrimSuffix(whole, "\n")
		}
		a.list = append(a.list, argument(text))
	}
	if len(named) == 0 {
		return a, nil
	}
	if len(list) > 0 {
		return a, usage("", "--kw: give all arguments by name or all in their order, got %s without a name", strings.Join(list, " "))
	}
	a.named = map[string]any{}
	for _, text := range named {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return a, usage("", "--kw %s: want name=value", text)
		}
		if _, twice := a.named[name]; twice {
			return a, usage("", "--kw %s: %s is there twice", text, name)
		}
		a.named[name] = argument(value)
	}
	return a, nil
}

// argument is what a text stands for: the value, if it is one in JSON, else itself.
func argument(text string) any {
	if json.Valid([]byte(text)) {
		return jencode.Raw(text)
	}
	return text
}

// printResult prints a value in JSON: for programs in one line, for people indented,
// and of a text what it says.
func (p *app) printResult(v any, asJSON bool) error {
	if text, ok := v.(string); ok && !asJSON {
		if isTerminal(p.out) {
			return p.printText(text + "\n")
		}
		_, err := io.WriteString(p.out, text+"\n")
		return err
	}
	line, err := jencode.Append(nil, v, jencode.JSON)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if asJSON {
		b.Write(line)
	} else if err := json.Indent(&b, line, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	return p.printText(b.String())
}
