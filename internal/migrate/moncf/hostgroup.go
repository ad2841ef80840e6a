package moncf

import "slices"

// beginHostgroup takes "hostgroup NAME host ...". A second one of the same name
// replaces the first.
func (p *parser) beginHostgroup(l Source, match []string) error {
	name := match[1]
	if old, ok := p.groups[name]; ok {
		if g := p.file.Hostgroups[old]; !g.Implicit {
			p.warn(l, "hostgroup %q is defined again: as in mon the hosts of line %d are forgotten", name, g.Line)
		}
		p.forgetHostgroup(old, l)
	}
	p.addHostgroup(Hostgroup{Source: l, Name: name, Hosts: splitWords(match[2])})
	return nil
}

func (p *parser) addHostgroup(g Hostgroup) {
	p.groups[g.Name] = len(p.file.Hostgroups)
	p.file.Hostgroups = append(p.file.Hostgroups, g)
}

func (p *parser) forgetHostgroup(i int, by Source) {
	if g := p.file.Hostgroups[i]; !g.Implicit {
		p.replaced(by, g.Source, g.More)
	}
	p.file.Hostgroups = slices.Delete(p.file.Hostgroups, i, i+1)
	for j, g := range p.file.Hostgroups {
		p.groups[g.Name] = j
	}
}

func (p *parser) replaced(by, first Source, more []Source) {
	for _, l := range append([]Source{first}, more...) {
		p.file.Replaced = append(p.file.Replaced, Replaced{l, by.Line})
	}
}

func (p *parser) continueHostgroup(l Source) {
	g := &p.file.Hostgroups[len(p.file.Hostgroups)-1]
	g.Hosts = append(g.Hosts, splitWords(l.Raw)...)
	g.More = append(g.More, l)
}

// beginAlias takes "alias NAME". Of two with the same name mon shows the text of
// both.
func (p *parser) beginAlias(l Source, match []string) error {
	p.file.Aliases = append(p.file.Aliases, Alias{Source: l, Name: match[1]})
	return nil
}

// beginView takes "view NAME member ...". A second one of the same name replaces
// the first.
func (p *parser) beginView(l Source, match []string) error {
	name := match[1]
	if old := slices.IndexFunc(p.file.Views, func(v View) bool { return v.Name == name }); old >= 0 {
		p.warn(l, "view %q is defined again: as in mon the members of line %d are forgotten", name, p.file.Views[old].Line)
		p.replaced(l, p.file.Views[old].Source, p.file.Views[old].More)
		p.file.Views = slices.Delete(p.file.Views, old, old+1)
	}
	p.file.Views = append(p.file.Views, View{Source: l, Name: name, Members: splitWords(match[2])})
	return nil
}

// warnUnwatched gives mon's warning about groups without a watch. A watch without
// services does not count.
func (p *parser) warnUnwatched() {
	watched := map[string]bool{}
	for _, w := range p.file.Watches {
		watched[w.Group] = watched[w.Group] || len(w.Services) > 0
	}
	for _, g := range p.file.Hostgroups {
		if !watched[g.Name] {
			p.warn(g.Source, "Warning: hostgroup %s has no watch assigned to it!", g.Name)
			p.fromMon()
		}
	}
}

// fromMon marks the last warning as one of mon's.
func (p *parser) fromMon() { p.file.Warnings[len(p.file.Warnings)-1].FromMon = true }
