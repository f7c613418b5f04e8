package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"busd/internal/nearest"
)

const prefix = "BUSD_"

// environName returns the variable of a key: BUSD_LIMITS__CONNECTIONS for
// limits.connections.
func environName(path string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
}

// others are the variables that are no keys: those of the flags of serve, and
// those of the commands that connect.
var others = []string{"BUSD_CONFIG", "BUSD_LISTEN", "BUSD_SERVICES", "BUSD_URL", "BUSD_CERT", "BUSD_KEY", "BUSD_CA", "BUSD_TOKEN_FILE"}

// environment are the variables that begin with BUSD_. An empty one counts as
// not set.
type environment struct {
	names  []string // in order
	values map[string]string
}

func newEnvironment(environ []string) *environment {
	e := &environment{values: map[string]string{}}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, prefix) || value == "" {
			continue
		}
		if _, twice := e.values[name]; !twice {
			e.names = append(e.names, name)
		}
		e.values[name] = value
	}
	slices.Sort(e.names)
	return e
}

// warnings names the variables that mean nothing.
func (e *environment) warnings() []string {
	known := slices.Clone(others)
	for _, r := range rules() {
		if r.Environ != "" {
			known = append(known, r.Environ)
		}
	}
	var warnings []string
	for _, name := range e.names {
		if !slices.Contains(known, name) {
			warnings = append(warnings, fmt.Sprintf("environment %s means nothing here%s", name, nearest.DidYouMean(name, known)))
		}
	}
	return warnings
}

// environment reads the keys that have a variable.
func (l *loader) environment(env *environment) {
	for _, r := range rules() {
		text, ok := env.values[r.Environ]
		if r.Environ == "" || !ok {
			continue
		}
		where := origin{where: "environment " + r.Environ}
		v := fieldAt(reflect.ValueOf(l.config).Elem(), r.Path)
		if reason := r.setText(v, text); reason != "" {
			l.add(where.fault(r.Path, "%s", reason))
			continue
		}
		l.config.origins[r.Path] = where
	}
}

// setText parses a value that stands outside the file; the elements of a list
// are separated by commas.
func (r *rule) setText(v reflect.Value, text string) (reason string) {
	if v.Kind() != reflect.Slice {
		return r.set(v, text, "")
	}
	words := splitList(text)
	list := reflect.MakeSlice(v.Type(), len(words), len(words))
	for i, word := range words {
		if reason := r.set(list.Index(i), word, ""); reason != "" {
			return reason
		}
	}
	v.Set(list)
	return ""
}

func splitList(text string) []string {
	var words []string
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// fieldAt returns the field of a path of the table without lists and maps.
func fieldAt(v reflect.Value, path string) reflect.Value {
	for name := range strings.SplitSeq(path, ".") {
		i, _ := fieldOf(v.Type(), name)
		v = v.Field(i)
	}
	return v
}

// flags reads what has a flag and a variable of its own.
func (l *loader) flags(env *environment) {
	listen, where := l.options.Listen, origin{where: "--listen"}
	if listen == "" {
		listen, where = env.values["BUSD_LISTEN"], origin{where: "environment BUSD_LISTEN"}
	}
	if listen != "" {
		if reason := addressReason(listen); reason != "" {
			l.add(where.fault("", "%s", reason))
		} else {
			l.config.Listeners = l.config.Listeners[:1]
			l.config.Listeners[0].Address, l.config.Listeners[0].Services = listen, nil
			l.config.origins[indexed("listeners", 0)+".address"] = where
		}
	}
	only, where := l.options.Only, origin{where: "--services"}
	if only == nil {
		only, where = splitList(env.values["BUSD_SERVICES"]), origin{where: "environment BUSD_SERVICES"}
	}
	if only != nil {
		l.only(only, where)
	}
}

// only disables the services that are not named.
func (l *loader) only(names []string, where origin) {
	for _, name := range names {
		if !slices.Contains(l.options.Services, name) {
			l.add(where.fault("", "%s: %s", name, l.noService(name)))
		}
	}
	for name, s := range l.config.Services {
		s.Enabled = slices.Contains(names, name)
		l.config.Services[name] = s
	}
}

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
