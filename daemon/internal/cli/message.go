package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"busd/bus"
	"busd/internal/nearest"
	"busd/msgclient"
	"busd/schema"
)

// maxArgument bounds a message, or an argument, that is read from standard input.
const maxArgument = 1 << 20

// readInput reads what a - stands for.
func readInput(in io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxArgument+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxArgument {
		return "", usage("--input FILE    sends a file of any length, to a method that takes one", "standard input has more than %s", bytesText(maxArgument))
	}
	return string(data), nil
}

// record makes a message of the service's contract from JSON; "-" reads it from
// standard input, and nothing means no attributes.
func (p *app) record(c *msgclient.Client, name string, args []string) (*schema.Record, error) {
	d, err := defined(c.Contract(), name, schema.FromService)
	if err != nil {
		return nil, err
	}
	if d.From == schema.FromService {
		return nil, &fault{
			what: "only the service may send " + name, exit: exitSchema,
			details: []detail{{"it takes", strings.Join(names(c.Contract(), schema.FromService), ", ")}},
		}
	}
	text := "{}"
	if len(args) > 0 {
		text = args[0]
	}
	if text == "-" {
		var err error
		if text, err = readInput(p.in); err != nil {
			return nil, err
		}
	}
	r, err := schema.RecordFromJSON(d, []byte(text))
	if err != nil {
		return nil, misfit(d, err)
	}
	return r, nil
}

// connectArgs reads connect arguments as the attributes of messages are read.
func connectArgs(text string) (map[string]any, error) {
	anything := schema.Type{Kind: schema.Map, Elem: &schema.Type{Kind: schema.Any}}
	d := schema.Definition{Name: "connect", Attrs: []schema.Attribute{{Name: "args", Type: anything}}}
	var args map[string]any
	r, err := schema.RecordFromJSON(d, []byte(`{"args": `+text+`}`))
	if err == nil {
		v, _ := r.Get("args")
		args, _ = v.(map[string]any)
	}
	if args == nil {
		f := usage("", `--args %s: want a JSON object, such as {"site": "cern"}`, text)
		if errors.As(err, new(*schema.ValueError)) {
			f.cause = err
		}
		return nil, f
	}
	return args, nil
}

// defined finds a message in a contract. What only without may send is not
// suggested.
func defined(contract *schema.Schema, name string, without schema.Sender) (schema.Definition, error) {
	d, ok := contract.Message(name)
	if ok {
		return d, nil
	}
	who, all := "it takes", names(contract, without)
	if without == schema.FromClient {
		who = "it sends"
	}
	f := &fault{
		what: "the contract of " + contract.Service() + " has no message " + name, exit: exitNotFound,
		details: []detail{{who, strings.Join(all, ", ")}},
	}
	if near := nearest.Word(name, all); near != "" {
		f.what += ": did you mean " + near + "?"
	}
	return d, f
}

// names lists messages, but those that only one side may send.
func names(contract *schema.Schema, without schema.Sender) []string {
	var all []string
	for _, d := range contract.Messages() {
		if d.From != without {
			all = append(all, d.Name)
		}
	}
	return all
}

// misfit says why JSON is no message of that definition.
func misfit(d schema.Definition, err error) error {
	f := &fault{what: err.Error(), exit: exitUsage}
	var value *schema.ValueError
	if errors.As(err, &value) {
		f.exit = exitSchema
	} else {
		f.what = "the attributes cannot be read: " + f.what
	}
	f.details = []detail{{d.Name, signature(d)}}
	return f
}

// signature is a message's attributes in one line.
func signature(d schema.Definition) string {
	parts := make([]string, len(d.Attrs))
	for i, a := range d.Attrs {
		parts[i] = a.Name + ": " + typeText(a.Type)
		if a.Optional {
			parts[i] += "?"
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// An event is how a message is printed for programs.
type event struct {
	Time    time.Time      `json:"time"`
	Message string         `json:"message"`
	Attrs   *schema.Record `json:"attrs"`
}

// show prints a message that came: its attributes as JSON, or, for programs,
// the whole event. A nil record is none.
func (p *app) show(m *schema.Record, asJSON bool) error {
	if asJSON {
		return p.printJSON(event{time.Now().UTC(), m.MessageName(), m})
	}
	if m == nil {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return p.printText(string(b) + "\n")
}

// refused says that the service did not do what was asked of it. Where ctx
// ended meanwhile, the news is why.
func refused(ctx context.Context, what string, err error) error {
	if over := context.Cause(ctx); over != nil && err != nil {
		err = over
	}
	if err == nil || errors.Is(err, errInterrupted) {
		return err
	}
	f := &fault{what: what, cause: err}
	switch bus.CodeOf(err) { //nolint:exhaustive // the others mean what they mean here, too
	case bus.CodeInvalidArgument, bus.CodeUnauthenticated, bus.CodeUnavailable:
		f.exit = exitFailed // it is the service that says so, not the command line or the network
	}
	return f
}
