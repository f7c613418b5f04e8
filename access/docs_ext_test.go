package access_test

import (
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"busd/access"
)

// TestDocumentation: docs/access.md's example is a good configuration, and each
// cell of the table below it is what a caller is told.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "## An example")
	rest, _, _ = strings.Cut(rest, "\n## ")
	_, rest, _ = strings.Cut(rest, "```yaml\n")
	example, rest, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("there is no example")
	}
	c := configOf(t, example)
	p := newPolicy(t, c)
	g := p.Guard("Framework/Jobs", access.Rules{
		Default:  access.MustRule("JobAdministrator"), // the operator's goes before it
		Messages: map[string]access.Rule{"Heartbeat": access.Any},
		Methods:  map[string]access.Rule{"kill": {}, "status": {}, "list": {}},
	})
	if err := p.Check(c); err != nil {
		t.Error(err)
	}

	rows := 0
	for _, line := range strings.Split(rest, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 6 || strings.HasPrefix(line, "| credential") || strings.HasPrefix(line, "| ---") {
			continue
		}
		rows++
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		caller, claim := callerOf(cells[0]), claimOf(cells[1])
		for i, got := range []string{
			show(g.Message("Heartbeat", caller, claim)), show(g.Method("kill", caller, claim)),
			show(g.Method("status", caller, claim)), show(g.Method("list", caller, claim)),
		} {
			if got := strings.NewReplacer("?", "", "!", "").Replace(got); got != cells[i+2] {
				t.Errorf("%s, %s: column %d: the page says %s, got %s", cells[0], cells[1], i+3, cells[i+2], got)
			}
		}
	}
	if rows != 10 {
		t.Errorf("the table has %d rows that could be read, want 10", rows)
	}
}

// configOf reads the keys that the daemon's configuration has for access.
func configOf(t *testing.T, text string) access.Config {
	t.Helper()
	var file struct {
		Access struct {
			Users  map[string]struct{ DN, Peers, Tokens, Suspended []string }
			Hosts  map[string]struct{ DN, Peers, Properties []string }
			Groups yaml.MapSlice // in the order of the file
			// DefaultGroups are names.
			DefaultGroups []string `yaml:"default_groups"`
		}
		Services map[string]struct {
			Access struct {
				Default, Connect  []string
				Messages, Methods map[string][]string
			}
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(text), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	c := access.Config{Services: map[string]access.ServiceRules{}}
	for name, u := range file.Access.Users {
		c.Registry.Users = append(c.Registry.Users, access.UserConfig{Name: name, DN: u.DN, Peers: u.Peers, Tokens: u.Tokens, Suspended: u.Suspended})
	}
	for name, h := range file.Access.Hosts {
		c.Registry.Hosts = append(c.Registry.Hosts, access.HostConfig{Name: name, DN: h.DN, Peers: h.Peers, Properties: h.Properties})
	}
	for _, item := range file.Access.Groups {
		again, err := yaml.Marshal(item.Value)
		if err != nil {
			t.Fatal(err)
		}
		var g struct {
			Users, Properties []string
			VO                string
		}
		if err := yaml.UnmarshalWithOptions(again, &g, yaml.Strict()); err != nil {
			t.Fatal(err)
		}
		c.Registry.Groups = append(c.Registry.Groups, access.GroupConfig{Name: item.Key.(string), Users: g.Users, Properties: g.Properties, VO: g.VO})
	}
	c.Registry.DefaultGroups = file.Access.DefaultGroups
	for name, s := range file.Services {
		c.Services[name] = access.ServiceRules(s.Access)
	}
	return c
}

// callerOf reads `a DN`, `a peer's name`, `a token`, or – for nobody.
func callerOf(cell string) *access.Caller {
	name := strings.Trim(cell, "`")
	switch subject, issuer, isToken := strings.Cut(name, "@"); {
	case name == "–":
		return nobody
	case isToken:
		return bearer(subject, issuer)
	case strings.HasPrefix(name, "/"):
		return certificate(name)
	default:
		return peer(name)
	}
}

// claimOf reads "group g", "for `DN` in g", or – for none.
func claimOf(cell string) access.Claim {
	if group, ok := strings.CutPrefix(cell, "group "); ok {
		return in(group)
	}
	if whom, ok := strings.CutPrefix(cell, "for `"); ok {
		dn, group, _ := strings.Cut(whom, "` in ")
		return forward(dn, group)
	}
	return none
}
