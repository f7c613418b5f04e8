package schema

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"busd/internal/nearest"
)

// Check tells whether values, by attribute name, may be sent as this message:
// it returns the first misfit as a [*ValueError], or nil. nil is an absent
// attribute.
//
// An int is any Go integer that fits into 64 bits with a sign; a float is a
// float32 or float64; bytes are []byte; a time is a time.Time; lists are
// slices; maps and structs are maps with string keys. Named types count as
// what they are made of. bool is not int, int is not float, and a whole float
// is not int.
//
// d must be valid, as [New], [Infer] and a Schema's definitions are. Check may
// be called concurrently. It is for tools and tests: messages on a connection
// are checked as they are encoded, and much faster.
func (d Definition) Check(values map[string]any) error {
	var c checker
	if _, err := c.attrs(d.Attrs, reflect.ValueOf(values), 1); err != nil {
		err.Message = d.Name
		return err
	}
	return nil
}

// checker checks values and turns them into their plain form: bool, int64,
// float64, string, []byte, time.Time in UTC, []any and map[string]any, sharing
// nothing with what it was given.
type checker struct{ values int }

// value checks v, which stands in a container at that depth.
func (c *checker) value(t *Type, v any, depth int) (any, *ValueError) {
	if err := c.count(1); err != nil {
		return nil, err
	}
	kind, plain := plainOf(v)
	switch t.Kind {
	case Any:
		return c.any(kind, plain, depth)
	case Enum:
		if kind == "string" {
			return checkEnum(t, plain.(string)) //nolint:forcetypeassert // plainOf's promise
		}
	case Struct:
		if kind == "map" {
			if depth == MaxDepth {
				return nil, tooDeep()
			}
			return c.attrs(t.Attrs, plain.(reflect.Value), depth+1) //nolint:forcetypeassert // plainOf's promise
		}
	case Bool, Int, Float, String, Bytes, Time, List, Map:
		if kind == t.Kind.String() {
			return c.constrained(t, plain, depth)
		}
	}
	return nil, misfit(t.want(), kind)
}

// plainOf returns the word for a Go value's kind and its plain form, which for
// a list or map is its reflect.Value, and for a uint64 beyond int64 itself.
func plainOf(v any) (kind string, plain any) {
	if v == nil {
		return "nothing", nil
	}
	if t, ok := v.(time.Time); ok {
		return "time", t.Round(0).UTC()
	}
	r := reflect.ValueOf(v)
	switch {
	case r.Kind() == reflect.Bool:
		return "bool", r.Bool()
	case r.CanInt():
		return "int", r.Int()
	case r.CanUint() && r.Uint() <= math.MaxInt64:
		return "int", int64(r.Uint())
	case r.CanUint():
		return "int", r.Uint()
	case r.CanFloat():
		return "float", r.Float()
	case r.Kind() == reflect.String:
		return "string", r.String()
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8:
		return "bytes", append([]byte{}, r.Bytes()...)
	case r.Kind() == reflect.Slice:
		return "list", r
	case r.Kind() == reflect.Map && r.Type().Key().Kind() == reflect.String:
		return "map", r
	}
	return "a value that cannot be sent (" + r.Type().String() + ")", nil
}

// constrained checks a value that is of the type's kind.
func (c *checker) constrained(t *Type, plain any, depth int) (any, *ValueError) {
	switch p := plain.(type) {
	case int64:
		return p, checkInt(t, p)
	case uint64:
		return nil, misfit(t.want(), fmt.Sprintf("%d (max %d)", p, int64(math.MaxInt64)))
	case float64:
		return p, checkFloat(t, p)
	case string:
		return p, checkString(t, p)
	case []byte:
		return p, checkLen(t, len(p), "bytes")
	case reflect.Value:
		if err := checkLen(t, p.Len(), "elements"); err != nil {
			return nil, err
		}
		if depth == MaxDepth {
			return nil, tooDeep()
		}
		elem := t.Elem
		if elem == nil {
			elem = &Type{}
		}
		if t.Kind == List {
			return c.list(elem, p, depth+1)
		}
		return c.dict(elem, p, depth+1)
	}
	return plain, nil
}

func (c *checker) list(elem *Type, v reflect.Value, depth int) (any, *ValueError) {
	all := make([]any, 0, min(v.Len(), MaxValues))
	for i := range v.Len() {
		e, err := c.value(elem, v.Index(i).Interface(), depth)
		if err != nil {
			return nil, err.under("[" + strconv.Itoa(i) + "]")
		}
		all = append(all, e)
	}
	return all, nil
}

func (c *checker) dict(elem *Type, v reflect.Value, depth int) (any, *ValueError) {
	if v.Len() > MaxKeys {
		return nil, misfit(fmt.Sprintf("at most %d keys", MaxKeys), strconv.Itoa(v.Len()))
	}
	all := make(map[string]any, v.Len())
	for _, key := range sortedKeys(v) {
		k := key.String()
		if err := checkKey(k); err != nil {
			return nil, err
		}
		if err := c.count(1); err != nil {
			return nil, err
		}
		e, err := c.value(elem, v.MapIndex(key).Interface(), depth)
		if err != nil {
			return nil, err.under("[" + strconv.Quote(k) + "]")
		}
		all[k] = e
	}
	return all, nil
}

