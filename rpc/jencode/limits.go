package jencode

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"busd/schema"
)

// limits are what a field's tag says beyond its type: min, max and so on. They
// hold for what is read; what is written is the program's own.
type limits struct {
	schema.Type
	pattern *regexp.Regexp
}

// limitsOf returns nil if the type says nothing beyond its kind.
func limitsOf(t *schema.Type) *limits {
	bounded := t.MinInt != nil || t.MaxInt != nil || t.MinFloat != nil || t.MaxFloat != nil || t.MinLen != nil || t.MaxLen != nil
	if !bounded && t.Pattern == "" && t.Kind != schema.Enum {
		return nil
	}
	l := &limits{Type: *t}
	if t.Pattern != "" {
		l.pattern = regexp.MustCompile(t.Pattern)
	}
	return l
}

// breach tells how a value that was read breaks the limits.
func (l *limits) breach(v reflect.Value) *ValueError {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	switch l.Kind {
	case schema.Int:
		if v.CanUint() {
			return l.intBreach(int64(v.Uint())) // of at most 32 bits: package schema has no others
		}
		return l.intBreach(v.Int())
	case schema.Float:
		return l.floatBreach(v.Float())
	case schema.Enum:
		if !slices.Contains(l.Values, v.String()) {
			return misfit("one of "+strings.Join(l.Values, ", "), "another string")
		}
	case schema.String:
		if bad := l.lengthBreach(utf8.RuneCountInString(v.String()), "characters"); bad != nil {
			return bad
		}
		if l.pattern != nil && !l.pattern.MatchString(v.String()) {
			return misfit("string like "+l.Pattern, "one that is not")
		}
	case schema.Bytes:
		return l.lengthBreach(v.Len(), "bytes")
	case schema.List, schema.Map:
		return l.lengthBreach(v.Len(), "elements")
	default: // no other kind has limits
	}
	return nil
}

func (l *limits) intBreach(n int64) *ValueError {
	least, most := int64(math.MinInt64), int64(math.MaxInt64)
	if l.MinInt != nil {
		least = *l.MinInt
	}
	if l.MaxInt != nil {
		most = *l.MaxInt
	}
	if n < least || n > most {
		return misfit("int"+spread(l.MinInt, l.MaxInt), "int "+strconv.FormatInt(n, 10))
	}
	return nil
}

func (l *limits) floatBreach(f float64) *ValueError {
	if l.MinFloat != nil && !(f >= *l.MinFloat) || l.MaxFloat != nil && !(f <= *l.MaxFloat) {
		return misfit("float"+spread(l.MinFloat, l.MaxFloat), "float "+string(appendFloat(nil, f, 64, DIRAC)))
	}
	return nil
}

func (l *limits) lengthBreach(n int, unit string) *ValueError {
	if l.MinLen != nil && n < *l.MinLen || l.MaxLen != nil && n > *l.MaxLen {
		return misfit(l.Kind.String()+spread(l.MinLen, l.MaxLen)+" "+unit, "one of "+strconv.Itoa(n))
	}
	return nil
}

// spread puts bounds into words.
func spread[T int | int64 | float64](least, most *T) string {
	switch {
	case most == nil:
		return fmt.Sprintf(" of at least %v", *least)
	case least == nil:
		return fmt.Sprintf(" of at most %v", *most)
	}
	return fmt.Sprintf(" of %v to %v", *least, *most)
}
