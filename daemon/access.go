package daemon

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"busd/access"
	"busd/daemon/internal/config"
	"busd/msgbus"
	"busd/schema"
)

// accessOf is what the configuration says of who may do what. In development mode
// everybody with a certificate may do what no rule keeps him from, as long as
// nobody is registered.
func (p *program) accessOf(c *config.Config, dev bool) access.Config {
	a := access.Config{
		Open:     dev && c.Access.Empty(),
		Registry: access.RegistryConfig{DefaultGroups: c.Access.DefaultGroups},
		Services: map[string]access.ServiceRules{},
	}
	for _, u := range c.Access.Users {
		a.Registry.Users = append(a.Registry.Users, access.UserConfig(u))
	}
	for _, h := range c.Access.Hosts {
		a.Registry.Hosts = append(a.Registry.Hosts, access.HostConfig(h))
	}
	for _, g := range c.Access.Groups {
		a.Registry.Groups = append(a.Registry.Groups, access.GroupConfig(g))
	}
	for _, name := range p.names() {
		if said := c.Services[name].Access; !said.Empty() {
			a.Services[name] = access.ServiceRules(said)
		}
	}
	return a
}

// checkAccess looks at all that the configuration says of who may do what: by
// the contracts of the services, too. warnings name what nobody may do.
func (p *program) checkAccess(c *config.Config, dev bool) (warnings []string, err error) {
	said := p.accessOf(c, dev)
	policy := access.Open()
	for _, svc := range p.services {
		rules := rulesOf(svc)
		policy.Guard(svc.Name(), rules)
		if c.Services[svc.Name()].Enabled && !said.Open {
			if w := nobody(svc.Name(), rules, said.Services[svc.Name()]); w != "" {
				warnings = append(warnings, w)
			}
		}
	}
	return warnings, accessFault(c, policy.Check(said))
}

// accessFault points at the keys that are wrong.
func accessFault(c *config.Config, err error) error {
	if err == nil {
		return nil
	}
	all := &config.Error{}
	add := func(err error) {
		var f *access.Fault
		if errors.As(err, &f) {
			all.Faults = append(all.Faults, c.Fault(f.Where, "%s", f.Reason))
			return
		}
		all.Faults = append(all.Faults, c.Fault("access", "%v", err))
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			add(one)
		}
		return all
	}
	add(err)
	return all
}

// rulesOf are the rules of a service in code, each with the default that counts
// for it.
func rulesOf(svc *msgbus.Service) access.Rules {
	r := access.Rules{Messages: map[string]access.Rule{}, Methods: map[string]access.Rule{}}
	if svc.Schema != nil {
		for _, d := range svc.Schema.Messages() {
			if d.From != schema.FromService {
				r.Messages[d.Name] = or(svc.Rules[d.Name], svc.Allow)
			}
		}
	}
	if svc.Methods != nil {
		own := svc.Methods.Rules()
		for _, m := range svc.Methods.Methods() {
			r.Methods[m.Name] = or(own.Methods[m.Name], own.Default)
		}
	}
	return r
}

func or(r, other access.Rule) access.Rule {
	if r.IsZero() {
		return other
	}
	return r
}

// nobody says what of a service nobody may do, because no rule says who may;
// empty is nothing.
func nobody(service string, code access.Rules, said access.ServiceRules) string {
	if len(said.Default) > 0 {
		return ""
	}
	unsaid := func(rules map[string]access.Rule, said map[string][]string) (names []string) {
		for _, name := range slices.Sorted(maps.Keys(rules)) {
			if _, ok := said[name]; !ok && rules[name].IsZero() {
				names = append(names, name)
			}
		}
		return names
	}
	var parts []string
	if names := unsaid(code.Messages, said.Messages); names != nil {
		parts = append(parts, "send "+strings.Join(names, ", "))
	}
	if names := unsaid(code.Methods, said.Methods); names != nil {
		parts = append(parts, "call "+strings.Join(names, ", "))
	}
	if parts == nil {
		return ""
	}
	return fmt.Sprintf("%s: nobody may %s: no rule says who; services: {%s: {access: {default: [authenticated]}}} lets everybody who is known",
		service, strings.Join(parts, ", or "), service)
}
