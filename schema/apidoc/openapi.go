package apidoc

import "busd/schema"

// OpenAPI returns the OpenAPI 3.1 document of a contract's methods, in JSON. The
// forms that DIRAC's clients use are left out: they are described in docs/http.md.
func OpenAPI(s *schema.Schema, p Place) []byte {
	doc := object{{"openapi", "3.1.0"}, {"info", info(s, p, "The methods of the service "+s.Service()+", over HTTPS in plain JSON.")}}
	if p.Host != "" {
		doc = append(doc, member{"servers", []object{{{"url", "https://" + p.Host}}}})
	}
	at := "/" + s.Service()
	paths := object{{at, object{{"get", contractOf(s)}}}}
	for _, m := range s.Methods() {
		paths = append(paths, member{at + "/" + m.Name, object{{"post", operation(m)}}})
	}
	return document(append(doc, member{"paths", paths}, member{"components", components()},
		// Any of the three: what a method asks for is said by its rule.
		member{"security", []object{{{"certificate", []string{}}}, {{"token", []string{}}}, {}}}))
}

func contractOf(s *schema.Schema) object {
	return object{
		{"operationId", "contract"},
		{"summary", "the contract of " + s.Service()},
		{"responses", object{
			{"200", jsonOf("messages and methods, with the fingerprint as ETag", object{{"type", "object"}})},
			{"default", reference("responses", "Refusal")},
		}},
	}
}

// operation is one method. Its arguments are a list, or an object of named ones.
func operation(m schema.Method) object {
	o := object{{"operationId", m.Name}}.with("summary", firstLine(m.Doc)).with("description", m.Doc)
	return append(
		o,
		member{"requestBody", object{
			{"required", true},
			{"content", object{{"application/json", object{{"schema", object{{"oneOf", []object{positional(m), attributes(m.Params)}}}}}}}},
		}},
		member{"responses", object{
			{"200", jsonOf("the result, or the method's own error", object{{"oneOf", []object{result(m), reference("schemas", "Error")}}})},
			{"default", reference("responses", "Refusal")},
		}},
	)
}

func positional(m schema.Method) object {
	items, least := []object{}, 0
	for i, p := range m.Params {
		items = append(items, typeOf(p.Type).with("title", p.Name).with("description", p.Doc))
		if !p.Optional {
			least = i + 1
		}
	}
	o := object{{"type", "array"}}
	if len(items) > 0 { // an empty list of prefixItems is not allowed
		o = append(o, member{"prefixItems", items})
	}
	return append(o, member{"minItems", least}, member{"maxItems", len(items)})
}

func result(m schema.Method) object {
	value := object{{"type", "null"}}
	if m.Result != nil {
		value = typeOf(*m.Result)
	}
	return object{
		{"type", "object"},
		{"properties", object{{"OK", object{{"const", true}}}, {"Value", value}}},
		{"required", []string{"OK", "Value"}},
	}
}

// components are what all documents share.
func components() object {
	word := object{{"type", "string"}}
	return object{
		{"schemas", object{
			{"Error", object{
				{"description", "the error that the method itself returned"},
				{"type", "object"},
				{"properties", object{
					{"OK", object{{"const", false}}},
					{"Errno", object{{"type", "integer"}, {"description", "an errno; 0: none"}}},
					{"Message", word},
					{"Code", object{{"type", "string"}, {"description", "a word such as not_found"}}},
				}},
				{"required", []string{"OK", "Errno", "Message"}},
			}},
			{"Refusal", object{
				{"description", "why the method was not called"},
				{"type", "object"},
				{"properties", object{{"code", word}, {"reason", word}, {"request_id", word}}},
				{"required", []string{"code", "reason"}},
			}},
		}},
		{"responses", object{
			{"Refusal", jsonOf("the method was not called, or it crashed (500)", reference("schemas", "Refusal"))},
		}},
		{"securitySchemes", object{
			{"certificate", object{{"type", "mutualTLS"}, {"description", "an X.509 certificate of a CA that the server believes"}}},
			{"token", object{{"type", "http"}, {"scheme", "bearer"}, {"bearerFormat", "JWT"}}},
		}},
	}
}

// jsonOf is a response with a body in JSON.
func jsonOf(what string, s object) object {
	return object{{"description", what}, {"content", object{{"application/json", object{{"schema", s}}}}}}
}

func reference(kind, name string) object {
	return object{{"$ref", "#/components/" + kind + "/" + name}}
}
