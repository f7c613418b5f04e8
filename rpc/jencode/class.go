package jencode

import (
	"encoding/base64"
	"math/big"
	"time"
)

// The names in an object of a class, and the classes that Python knows by
// themselves.
const (
	className    = "__dCls"
	moduleName   = "__dMod"
	contentsName = "obj"

	classTime  = "dt"
	classDate  = "date"
	classBytes = "b64"
)

// What is wanted of the contents of these classes.
const (
	wantTime    = "time in UTC such as 2006-01-02 15:04:05"
	wantDate    = "date such as 2006-01-02"
	wantBytes   = "bytes in base64 (standard alphabet, padded)"
	wantRFC3339 = "time in RFC 3339 such as 2006-01-02T15:04:05Z"
	otherText   = "another string"
)

// special reads an object as every writer writes the classes of Python's own:
// {"__dCls": "dt", "obj": "…"}; false: it is none, or written in another way.
func (r *reader) special(pos int) (class string, contents []byte, end int, ok bool) {
	pos, more := r.open(pos)
	if !more {
		return "", nil, 0, false
	}
	name, pos := r.name(pos)
	if !r.isClassName(name) || r.data[pos] != '"' {
		return "", nil, 0, false
	}
	text, pos := r.text(pos)
	switch string(text) {
	case classTime:
		class = classTime
	case classDate:
		class = classDate
	case classBytes:
		class = classBytes
	default:
		return "", nil, 0, false
	}
	if pos, more = r.follow(pos); !more {
		return "", nil, 0, false
	}
	if name, pos = r.name(pos); string(name) != contentsName || r.data[pos] != '"' {
		return "", nil, 0, false
	}
	contents, pos = r.text(pos)
	end, more = r.follow(pos)
	return class, contents, end, !more
}

// instance makes of an object with a class what it means: a value of the class,
// or, if the class is nothing, the object without it.
func instance(object map[string]any) (any, *ValueError) {
	class := object[className]
	if isNothing(class) {
		delete(object, className)
		return object, nil
	}
	name, ok := class.(string)
	if !ok {
		return nil, misfit("the name of a class as "+className, "another value")
	}
	if name == classTime || name == classDate || name == classBytes {
		contents, ok := object[contentsName].(string)
		if !ok {
			return nil, misfit("a text named "+contentsName+" beside "+className, "none")
		}
		return contentsOf(name, []byte(contents))
	}
	module, ok := object[moduleName].(string)
	if !ok || module == "" {
		return nil, misfit("the module of the class "+place(name)+", named "+moduleName+", beside "+className, "none")
	}
	delete(object, className)
	delete(object, moduleName)
	return Serializable{Class: name, Module: module, Fields: object}, nil
}

// isNothing tells what Python takes for false.
func isNothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case int64:
		return v == 0
	case float64:
		return v == 0
	case []byte:
		return len(v) == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// contentsOf reads the text in an object of one of Python's own classes.
func contentsOf(class string, text []byte) (any, *ValueError) {
	switch class {
	case classTime:
		if t, ok := parseTime(text); ok {
			return t, nil
		}
		return nil, misfit(wantTime, otherText)
	case classDate:
		if d, ok := parseDate(text); ok {
			return d, nil
		}
		return nil, misfit(wantDate, otherText)
	}
	if b, ok := parseBytes(text); ok {
		return b, nil
	}
	return nil, misfit(wantBytes, otherText)
}

// classOf describes the object at pos if it is a value of a class; empty: it is
// not.
func (r *reader) classOf(pos int) string {
	if r.dialect != DIRAC {
		return ""
	}
	for pos, more := r.open(pos); more; pos, more = r.follow(pos) {
		var name []byte
		if name, pos = r.name(pos); !r.isClassName(name) {
			pos = r.skip(pos)
			continue
		}
		if r.data[pos] != '"' {
			return ""
		}
		text, _ := r.text(pos)
		return classWord(string(text))
	}
	return ""
}

// classWord describes the values of a class; empty for the empty name.
func classWord(name string) string {
	switch name {
	case "":
		return ""
	case classTime:
		return "time"
	case classDate:
		return "date"
	case classBytes:
		return "bytes"
	}
	return "object of class " + place(name)
}

// noClass passes the value of a "__dCls" that must mean nothing.
func (r *reader) noClass(pos int) (int, *ValueError) {
	v, end, bad := r.any(pos)
	switch {
	case bad != nil:
		return end, bad.member(className)
	case isNothing(v):
		return end, nil
	}
	if name, ok := v.(string); ok {
		return end, misfit("object", classWord(name))
	}
	return end, misfit("object", "object of a class without a name")
}

// parseBytes decodes base64 into memory of its own.
func parseBytes(text []byte) ([]byte, bool) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b, text)
	return b[:n], err == nil
}

// parseTime reads 2006-01-02 15:04:05.
func parseTime(b []byte) (time.Time, bool) {
	const layout = "2006-01-02 15:04:05"
	if len(b) != len(layout) || b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return time.Time{}, false
	}
	d, ok := parseDate(b[:10])
	hour, ok1 := parseDigits(b[11:13])
	minute, ok2 := parseDigits(b[14:16])
	second, ok3 := parseDigits(b[17:19])
	if !ok || !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	return time.Date(d.Year, d.Month, d.Day, hour, minute, second, 0, time.UTC), true
}

// parseDate reads 2006-01-02, of the years that Python knows.
func parseDate(b []byte) (Date, bool) {
	if len(b) != len("2006-01-02") || b[4] != '-' || b[7] != '-' {
		return Date{}, false
	}
	year, ok1 := parseDigits(b[:4])
	month, ok2 := parseDigits(b[5:7])
	day, ok3 := parseDigits(b[8:10])
	d := Date{year, time.Month(month), day}
	return d, ok1 && ok2 && ok3 && d.valid()
}

// parseDigits reads a few digits.
func parseDigits(b []byte) (int, bool) {
	n := 0
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// The years that Python knows.
const minYear, maxYear = 1, 9999

// valid tells whether there is such a day, in the years that Python knows.
func (d Date) valid() bool {
	if d.Year < minYear || d.Year > maxYear || d.Month < time.January || d.Month > time.December || d.Day < 1 {
		return false
	}
	return d.Day <= 28 || time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Day() == d.Day
}

// parseBig reads a checked int of any size.
func parseBig(b []byte) *big.Int {
	n, _ := new(big.Int).SetString(string(b), 10)
	return n
}