// attrs checks a map against named attributes.
func (c *checker) attrs(attrs []Attribute, v reflect.Value, depth int) (any, *ValueError) {
	for _, key := range sortedKeys(v) {
		if indexAttr(attrs, key.String()) < 0 {
			return nil, unknownAttr(attrs, key.String())
		}
	}
	all := make(map[string]any, v.Len())
	for i := range attrs {
		a := &attrs[i]
		var given any
		if e := v.MapIndex(reflect.ValueOf(a.Name).Convert(v.Type().Key())); e.IsValid() {
			given = e.Interface()
		}
		plain, err := c.attr(a, given, depth)
		if err != nil {
			return nil, err
		}
		if plain != nil {
			all[a.Name] = plain
		}
	}
	return all, nil
}

// attr checks one attribute's value; nil is absent.
func (c *checker) attr(a *Attribute, v any, depth int) (any, *ValueError) {
	if v == nil {
		if a.Optional {
			return nil, nil //nolint:nilnil // an absent value without a fault
		}
		return nil, misfit(a.Type.want(), "nothing").under(a.Name)
	}
	if err := c.count(1); err != nil {
		return nil, err
	}
	plain, err := c.value(&a.Type, v, depth)
	if err != nil {
		return nil, err.under(a.Name)
	}
	return plain, nil
}

// any checks what the wire allows without a type.
func (c *checker) any(kind string, plain any, depth int) (any, *ValueError) {
	switch kind {
	case "nothing", "bool", "bytes":
		return plain, nil
	case "int", "float", "string":
		return c.constrained(&Type{Kind: Any}, plain, depth)
	case "list":
		return c.constrained(&Type{Kind: List, Elem: &Type{}}, plain, depth)
	case "map":
		return c.constrained(&Type{Kind: Map, Elem: &Type{}}, plain, depth)
	}
	return nil, misfit("any (which has no time)", kind)
}

// count keeps a message within what the wire takes.
func (c *checker) count(n int) *ValueError {
	// One for the message's own map.
	if c.values += n; c.values+1 > MaxValues {
		return misfit(fmt.Sprintf("at most %d values, keys included", MaxValues), "more")
	}
	return nil
}

func tooDeep() *ValueError { return misfit(fmt.Sprintf("at most %d levels", MaxDepth), "more") }

func checkInt(t *Type, i int64) *ValueError {
	switch {
	case t.MinInt != nil && i < *t.MinInt:
		return misfit(t.want(), fmt.Sprintf("%d (min %d)", i, *t.MinInt))
	case t.MaxInt != nil && i > *t.MaxInt:
		return misfit(t.want(), fmt.Sprintf("%d (max %d)", i, *t.MaxInt))
	}
	return nil
}

// checkFloat lets NaN pass any bounds where it may stand at all; an infinity
// is compared.
func checkFloat(t *Type, f float64) *ValueError {
	switch {
	case !t.NonFinite && (math.IsNaN(f) || math.IsInf(f, 0)):
		return misfit("finite float", formatFloat(f))
	case t.MinFloat != nil && f < *t.MinFloat:
		return misfit(t.want(), formatFloat(f)+" (min "+formatFloat(*t.MinFloat)+")")
	case t.MaxFloat != nil && f > *t.MaxFloat:
		return misfit(t.want(), formatFloat(f)+" (max "+formatFloat(*t.MaxFloat)+")")
	}
	return nil
}

func checkString(t *Type, s string) *ValueError {
	if !utf8.ValidString(s) {
		return misfit(t.want(), "a string that is not UTF-8")
	}
	if t.MinLen != nil || t.MaxLen != nil {
		if err := checkLen(t, utf8.RuneCountInString(s), "code points"); err != nil {
			return err
		}
	}
	if t.Pattern == "" {
		return nil
	}
	if re, err := regexp.Compile(t.Pattern); err != nil || !re.MatchString(s) {
		return misfit("string like "+t.Pattern, "one that does not match")
	}
	return nil
}

func checkEnum(t *Type, s string) (any, *ValueError) {
	if !slices.Contains(t.Values, s) {
		return nil, misfit(t.want(), "another string")
	}
	return s, nil
}

func checkLen(t *Type, n int, unit string) *ValueError {
	switch {
	case t.MinLen != nil && n < *t.MinLen:
		return misfit(t.want(), fmt.Sprintf("%d %s (min %d)", n, unit, *t.MinLen))
	case t.MaxLen != nil && n > *t.MaxLen:
		return misfit(t.want(), fmt.Sprintf("%d %s (max %d)", n, unit, *t.MaxLen))
	}
	return nil
}

func checkKey(k string) *ValueError {
	if k == "" || len(k) > MaxName || !utf8.ValidString(k) {
		return misfit(fmt.Sprintf("keys of 1 to %d bytes UTF-8", MaxName), fmt.Sprintf("one of %d bytes", len(k)))
	}
	return nil
}

func unknownAttr(attrs []Attribute, name string) *ValueError {
	names := attrNames(attrs)
	want := "no attributes"
	if len(names) > 0 {
		const most = 16
		list := names
		if len(list) > most {
			list = append(slices.Clone(list[:most]), "…")
		}
		want = "one of the attributes " + strings.Join(list, ", ")
	}
	return misfit(want+nearest.DidYouMean(name, names), "an unknown one").under(printable(cut(name)))
}

func indexAttr(attrs []Attribute, name string) int {
	for i := range attrs {
		if attrs[i].Name == name {
			return i
		}
	}
	return -1
}

// sortedKeys makes the first misfit the same each time.
func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		switch {
		case a.String() < b.String():
			return -1
		case a.String() > b.String():
			return 1
		}
		return 0
	})
	return keys
}
