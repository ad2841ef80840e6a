package moncf

import (
	"fmt"
	"strings"

	"github.com/monitord/monitord/internal/watch"
)

// A Program finds out whether an alert's program is there: mon looks it up once,
// when it reads the file, and never calls one that was not found then.
type Program func(name string) bool

// Machines returns the file's watches as the watch machine takes them, with mon's
// scope and compat, and the alert line behind each action.
func (f *File) Machines(found Program) ([]watch.Config, map[string]AlertLine) {
	b := machineBuilder{file: f, found: found, lines: map[string]AlertLine{}}
	var out []watch.Config
	for _, w := range f.Watches {
		for i := range w.Services {
			out = append(out, b.service(w.Group, &w.Services[i]))
		}
	}
	return out, b.lines
}

type machineBuilder struct {
	file  *File
	found Program
	lines map[string]AlertLine
}

func (b *machineBuilder) service(group string, s *Service) watch.Config {
	c := watch.Config{
		Key: watch.Key{Group: group, Service: s.Name}, Scope: watch.ScopeGroup, Compat: true,
		ExcludeHosts: s.ExcludeHosts, AllowEmptyGroup: s.AllowEmptyGroup, NoHosts: s.Monitor != nil && s.Monitor.NoHosts,
		UnackSummary: s.UnackSummary, TrapTimeout: s.TrapTimeout, TrapDuration: s.TrapDuration,
		Depend: watch.Dependency{
			On: expression(s.Depend), Behavior: s.DepBehavior, Memory: s.DepMemory,
			Alert: expression(s.AlertDepend), Monitor: expression(s.MonitorDepend), Host: expression(s.HostDepend),
		},
	}
	hosts, _ := b.file.Hosts(group)
	for _, h := range hosts {
		c.Hosts = append(c.Hosts, strings.TrimPrefix(h, "*"))
	}
	if s.Redistribute != nil {
		a := b.action(c.Key, "redistribute", "redistribute", 0, *s.Redistribute)
		c.Redistribute = &a
	}
	for i := range s.Periods {
		c.Periods = append(c.Periods, b.period(c.Key, &s.Periods[i]))
	}
	return c
}

// expression takes what cannot be parsed as mon does: never decided.
func expression(text string) watch.Expr {
	e, err := watch.ParseExpr(text)
	if err != nil {
		return watch.BrokenExpr(text)
	}
	return e
}

func (b *machineBuilder) period(key watch.Key, p *Period) watch.Period {
	out := watch.Period{
		Name: p.Key, When: p.When, AlertAfter: p.AlertAfter, AlertEvery: p.AlertEvery, NumAlerts: p.NumAlerts,
		UpAlertAfter: p.UpAlertAfter, NoCompAlerts: p.NoCompAlerts, AlertsDontCount: p.AlertsDontCount, ExitRange: p.ExitRange,
	}
	for _, list := range []struct {
		name  string
		lines []AlertLine
		into  *[]watch.Action
	}{
		{"alert", p.Alerts, &out.Alerts},
		{"upalert", p.UpAlerts, &out.UpAlerts},
		{"startupalert", p.StartupAlerts, &out.StartupAlerts},
		{"ackalert", p.AckAlerts, &out.AckAlerts},
		{"disablealert", p.DisableAlerts, &out.DisableAlerts},
	} {
		for i, line := range list.lines {
			*list.into = append(*list.into, b.action(key, p.Key, list.name, i, line))
		}
	}
	return out
}

func (b *machineBuilder) action(key watch.Key, period, list string, i int, line AlertLine) watch.Action {
	id := fmt.Sprintf("%s/%s/%s/%d", key, period, list, i)
	b.lines[id] = line
	return watch.Action{
		ID: id, Name: "exec " + line.Program, Exit: line.Exit,
		Missing: line.NeverFound || b.found != nil && !b.found(line.Program),
	}
}
