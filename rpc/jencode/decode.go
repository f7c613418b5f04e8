package jencode

import (
	"math/big"
	"time"
)

// any reads what is at pos, whatever it is.
func (r *reader) any(pos int) (any, int, *ValueError) {
	switch r.data[pos] {
	case 'n':
		return nil, pos + null, nil
	case 't':
		return true, pos + len("true"), nil
	case 'f':
		return false, pos + len("false"), nil
	case '"':
		text, end := r.text(pos)
		return string(text), end, nil
	case '[':
		all, end, bad := r.anyList(pos)
		return all, end, bad
	case '{':
		return r.anyObject(pos)
	}
	end, isInt := numberEnd(r.data, pos)
	if !isInt {
		return parseFloat(r.data[pos:end]), end, nil
	}
	if n, ok := parseInt(r.data[pos:end]); ok {
		return n, end, nil
	}
	return parseBig(r.data[pos:end]), end, nil
}

// fewElements is what a list has room for at first.
const fewElements = 4

func (r *reader) anyList(pos int) ([]any, int, *ValueError) {
	all := []any{}
	pos, more := r.open(pos)
	if more {
		all = make([]any, 0, fewElements)
	}
	for more {
		v, end, bad := r.any(pos)
		if bad != nil {
			return nil, end, bad.inside(len(all))
		}
		all = append(all, v)
		pos, more = r.follow(end)
	}
	return all, pos, nil
}

func (r *reader) anyObject(pos int) (any, int, *ValueError) {
	if r.dialect == DIRAC {
		if class, contents, end, ok := r.special(pos); ok {
			v, bad := contentsOf(class, contents)
			return v, end, bad
		}
	}
	all, end, bad := r.members(pos)
	if bad != nil {
		return nil, end, bad
	}
	if _, ok := all[className]; ok && r.dialect == DIRAC {
		v, bad := instance(all)
		return v, end, bad
	}
	return all, end, nil
}

// members reads the object at pos, "__dCls" being a name like any other.
func (r *reader) members(pos int) (map[string]any, int, *ValueError) {
	all := map[string]any{}
	pos, more := r.open(pos)
	for more {
		name, at := r.name(pos)
		v, end, bad := r.any(at)
		if bad != nil {
			return nil, end, bad.member(string(name))
		}
		all[string(name)] = v
		pos, more = r.follow(end)
	}
	return all, pos, nil
}

func (r *reader) boolean(pos int) (bool, int, *ValueError) {
	switch r.data[pos] {
	case 't':
		return true, pos + len("true"), nil
	case 'f':
		return false, pos + len("false"), nil
	}
	return false, pos, misfit("bool", r.describe(pos))
}

// startsNumber tells whether a number begins with c; so do the words for those
// that have no digits.
func startsNumber(c byte) bool { return isDigit(c) || c == '-' || c == 'N' || c == 'I' }

func (r *reader) integer(pos int) (int64, int, *ValueError) {
	if startsNumber(r.data[pos]) {
		if end, isInt := numberEnd(r.data, pos); isInt {
			if n, ok := parseInt(r.data[pos:end]); ok {
				return n, end, nil
			}
			return 0, pos, misfit("int of 64 bits", r.describe(pos))
		}
	}
	return 0, pos, misfit("int", r.describe(pos))
}

func (r *reader) big(pos int) (*big.Int, int, *ValueError) {
	if startsNumber(r.data[pos]) {
		if end, isInt := numberEnd(r.data, pos); isInt {
			return parseBig(r.data[pos:end]), end, nil
		}
	}
	return nil, pos, misfit("int", r.describe(pos))
}

func (r *reader) float(pos int) (float64, int, *ValueError) {
	switch c := r.data[pos]; {
	case startsNumber(c):
		end, _ := numberEnd(r.data, pos)
		return parseFloat(r.data[pos:end]), end, nil
	case c == '"' && r.dialect == JSON:
		switch text, end := r.text(pos); string(text) {
		case "NaN", "Infinity", "-Infinity":
			return parseFloat(text), end, nil
		}
	}
	return 0, pos, misfit("float", r.describe(pos))
}

func (r *reader) string(pos int) (string, int, *ValueError) {
	if r.data[pos] != '"' {
		return "", pos, misfit("string", r.describe(pos))
	}
	text, end := r.text(pos)
	return string(text), end, nil
}

func (r *reader) bytes(pos int) ([]byte, int, *ValueError) {
	if r.dialect == DIRAC {
		return instanceAt[[]byte](r, pos, "bytes")
	}
	if r.data[pos] != '"' {
		return nil, pos, misfit(wantBytes, r.describe(pos))
	}
	text, end := r.text(pos)
	b, ok := parseBytes(text)
	if !ok {
		return nil, pos, misfit(wantBytes, otherText)
	}
	return b, end, nil
}

func (r *reader) time(pos int) (time.Time, int, *ValueError) {
	if r.data[pos] != '"' {
		if r.dialect == DIRAC {
			return instanceAt[time.Time](r, pos, "time")
		}
		return time.Time{}, pos, misfit(wantRFC3339, r.describe(pos))
	}
	text, end := r.text(pos)
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return time.Time{}, pos, misfit(wantRFC3339, otherText)
	}
	return t.UTC(), end, nil
}

func (r *reader) date(pos int) (Date, int, *ValueError) {
	if r.data[pos] != '"' {
		if r.dialect == DIRAC {
			return instanceAt[Date](r, pos, "date")
		}
		return Date{}, pos, misfit(wantDate, r.describe(pos))
	}
	text, end := r.text(pos)
	d, ok := parseDate(text)
	if !ok {
		return Date{}, pos, misfit(wantDate, otherText)
	}
	return d, end, nil
}

func (r *reader) serializable(pos int) (Serializable, int, *ValueError) {
	return instanceAt[Serializable](r, pos, "object of a Python class")
}

// instanceAt reads the value of a class at pos.
func instanceAt[T any](r *reader, pos int, want string) (T, int, *ValueError) {
	var none T
	if r.data[pos] != '{' || r.dialect != DIRAC {
		return none, pos, misfit(want, r.describe(pos))
	}
	v, end, bad := r.any(pos)
	if bad != nil {
		return none, pos, bad
	}
	t, ok := v.(T)
	if !ok {
		return none, pos, misfit(want, r.describe(pos))
	}
	return t, end, nil
}
