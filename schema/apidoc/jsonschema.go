package apidoc

import (
	"encoding/base64"

	"busd/schema"
)

// typeOf is the JSON Schema (draft 2020-12) of a type's values as busd writes them in
// plain JSON.
func typeOf(t schema.Type) object {
	switch t.Kind {
	case schema.Bool:
		return object{{"type", "boolean"}}
	case schema.Int:
		return integer(t)
	case schema.Float:
		return number(t)
	case schema.String:
		return bounds(object{{"type", "string"}}, "minLength", "maxLength", t).with("pattern", t.Pattern)
	case schema.Bytes:
		return text(t)
	case schema.Time:
		return object{{"type", "string"}, {"format", "date-time"}}
	case schema.Enum:
		return object{{"type", "string"}, {"enum", t.Values}}
	case schema.List:
		return bounds(object{{"type", "array"}, {"items", typeOf(*t.Elem)}}, "minItems", "maxItems", t)
	case schema.Map:
		return bounds(object{{"type", "object"}, {"additionalProperties", typeOf(*t.Elem)}}, "minProperties", "maxProperties", t)
	case schema.Struct:
		return attributes(t.Attrs)
	case schema.Any:
	}
	return object{}
}

func integer(t schema.Type) object {
	o := object{{"type", "integer"}, {"format", "int64"}}
	if t.MinInt != nil {
		o = o.with("minimum", *t.MinInt)
	}
	if t.MaxInt != nil {
		o = o.with("maximum", *t.MaxInt)
	}
	return o
}

func number(t schema.Type) object {
	o := object{{"type", "number"}, {"format", "double"}}
	if t.MinFloat != nil {
		o = o.with("minimum", *t.MinFloat)
	}
	if t.MaxFloat != nil {
		o = o.with("maximum", *t.MaxFloat)
	}
	if t.NonFinite { // JSON has no word for them
		return object{{"anyOf", []object{o, {{"enum", []string{"NaN", "Infinity", "-Infinity"}}}}}}
	}
	return o
}

// text is bytes in base64, whose bounds are those of the text.
func text(t schema.Type) object {
	o := object{{"type", "string"}, {"contentEncoding", "base64"}}
	if t.MinLen != nil {
		o = o.with("minLength", base64.StdEncoding.EncodedLen(*t.MinLen))
	}
	if t.MaxLen != nil {
		o = o.with("maxLength", base64.StdEncoding.EncodedLen(*t.MaxLen))
	}
	return o
}

func bounds(o object, least, most string, t schema.Type) object {
	if t.MinLen != nil {
		o = o.with(least, *t.MinLen)
	}
	if t.MaxLen != nil {
		o = o.with(most, *t.MaxLen)
	}
	return o
}

// attributes is an object of these attributes, and of no others.
func attributes(attrs []schema.Attribute) object {
	properties, required := object{}, []string{}
	for _, a := range attrs {
		properties = append(properties, member{a.Name, typeOf(a.Type).with("description", a.Doc)})
		if !a.Optional {
			required = append(required, a.Name)
		}
	}
	o := object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		o = append(o, member{"required", required})
	}
	return append(o, member{"additionalProperties", false})
}
