package apidoc

import (
	"strings"

	"busd/schema"
)

// AsyncAPI returns the AsyncAPI 3.0 document of a contract's messages, in JSON, as
// the service sees them: it receives what clients send. Messages travel in frames,
// which docs/protocol.md describes.
func AsyncAPI(s *schema.Schema, p Place) []byte {
	doc := object{
		{"asyncapi", "3.0.0"},
		{"info", info(s, p, "The messages of the service "+s.Service()+", over a stable connection (a WebSocket with the subprotocol msgbus.v1).")},
	}
	if p.Host != "" {
		doc = append(doc, member{"servers", object{{"bus", object{
			{"host", p.Host},
			{"protocol", "wss"},
			{"security", []object{reference("securitySchemes", "certificate")}},
		}}}})
	}
	channel, operations, messages := object{}, object{}, object{}
	for _, m := range s.Messages() {
		channel = append(channel, member{m.Name, reference("messages", m.Name)})
		messages = append(messages, member{m.Name, messageOf(m)})
		if m.From != schema.FromService {
			operations = append(operations, member{"receive" + m.Name, operationOf("receive", m)})
		}
		if m.From != schema.FromClient {
			operations = append(operations, member{"send" + m.Name, operationOf("send", m)})
		}
	}
	return document(append(
		doc,
		member{"defaultContentType", "application/msgpack"},
		member{"channels", object{{"service", object{{"address", "/" + s.Service()}, {"messages", channel}}}}},
		member{"operations", operations},
		member{"components", object{
			{"messages", messages},
			{"securitySchemes", object{{"certificate", object{{"type", "X509"}}}}},
		}},
	))
}

func operationOf(action string, m schema.Definition) object {
	return object{{"action", action}, {"channel", object{{"$ref", "#/channels/service"}}}}.with("summary", firstLine(m.Doc)).
		with("messages", []object{{{"$ref", "#/channels/service/messages/" + m.Name}}})
}

func messageOf(m schema.Definition) object {
	o := object{{"name", m.Name}, {"title", m.Name}}.with("summary", firstLine(m.Doc)).with("description", m.Doc)
	return append(o, member{"payload", attributes(m.Attrs)}).with("x-busd-class", m.Class.String()).with("x-busd-key", m.Key)
}

// firstLine is the beginning of a text.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
