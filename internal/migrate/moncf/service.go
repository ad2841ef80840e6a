package moncf

import (
	"slices"
	"strings"
	"time"
)

// beginWatch takes "watch GROUP". mon drops what follows the name.
func (p *parser) beginWatch(l Source, match []string) error {
	group, rest := match[1], match[2]
	if rest != "" {
		p.warn(l, "%q after the name of the group is ignored, as mon does", rest)
	}
	if _, ok := p.groups[group]; !ok {
		p.warn(l, "Warning: watch group %s defined with no corresponding hostgroup.", group)
		p.fromMon()
		implied := Source{Line: l.Line, LastLine: l.LastLine, Raw: l.Raw}
		p.addHostgroup(Hostgroup{Source: implied, Name: group, Hosts: []string{group}, Implicit: true})
	}
	// mon knows of a watch only once it has a service.
	if i, ok := p.watches[group]; ok && len(p.file.Watches[i].Services) > 0 {
		return p.errorf(l, "watch '%s' already defined", group)
	}
	p.watches[group] = len(p.file.Watches)
	p.file.Watches = append(p.file.Watches, Watch{Source: l, Group: group})
	return nil
}

var (
	varLine     = perl(`^([A-Z_][A-Z0-9_]*)=(.*)`)
	keywordLine = perl(`^(\w+)\s*(.*)$`)
	serviceName = perl(`^` + nameChars + `$`)
)

// watchLine takes a line of a watch.
func (p *parser) watchLine(l Source) error {
	if m := varLine.FindStringSubmatch(l.Raw); m != nil {
		return p.variable(Setting{l, m[1], m[2]})
	}
	set := Setting{Source: l}
	if m := keywordLine.FindStringSubmatch(l.Raw); m != nil {
		set.Name, set.Value = m[1], m[2]
	}
	switch {
	case set.Name == "service":
		return p.beginService(set)
	case !p.serviceOpen:
		return p.errorf(l, "need to specify service in watch record")
	case set.Name == "period":
		return p.beginPeriod(set)
	case p.periodOpen:
		return p.periodLine(set)
	}
	return p.serviceLine(set)
}

func (p *parser) watch() *Watch { return &p.file.Watches[len(p.file.Watches)-1] }

func (p *parser) service() *Service {
	w := p.watch()
	return &w.Services[len(w.Services)-1]
}

// variable takes "NAME=value", which may stand anywhere in a service.
func (p *parser) variable(set Setting) error {
	if !p.serviceOpen {
		return p.errorf(set.Source, "environment variable defined without a service")
	}
	s := p.service()
	s.Keywords = append(s.Keywords, set)
	entry := set.Name + "=" + set.Value
	if i := slices.IndexFunc(s.Vars, func(v string) bool { return strings.HasPrefix(v, set.Name+"=") }); i >= 0 {
		s.Vars[i] = entry
		return nil
	}
	s.Vars = append(s.Vars, entry)
	return nil
}

// beginService takes "service NAME". The globals read so far are its defaults.
func (p *parser) beginService(set Setting) error {
	w := p.watch()
	name := set.Value
	if !serviceName.MatchString(name) {
		return p.errorf(set.Source, "invalid service tag '%s'", name)
	}
	if slices.ContainsFunc(w.Services, func(s Service) bool { return s.Name == name }) {
		return p.errorf(set.Source, "service %s already defined for watch group %s", name, w.Group)
	}
	w.Services = append(w.Services, Service{
		Source:       set.Source,
		Name:         name,
		DepBehavior:  p.defaults.depBehavior,
		DepMemory:    p.defaults.depMemory,
		UnackSummary: p.defaults.unackSummary,
	})
	p.serviceOpen, p.periodOpen = true, false
	return nil
}

