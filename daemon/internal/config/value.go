package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"busd/internal/nearest"
)

// set parses one value that is no list into v. kind is what it is in YAML, or
// empty where there is only text. It returns what is wrong, or "".
func (r *rule) set(v reflect.Value, text string, kind nodeKind) (reason string) {
	switch v.Interface().(type) {
	case string:
		if kind != "" && kind != isText {
			return fmt.Sprintf("want a text, got %s (put %s in quotes)", kind, text)
		}
		text, reason = r.text(text)
		v.SetString(text)
		return reason
	case bool, *bool:
		b, ok := map[string]bool{"true": true, "false": false}[text]
		if !ok {
			return fmt.Sprintf("want true or false, got %q", text)
		}
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.ValueOf(&b))
		} else {
			v.SetBool(b)
		}
		return ""
	case int:
		if r.auto && text == "auto" {
			v.SetInt(0)
			return ""
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Sprintf("want a whole number%s, got %q", orAuto(r.auto), text)
		}
		return r.number(v, n, text, "1", func(s string) (int64, string) {
			n, err := strconv.ParseInt(s, 10, 64)
			return n, reasonOf(err)
		})
	case Size:
		if r.auto && text == "auto" {
			v.SetInt(0)
			return ""
		}
		n, reason := parseSize(text)
		if reason != "" {
			return reason
		}
		return r.number(v, n, text, "1B", parseSize)
	case time.Duration, *time.Duration:
		return r.duration(v, text)
	case netip.Prefix:
		p, reason := parsePrefix(text)
		v.Set(reflect.ValueOf(p))
		return reason
	}
	panic("config: no parser for " + v.Type().String())
}

// duration sets a duration, or a pointer to one. Where none at all is allowed,
// that may be a bare 0.
func (r *rule) duration(v reflect.Value, text string) string {
	into := v
	if v.Kind() == reflect.Pointer {
		into = reflect.New(v.Type().Elem()).Elem()
	}
	n, reason := parseDuration(text)
	if text == "0" && r.min == "0s" {
		n, reason = 0, ""
	}
	if reason == "" {
		reason = r.number(into, n, text, "1ms", parseDuration)
	}
	if reason == "" && v.Kind() == reflect.Pointer {
		v.Set(into.Addr())
	}
	return reason
}

func orAuto(auto bool) string {
	if auto {
		return " or auto"
	}
	return ""
}

func reasonOf(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// number checks the bounds; nothing that has bounds may be 0.
func (r *rule) number(v reflect.Value, n int64, text, least string, parse func(string) (int64, string)) string {
	if r.min != "" {
		least = r.min
	}
	most := r.max
	lo, bad := parse(least)
	hi, bad2 := parse(most)
	switch {
	case bad != "" || bad2 != "":
		panic("config: bounds of " + r.Path)
	case n < lo || n > hi:
		reason := fmt.Sprintf("want from %s to %s, got %s", least, most, text)
		if n == 0 {
			reason += ": nothing can be unlimited"
		}
		return reason
	}
	v.SetInt(n)
	return ""
}

var sizes = []struct {
	unit  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}}

// maxSize keeps sizes far from what an int cannot hold.
const maxSize = 1 << 40

func parseSize(text string) (int64, string) {
	for _, s := range sizes {
		digits, ok := strings.CutSuffix(text, s.unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil {
			break
		}
		if n < 0 || n > maxSize/s.bytes {
			return 0, fmt.Sprintf("the size %s is out of range", text)
		}
		return n * s.bytes, ""
	}
	return 0, fmt.Sprintf("want a size with its unit, such as 256KiB or 1MiB, got %q", text)
}

func parseDuration(text string) (int64, string) {
	d, err := time.ParseDuration(text)
	if err != nil || text == "0" {
		return 0, fmt.Sprintf("want a duration with its unit, such as 30s or 2m, got %q", text)
	}
	return int64(d), ""
}

func parsePrefix(text string) (netip.Prefix, string) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), ""
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Sprintf("want a network such as 10.1.0.0/16 or an address, got %q", text)
	case p.Masked() != p:
		return p, fmt.Sprintf("%s has bits beyond its length: did you mean %s?", text, p.Masked())
	}
	return p, ""
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9._-]{0,64}$`)

// text checks what a text looks like, and returns it as it is kept.
func (r *rule) text(text string) (kept, reason string) {
	if len(r.words) > 0 {
		if !slices.Contains(r.words, text) {
			return text, fmt.Sprintf("want %s, got %q%s", oneOf(r.words), text, nearest.DidYouMean(text, r.words))
		}
		return text, ""
	}
	switch r.form {
	case "name":
		if !nameForm.MatchString(text) {
			return text, fmt.Sprintf("want at most 64 of A-Z a-z 0-9 . _ -, got %q", text)
		}
	case "place", "store":
		switch {
		case text == "" || text == "off":
			return "", ""
		case r.form == "place":
			return text, addressReason(text)
		}
		return text, fileReason(text)
	case "address":
		return text, addressReason(text)
	case "origin":
		u, err := url.Parse(text)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.Scheme+"://"+u.Host != text {
			return text, fmt.Sprintf("want an origin such as https://example.org:8443, without a path, got %q", text)
		}
	case "file":
		return text, fileReason(text)
	}
	return text, ""
}

func fileReason(text string) string {
	if text == "" || strings.ContainsRune(text, 0) {
		return "want the path of a file, got nothing"
	}
	return ""
}

func addressReason(text string) string {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Sprintf("want host:port such as 0.0.0.0:8443 or [::1]:8443, got %q", text)
	}
	return ""
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
