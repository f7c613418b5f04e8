package schema

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"busd/internal/nearest"
)

// fieldTag is what a field's bus tag says: `bus:"id,optional,min=1"`.
type fieldTag struct {
	name     string
	optional bool
	options  []tagOption
}

type tagOption struct{ key, value string }

var tagOptions = []string{"optional", "min", "max", "minlen", "maxlen", "enum", "nonfinite", "pattern"}

// parseTag reads a bus tag. The option pattern takes everything to the end, so
// that a pattern may contain commas.
func parseTag(tag string) (fieldTag, error) {
	name, rest, more := strings.Cut(tag, ",")
	t := fieldTag{name: name}
	seen := map[string]bool{}
	for more {
		var option string
		if strings.HasPrefix(rest, "pattern=") {
			option, rest, more = rest, "", false
		} else {
			option, rest, more = strings.Cut(rest, ",")
		}
		key, value, hasValue := strings.Cut(option, "=")
		if seen[key] {
			return t, fmt.Errorf("the tag's option %q is there twice", key)
		}
		seen[key] = true
		switch key {
		case "optional", "nonfinite":
			if hasValue {
				return t, fmt.Errorf("the tag's option %q takes no value", key)
			}
		case "min", "max", "minlen", "maxlen", "enum", "pattern":
			if value == "" {
				return t, fmt.Errorf("the tag's option %q needs a value: %s=…", key, key)
			}
		default:
			return t, fmt.Errorf("unknown option %q in the tag%s", key, nearest.DidYouMean(key, tagOptions))
		}
		if key == "optional" {
			t.optional = true
		} else {
			t.options = append(t.options, tagOption{key, value})
		}
	}
	return t, nil
}

// constrain adds the tag's constraints to t.
func (ft fieldTag) constrain(t *Type) error {
	for _, o := range ft.options {
		if err := o.constrain(t); err != nil {
			return err
		}
	}
	return nil
}

func (o tagOption) constrain(t *Type) error {
	switch o.key {
	case "min", "max":
		return o.bound(t)
	case "minlen", "maxlen":
		n, err := strconv.Atoi(o.value)
		if err != nil {
			return fmt.Errorf("%s: want a length, got %q", o.key, o.value)
		}
		if o.key == "minlen" {
			t.MinLen = &n
		} else {
			t.MaxLen = &n
		}
	case "enum":
		if t.Kind != String {
			return fmt.Errorf("enum needs a string, and this is %s", t.Kind)
		}
		t.Kind, t.Values = Enum, strings.Split(o.value, "|")
	case "nonfinite":
		t.NonFinite = true
	case "pattern":
		t.Pattern = o.value
	}
	return nil
}

// bound sets a min or max. The range of a sized int stands already: a tag may
// narrow it, not widen.
func (o tagOption) bound(t *Type) error {
	switch t.Kind {
	case Int:
		n, err := strconv.ParseInt(o.value, 10, 64)
		if err != nil {
			return fmt.Errorf("%s: want an integer of 64 bits, got %q", o.key, o.value)
		}
		if t.MinInt != nil && n < *t.MinInt || t.MaxInt != nil && n > *t.MaxInt {
			return fmt.Errorf("%s %d is outside what the Go type or the tag allows (%s)", o.key, n, rangeOf(t))
		}
		if o.key == "min" {
			t.MinInt = &n
		} else {
			t.MaxInt = &n
		}
	case Float:
		f, err := strconv.ParseFloat(o.value, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return fmt.Errorf("%s: want a finite number, got %q", o.key, o.value)
		}
		if o.key == "min" {
			t.MinFloat = &f
		} else {
			t.MaxFloat = &f
		}
	default:
		return fmt.Errorf("%s needs an int or a float, and this is %s", o.key, t.Kind)
	}
	return nil
}

func rangeOf(t *Type) string {
	low, high := "no min", "no max"
	if t.MinInt != nil {
		low = "min " + formatInt(*t.MinInt)
	}
	if t.MaxInt != nil {
		high = "max " + formatInt(*t.MaxInt)
	}
	return low + ", " + high
}
