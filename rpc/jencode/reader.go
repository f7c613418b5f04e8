package jencode

import "bytes"

// A reader reads checked text, which it trusts: what has not passed [check] may
// make it panic. Its methods take where something begins and return where it ends.
type reader struct {
	data    []byte
	dialect Dialect
	lenient bool // names that a struct has not are passed over
}

// open returns where the first value or name in the container at pos begins;
// false: there is none, and the container ends there.
func (r *reader) open(pos int) (int, bool) {
	pos = space(r.data, pos+1)
	if c := r.data[pos]; c == ']' || c == '}' {
		return pos + 1, false
	}
	return pos, true
}

// follow returns where the next value or name begins, behind a value that ends
// at pos; false: there is none, and the container ends there.
func (r *reader) follow(pos int) (int, bool) {
	pos = space(r.data, pos)
	if r.data[pos] == ',' {
		return space(r.data, pos+1), true
	}
	return pos + 1, false
}

// name returns the name at pos, and where its value begins.
func (r *reader) name(pos int) ([]byte, int) {
	name, pos := r.text(pos)
	return name, space(r.data, space(r.data, pos)+1)
}

// text returns what the string at pos means; it may be a part of the data.
func (r *reader) text(pos int) ([]byte, int) {
	end, escaped := textEnd(r.data, pos+1)
	if escaped {
		return unquote(r.data[pos+1 : end]), end + 1
	}
	return r.data[pos+1 : end], end + 1
}

// skip passes the value at pos.
func (r *reader) skip(pos int) int {
	for depth := 0; ; {
		switch r.data[pos] {
		case '"':
			pos, _ = textEnd(r.data, pos+1)
			pos++
		case '[', '{':
			depth++
			pos++
		case ']', '}':
			depth--
			pos++
		case ',', ':', ' ', '\n', '\r', '\t':
			pos++
			continue
		default: // a number or a word
			pos, _ = numberEnd(r.data, pos)
		}
		if depth == 0 {
			return pos
		}
	}
}

// raw returns the value at pos as it is, without room to append to it.
func (r *reader) raw(pos int) (Raw, int) {
	end := r.skip(pos)
	return Raw(r.data[pos:end:end]), end
}

func (r *reader) isNull(pos int) bool { return r.data[pos] == 'n' }

const null = len("null")

// describe says in a few words what is at pos.
func (r *reader) describe(pos int) string {
	switch r.data[pos] {
	case 'n':
		return "null"
	case 't', 'f':
		return "bool"
	case '"':
		return "string"
	case '[':
		return "list"
	case '{':
		if class := r.classOf(pos); class != "" {
			return class
		}
		return "object"
	}
	end, isInt := numberEnd(r.data, pos)
	number := cut(string(r.data[pos:end]))
	if isInt {
		return "int " + number
	}
	return "float " + number
}

// Elements splits a list into its values, each checked and none copied: they
// are parts of data. It fails for anything else, with a [*ValueError].
func Elements(data []byte, d Dialect) ([]Raw, error) {
	if bad := check(data, d, asked); bad != nil {
		return nil, bad
	}
	r := reader{data: data, dialect: d}
	pos := space(data, 0)
	if data[pos] != '[' {
		return nil, misfit("list", r.describe(pos))
	}
	all := []Raw{}
	for pos, more := r.open(pos); more; pos, more = r.follow(pos) {
		var v Raw
		v, pos = r.raw(pos)
		all = append(all, v)
	}
	return all, nil
}

// Members splits an object into its values, each checked and none copied: they
// are parts of data. Of duplicate names the last counts in the DIRAC dialect; in
// JSON they are an error. It fails for anything else, an object that is a value of a
// class in the DIRAC dialect too, with a [*ValueError].
func Members(data []byte, d Dialect) (map[string]Raw, error) {
	if bad := check(data, d, asked); bad != nil {
		return nil, bad
	}
	r := reader{data: data, dialect: d}
	pos := space(data, 0)
	if data[pos] != '{' {
		return nil, misfit("object", r.describe(pos))
	}
	all := map[string]Raw{}
	for at, more := r.open(pos); more; at, more = r.follow(at) {
		var name []byte
		var v Raw
		name, at = r.name(at)
		if r.isClassName(name) {
			var bad *ValueError
			if at, bad = r.noClass(at); bad != nil {
				return nil, bad
			}
			continue
		}
		v, at = r.raw(at)
		all[string(name)] = v
	}
	return all, nil
}

// isClassName tells whether a name means a class instead of a member.
func (r *reader) isClassName(name []byte) bool {
	return r.dialect == DIRAC && len(name) == len(className) && bytes.Equal(name, []byte(className))
}
