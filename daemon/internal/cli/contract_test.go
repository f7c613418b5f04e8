package cli

import (
	"strings"
	"testing"

	"busd/schema/schemafile"
)

func TestPrintSchema(t *testing.T) {
	t.Parallel()
	s, err := schemafile.Parse("job.yaml", []byte(`
service: Test/Job
messages:
  Job:
    from: service
    class: latest
    key: id
    doc: what is to be done
    attrs:
      id: {type: int, min: 0, doc: its number}
      note: string?
      tags: {type: list, of: {type: string, minlen: 1, pattern: "^[a-z]+$"}, maxlen: 10}
      where: {type: struct, attrs: {host: string, port: {type: int, min: 1, max: 65535}}}
      state: {type: enum, values: [new, done]}
      load: {type: map, of: {type: float, nonfinite: true}}
  Done: {from: client, attrs: {}}
methods:
  add: {params: [{name: a, type: int}, {name: b, type: int?}], result: int, doc: adds}
  reset: {}
  find: {params: [{name: tag, type: string}], result: {type: list, of: {type: struct, attrs: {name: string, count: {type: int, min: 0}}}}}
  store: {params: [{name: name, type: string}, {name: content, type: bytes, doc: what is kept}], upload: true, result: int}
  fetch: {params: [{name: name, type: string}], result: bytes, download: true}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := printSchema(&out, s); err != nil {
		t.Fatal(err)
	}
	const want = `
Job       from the service, latest of each id                       what is to be done
  id      int 0..                                                   its number
  note    string, optional
  tags    list of (string, length 1.., like ^[a-z]+$), length ..10
  where   struct
    host  string
    port  int 1..65535
  state   new|done
  load    map of string to (float, or NaN or infinite)

Done  from clients

add(a, b?)  returns int    adds
  a         int
  b         int, optional

reset()  returns nothing

find(tag)  returns list of struct
  tag      string
  in its result:
    name   string
    count  int 0..

store(name, content)  takes a file, returns int
  name                string
  content             a file                     what is kept

fetch(name)  returns a file
  name       string
`
	_, got, _ := strings.Cut(out.String(), s.Fingerprint()+"\n")
	if got != want || !strings.HasPrefix(out.String(), "Test/Job  2 messages, 5 methods\n") {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}
