package schema

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
)

// The document of a contract, as it is written. [Parse] reads it by hand, to
// be strict and to name the place of a fault.
type (
	schemaDoc struct {
		Service  string       `json:"service"`
		Messages []messageDoc `json:"messages"`
		Methods  []methodDoc  `json:"methods,omitempty"`
	}
	messageDoc struct {
		Name  string    `json:"name"`
		From  string    `json:"from"`
		Class string    `json:"class,omitempty"`
		Key   string    `json:"key,omitempty"`
		Doc   string    `json:"doc,omitempty"`
		Attrs []attrDoc `json:"attrs"`
	}
	methodDoc struct {
		Name     string    `json:"name"`
		Doc      string    `json:"doc,omitempty"`
		Params   []attrDoc `json:"params"`
		Result   *typeDoc  `json:"result,omitempty"`
		Upload   bool      `json:"upload,omitempty"`
		Download bool      `json:"download,omitempty"`
	}
	attrDoc struct {
		Name string `json:"name"`
		typeDoc
		Optional bool   `json:"optional,omitempty"`
		Doc      string `json:"doc,omitempty"`
	}
	typeDoc struct {
		Type      string      `json:"type"`
		Min       json.Number `json:"min,omitempty"`
		Max       json.Number `json:"max,omitempty"`
		NonFinite bool        `json:"nonfinite,omitempty"`
		MinLen    *int        `json:"minlen,omitempty"`
		MaxLen    *int        `json:"maxlen,omitempty"`
		Pattern   string      `json:"pattern,omitempty"`
		Values    []string    `json:"values,omitempty"`
		Elem      *typeDoc    `json:"elem,omitempty"`
		Attrs     []attrDoc   `json:"attrs,omitempty"`
	}
)

func documentOf(s *Schema) []byte { return marshal(newSchemaDoc(s)) }

// fingerprintOf hashes the canonical form: the document without
// documentation, with everything but parameters sorted by name.
func fingerprintOf(s *Schema) string {
	doc := newSchemaDoc(s)
	for i := range doc.Messages {
		doc.Messages[i].canonise()
	}
	for i := range doc.Methods {
		doc.Methods[i].canonise()
	}
	slices.SortFunc(doc.Messages, func(a, b messageDoc) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(doc.Methods, func(a, b methodDoc) int { return cmp.Compare(a.Name, b.Name) })
	sum := sha256.Sum256(marshal(doc))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// canonical returns the part of the canonical form that is about d.
func (d Definition) canonical() string {
	doc := newMessageDoc(d)
	doc.canonise()
	return string(marshal(doc))
}

// canonical returns the part of the canonical form that is about m.
func (m Method) canonical() string {
	doc := newMethodDoc(m)
	doc.canonise()
	return string(marshal(doc))
}

func marshal(doc any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		panic("schema: a checked contract has no document: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func newSchemaDoc(s *Schema) schemaDoc {
	doc := schemaDoc{Service: s.service, Messages: make([]messageDoc, len(s.messages))}
	for i, d := range s.messages {
		doc.Messages[i] = newMessageDoc(d)
	}
	for _, m := range s.methods {
		doc.Methods = append(doc.Methods, newMethodDoc(m))
	}
	return doc
}

func newMessageDoc(d Definition) messageDoc {
	doc := messageDoc{Name: d.Name, From: d.From.String(), Key: d.Key, Doc: d.Doc, Attrs: newAttrDocs(d.Attrs)}
	if d.Class != Must {
		doc.Class = d.Class.String()
	}
	return doc
}

func newMethodDoc(m Method) methodDoc {
	doc := methodDoc{Name: m.Name, Doc: m.Doc, Params: newAttrDocs(m.Params), Upload: m.Upload, Download: m.Download}
	if m.Result != nil {
		t := newTypeDoc(m.Result)
		doc.Result = &t
	}
	return doc
}

func newAttrDocs(attrs []Attribute) []attrDoc {
	docs := make([]attrDoc, len(attrs))
	for i, a := range attrs {
		docs[i] = attrDoc{Name: a.Name, typeDoc: newTypeDoc(&a.Type), Optional: a.Optional, Doc: a.Doc}
	}
	return docs
}

func newTypeDoc(t *Type) typeDoc {
	doc := typeDoc{
		Type: t.Kind.String(), NonFinite: t.NonFinite, MinLen: t.MinLen, MaxLen: t.MaxLen,
		Pattern: t.Pattern, Values: slices.Clone(t.Values), Attrs: newAttrDocs(t.Attrs),
	}
	if t.Kind == Int {
		doc.Min, doc.Max = number(t.MinInt, formatInt), number(t.MaxInt, formatInt)
	} else {
		doc.Min, doc.Max = number(t.MinFloat, formatFloat), number(t.MaxFloat, formatFloat)
	}
	if t.Elem != nil {
		e := newTypeDoc(t.Elem)
		doc.Elem = &e
	}
	return doc
}

func number[T any](p *T, format func(T) string) json.Number {
	if p == nil {
		return ""
	}
	return json.Number(format(*p))
}

func formatInt(i int64) string { return strconv.FormatInt(i, 10) }

// formatFloat writes the shortest text that reads as the same number; the two
// zeros are one bound.
func formatFloat(f float64) string { return strconv.FormatFloat(f+0, 'g', -1, 64) }

func (m *messageDoc) canonise() {
	m.Doc = ""
	sortAttrs(m.Attrs)
}

func (m *methodDoc) canonise() {
	m.Doc = ""
	for i := range m.Params {
		m.Params[i].Doc = ""
		m.Params[i].canonise()
	}
	if m.Result != nil {
		m.Result.canonise()
	}
}

func (t *typeDoc) canonise() {
	slices.Sort(t.Values)
	sortAttrs(t.Attrs)
	if t.Elem != nil {
		t.Elem.canonise()
	}
}

func sortAttrs(attrs []attrDoc) {
	for i := range attrs {
		attrs[i].Doc = ""
		attrs[i].canonise()
	}
	slices.SortFunc(attrs, func(a, b attrDoc) int { return cmp.Compare(a.Name, b.Name) })
}
