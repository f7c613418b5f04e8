package apidoc

import "busd/schema"

// OpenAPI returns the OpenAPI 3.1 document of a contract's methods, in JSON. The
// forms that DIRAC's clients use are left out, but for that of a browser that sends a
// file: docs/http.md describes them.
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

// operation is one method.
func operation(m schema.Method) object {
	summary := firstLine(m.Doc)
	if summary == "" {
		summary = m.Name
	}
	o := object{{"operationId", m.Name}, {"summary", summary}}.with("description", m.Doc)
	if m.Upload {
		o = uploaded(o, m.Params[:len(m.Params)-1])
	} else {
		o = append(o, bodyOf(media("application/json", object{{"oneOf", []object{positional(m.Params), attributes(m.Params)}}})))
	}
	answers := object{
		{"200", jsonOf("the result, or the method's own error", object{{"oneOf", []object{result(m), reference("schemas", "Error")}}})},
		{"default", reference("responses", "Refusal")},
	}
	if m.Download { // its own error has a status: with 200 it would be taken for the file
		answers = object{
			{"200", object{{"description", "the file"}, {"content", object{media(octets, binary())}}}},
			{"default", reference("responses", "NoFile")},
		}
	}
	return append(o, member{"responses", answers})
}

const octets = "application/octet-stream"

func binary() object { return object{{"type", "string"}, {"format", "binary"}} }

// uploaded completes the operation of a method whose last parameter is the body;
// params are the others.
func uploaded(o object, params []schema.Attribute) object {
	form := object{}
	if len(params) > 0 {
		list, named := positional(params), attributes(params)
		o = append(o, member{"parameters", []object{
			inQuery("args", "beside a body of bytes: the other arguments, in their order", list),
			inQuery("kwargs", "or by their names", named),
		}})
		form = object{{"args", jsonText(list)}, {"kwargs", jsonText(named)}}
	}
	form = append(form, member{"file", binary()})
	return append(o, bodyOf(
		media(octets, binary()),
		media("multipart/form-data", object{{"type", "object"}, {"properties", form}, {"required", []string{"file"}}}),
	))
}

func inQuery(name, what string, s object) object {
	return object{{"name", name}, {"in", "query"}, {"description", what}, {"content", object{media("application/json", s)}}}
}

// jsonText is a text that is a value in JSON: what a field of a form is.
func jsonText(s object) object {
	return object{{"type", "string"}, {"contentMediaType", "application/json"}, {"contentSchema", s}}
}

func bodyOf(content ...member) member {
	return member{"requestBody", object{{"required", true}, {"content", object(content)}}}
}

func media(kind string, s object) member { return member{kind, object{{"schema", s}}} }

func positional(params []schema.Attribute) object {
	items, least := []object{}, 0
	for i, p := range params {
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
			{"NoFile", jsonOf("the method's own error, or it was not called, or crashed (500)",
				object{{"oneOf", []object{reference("schemas", "Error"), reference("schemas", "Refusal")}}})},
		}},
		{"securitySchemes", object{
			{"certificate", object{{"type", "mutualTLS"}, {"description", "an X.509 certificate of a CA that the server believes"}}},
			{"token", object{{"type", "http"}, {"scheme", "bearer"}, {"bearerFormat", "JWT"}}},
		}},
	}
}

// jsonOf is a response with a body in JSON.
func jsonOf(what string, s object) object {
	return object{{"description", what}, {"content", object{media("application/json", s)}}}
}

func reference(kind, name string) object {
	return object{{"$ref", "#/components/" + kind + "/" + name}}
}
