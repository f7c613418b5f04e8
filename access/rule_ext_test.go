package access_test

import (
	"slices"
	"strings"
	"testing"

	"busd/access"
)

func TestParseRule(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		words []string
		want  string
	}{
		{[]string{"any"}, "any"},
		{[]string{"ALL"}, "any"},
		{[]string{"Authenticated"}, "authenticated"},
		{[]string{"NormalUser", "normaluser", "Operator"}, "NormalUser, Operator"},
		{[]string{"vo:v", "group:g", "P", "any", "group:g", "group:G", "vo:v"}, "any, P, group:g, group:G, vo:v"},
		{[]string{"group:hosts"}, "group:hosts"},
		{[]string{"group:any", "vo:all"}, "group:any, vo:all"},
		{[]string{"group:a.b-c_d@e+f"}, "group:a.b-c_d@e+f"},
	} {
		r, err := access.ParseRule(tc.words...)
		if err != nil || r.IsZero() || r.String() != tc.want {
			t.Errorf("%q: got %s, %v; want %s", tc.words, r, err, tc.want)
		}
	}
	for _, tc := range []struct {
		words []string
		want  []string
	}{
		{nil, []string{"words: want at least one word"}},
		{[]string{""}, []string{"words[0]: the name of the property: it is empty"}},
		{[]string{"any", "a b", "vo:", "group:a/b"}, []string{"words[1]: the name of the property: want letters", "words[2]: the name of the virtual organisation: it is empty", "words[3]: the name of the group: want letters"}},
		{[]string{"GROUP:g", "voms:x", "group:visitor"}, []string{"words[0]: want any, authenticated, a property", "words[1]: want any", "words[2]: visitor is who acts in no group"}},
		{[]string{"any,Operator"}, []string{"words[0]: the name of the property: want letters"}},
	} {
		r, err := access.ParseRule(tc.words...)
		wantFaults(t, err, tc.want...)
		if !r.IsZero() {
			t.Errorf("%q: got the rule %s with an error", tc.words, r)
		}
	}
}

func TestZeroRule(t *testing.T) {
	t.Parallel()
	var r access.Rule
	if !r.IsZero() || r.String() != "none" || r.Words() != nil {
		t.Errorf("got %s, %q", r, r.Words())
	}
	if access.Any.IsZero() || access.Authenticated.IsZero() {
		t.Error("Any and Authenticated are rules")
	}
}

func TestMustRulePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if got, _ := recover().(string); !strings.Contains(got, `access: rule of ["group:"]`) {
			t.Errorf("got %q", got)
		}
	}()
	access.MustRule("group:")
}

// TestWordsAreACopy: a rule is immutable.
func TestWordsAreACopy(t *testing.T) {
	t.Parallel()
	given := []string{"Operator", "group:zeta"}
	r := access.MustRule(given...)
	given[0] = "any"
	r.Words()[0] = "any"
	if r.String() != "Operator, group:zeta" {
		t.Errorf("got %s", r)
	}
}

func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{"any", "all,authenticated", "NormalUser,group:group_test", "vo:testVO,vo:", "group:,GROUP:x", "\x00,é, ", "any,any", "group:visitor", ","} {
		f.Add(seed)
	}
	p, err := access.New(access.Config{Registry: registry()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, list string) {
		words := strings.Split(list, ",")
		r, err := access.ParseRule(words...)
		if err != nil {
			if !r.IsZero() {
				t.Errorf("%q: a rule and an error: %v", words, err)
			}
			return
		}
		again, err := access.ParseRule(r.Words()...)
		if err != nil || again.String() != r.String() {
			t.Errorf("%q: %s, again: %s, %v", words, r, again, err)
		}
		// Only who writes any, and no group, lets nobody in particular.
		everybody := slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, "any") || strings.EqualFold(w, "all") })
		for _, w := range words {
			everybody = everybody && !strings.HasPrefix(w, "group:") && !strings.HasPrefix(w, "vo:")
		}
		g := guardOf(p, r)
		for range 2 {
			if _, err := g.Method("ask", nobody, none); (err == nil) != everybody {
				t.Errorf("%q: nobody is let: %v, want %v", words, err == nil, everybody)
			}
		}
	})
}