// serviceKeywords are what may stand in a service before its first period.
var serviceKeywords = map[string]func(*parser, *Service, Setting) *Error{
	"interval": timevalKeyword(func(s *Service) *time.Duration { return &s.Interval },
		"invalid time interval '%s' (syntax: interval = {positive number}{smhd})"),
	"failure_interval": timevalKeyword(func(s *Service) *time.Duration { return &s.FailureInterval },
		"invalid interval '%s' (syntax: failure_interval = {positive number}{smhd})"),
	"randskew": timevalKeyword(func(s *Service) *time.Duration { return &s.RandSkew },
		"invalid randskew time interval '%s' (syntax: randskew = {positive number}{smhd})"),
	"traptimeout": timevalKeyword(func(s *Service) *time.Duration { return &s.TrapTimeout },
		"invalid traptimeout interval '%s' (syntax: traptimeout = {positive number}{smhd})"),
	"trapduration": timevalKeyword(func(s *Service) *time.Duration { return &s.TrapDuration },
		"invalid trapduration interval '%s' (syntax: trapduration = {positive number}{smhd})"),

	"monitor":           (*parser).monitor,
	"redistribute":      (*parser).redistribute,
	"description":       textKeyword(func(s *Service) *string { return &s.Description }),
	"allow_empty_group": (*parser).allowEmptyGroup,
	"exclude_hosts":     (*parser).excludeHosts,
	"exclude_period":    (*parser).serviceExcludePeriod,
	"unack_summary":     (*parser).serviceUnackSummary,

	"depend":        dependKeyword(func(s *Service) *string { return &s.Depend }),
	"alertdepend":   dependKeyword(func(s *Service) *string { return &s.AlertDepend }),
	"monitordepend": dependKeyword(func(s *Service) *string { return &s.MonitorDepend }),
	"hostdepend":    dependKeyword(func(s *Service) *string { return &s.HostDepend }),
	"dep_behavior":  (*parser).serviceDepBehavior,
	"dep_memory":    (*parser).serviceDepMemory,
}

// serviceLine takes a keyword of a service before its first period.
func (p *parser) serviceLine(set Setting) error {
	take, known := serviceKeywords[set.Name]
	if !known {
		return p.errorf(set.Source, "unknown syntax [%s]", set.Raw)
	}
	s := p.service()
	if err := take(p, s, set); err != nil {
		return err
	}
	p.warnTwice(s.Keywords, set)
	s.Keywords = append(s.Keywords, set)
	return nil
}

// warnTwice warns of a keyword that stands there twice: mon keeps the last.
func (p *parser) warnTwice(before []Setting, set Setting) {
	for _, old := range slices.Backward(before) {
		if old.Name == set.Name {
			p.warn(set.Source, "%s stands there twice: as in mon this one counts, and not that of line %d", set.Name, old.Line)
			return
		}
	}
}

func timevalKeyword(field func(*Service) *time.Duration, text string) func(*parser, *Service, Setting) *Error {
	return func(p *parser, s *Service, set Setting) *Error {
		d, shown, ok := positive(set.Value)
		if !ok {
			return p.errorf(set.Source, text, shown)
		}
		*field(s) = d
		return nil
	}
}

func textKeyword(field func(*Service) *string) func(*parser, *Service, Setting) *Error {
	return func(_ *parser, s *Service, set Setting) *Error {
		*field(s) = set.Value
		return nil
	}
}

// dependKeyword replaces "SELF:" wherever it stands, as mon does.
func dependKeyword(field func(*Service) *string) func(*parser, *Service, Setting) *Error {
	return func(p *parser, s *Service, set Setting) *Error {
		*field(s) = strings.ReplaceAll(set.Value, "SELF:", p.watch().Group+":")
		return nil
	}
}

// allowEmptyGroup is set by the word alone; "allow_empty_group no" sets it too.
func (p *parser) allowEmptyGroup(s *Service, set Setting) *Error {
	if set.Value != "" {
		p.warn(set.Source, "allow_empty_group takes no value: as in mon it is on, whatever %q is meant to say", set.Value)
	}
	s.AllowEmptyGroup = true
	return nil
}

func (p *parser) excludeHosts(s *Service, set Setting) *Error {
	s.ExcludeHosts = splitWords(set.Value)
	return nil
}

func (p *parser) serviceExcludePeriod(s *Service, set Setting) *Error {
	when, err := p.excludePeriod(set)
	if err == nil {
		s.ExcludePeriod = when
	}
	return err
}

func (p *parser) serviceUnackSummary(s *Service, set Setting) *Error {
	on, err := p.unackSummary(set)
	if err == nil {
		s.UnackSummary = on
	}
	return err
}

func (p *parser) serviceDepBehavior(s *Service, set Setting) *Error {
	b, ok := depBehavior(set.Value)
	if !ok {
		return p.errorf(set.Source, "unknown dependency behavior '%s' (syntax: dep_behavior = {m|a})", set.Value)
	}
	s.DepBehavior = b
	return nil
}

// serviceDepMemory quotes the text as written, unlike the other intervals.
func (p *parser) serviceDepMemory(s *Service, set Setting) *Error {
	d, _, ok := positive(set.Value)
	if !ok {
		return p.errorf(set.Source, "bad value '%s' for dep_memory option (syntax: dep_memory = timeval)", set.Value)
	}
	s.DepMemory = d
	return nil
}
