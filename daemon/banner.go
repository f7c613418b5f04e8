package daemon

import (
	"fmt"
	"io"
	"strings"
	"time"

	"busd/daemon/internal/cli"
	"busd/msgbus"
	"busd/schema"
)

// banner tells a person who started development mode what runs, and what to
// type next.
func (s *server) banner(w io.Writer, took time.Duration) error {
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	base := "wss://" + s.gates[0].Addr().String()
	line("busd %s  DEVELOPMENT MODE: loopback only, certificates of its own; not for production", cli.Version)
	line("  bus        %s", base)
	for _, svc := range s.services {
		line("  service    %s", svc.Name())
	}
	if s.adminLine != nil {
		line("  admin      http://%s   /healthz /readyz /metrics", s.adminLine.Addr())
	}
	line("  pki        %s   clients %s; whoever can read the keys can be any of them", s.pki.dir, strings.Join(devClients, ", "))
	line("  ca         %s", s.pki.fingerprint())
	line("             valid until %s", s.pki.ca.Certificate().NotAfter.Local().Format("2006-01-02 15:04"))
	if s.pki.renewed != "" {
		line("             MADE ANEW, because of the last one: %s; what that signed is worth nothing now", s.pki.renewed)
	}
	line("  state      in memory: connections and sessions live until this ends")
	line("Next, in this directory, in another terminal:")
	for _, next := range commands(s.gates[0].Addr().String(), s.services[0]) {
		line("  %s", next)
	}
	line("ready in %d ms; ctrl-C stops it", took.Milliseconds())
	_, err := io.WriteString(w, b.String())
	return err
}

// commands are what to type next.
func commands(address string, svc *msgbus.Service) []string {
	url := "wss://" + address + "/" + svc.Name()
	var next []string
	var fromClient, fromService []schema.Definition
	for _, d := range svc.Schema.Messages() {
		switch d.From {
		case schema.FromClient:
			fromClient = append(fromClient, d)
		case schema.FromService:
			fromService = append(fromService, d)
		case schema.FromBoth:
			fromClient = append(fromClient, d)
		}
	}
	if len(fromClient) > 0 {
		if example, ok := exampleOf(fromClient[0]); ok {
			send := fmt.Sprintf("busd send %s %s '%s'", url, fromClient[0].Name, example)
			if len(fromClient) == 1 && len(fromService) == 1 { // a question and its answer
				send += " --expect " + fromService[0].Name
			}
			next = append(next, send)
		}
	}
	if len(svc.Schema.Messages()) > 0 {
		next = append(next, "busd listen "+url)
	}
	if svc.Methods != nil {
		next = append(next, "busd call https://"+address+"/"+svc.Name()+" whoami")
	}
	return append(next, "busd schema show "+url)
}

// exampleOf returns a message in JSON that fits its contract, if one can be
// made up.
func exampleOf(d schema.Definition) (string, bool) {
	r := schema.NewRecord(d)
	for _, a := range d.Attrs {
		if a.Optional {
			continue
		}
		value, ok := exampleValue(a.Type)
		if !ok || r.Set(a.Name, value) != nil {
			return "", false
		}
	}
	text, err := r.MarshalJSON()
	if err != nil || strings.Contains(string(text), "'") {
		return "", false
	}
	return string(text), true
}

func exampleValue(t schema.Type) (any, bool) {
	switch t.Kind {
	case schema.Bool:
		return true, true
	case schema.Int:
		if t.MinInt != nil {
			return max(1, *t.MinInt), true
		}
		return int64(1), true
	case schema.Float:
		return 1.5, true
	case schema.String:
		return "hello", true
	case schema.Any:
		return "anything", true
	case schema.Enum:
		return t.Values[0], true
	case schema.Time:
		return time.Now().UTC().Truncate(time.Second), true
	case schema.List:
		return []any{}, true
	case schema.Map:
		return map[string]any{}, true
	case schema.Bytes:
		return []byte("hello"), true
	case schema.Struct:
	}
	return nil, false
}
