package config

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// programKind is the kind of monitor that starts programs.
const programKind = "exec"

// A table of a plugin, while it is built.
type pluginTable struct {
	contract string // "monitor" or "alert"
	kind     string
	node     *node // without the keys that are not the plugin's
	// bound is the plugin's own configuration, filled; nil if it never asked.
	bound any
}

// open takes the table of a plugin; it returns nil if there is no type.
func (b *builder) open(contract string, kinds []string, n *node, ours ...string) *pluginTable {
	if n.table == nil {
		b.problem(n.value, "%s %s, want a table like { type = %q, ... }", contract, n.is(), first(kinds))
		return nil
	}
	kind := n.get("type")
	if kind == nil {
		b.problem(n.value, "the %s has no type: write one of %s", contract, strings.Join(kinds, ", "))
		return nil
	}
	name, ok := b.text(kind, "type", "the name of a kind of "+contract)
	if !ok {
		return nil
	}
	return &pluginTable{contract: contract, kind: name, node: n.without(append(ours, "type")...)}
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// bind is what the plugin's build calls for its configuration.
func (b *builder) bind(t *pluginTable) plugin.Bind {
	return func(into any) error {
		err := b.table(t.node, into, fmt.Sprintf("%s %q", t.contract, t.kind))
		t.bound = into
		return err
	}
}

// failed reports why a plugin could not be built; n is its whole table.
func (b *builder) failed(t *pluginTable, n *node, err error) {
	if unknown, ok := errors.AsType[*plugin.UnknownKindError](err); ok {
		b.problem(n.at("type"), "%v%s", unknown, didYouMean(unknown.Name, unknown.Known, "the types are"))
		return
	}
	b.complain(n, t.contract+" "+t.kind, err)
}

// heed passes on what the configuration of a plugin that was built has to say.
func (b *builder) heed(t *pluginTable, err error) {
	warner, ok := t.bound.(plugin.Warner)
	if err != nil || !ok {
		return
	}
	for _, warning := range warner.Warnings() {
		if warning != nil {
			each(t.node, t.contract+" "+t.kind, warning, b.warning)
		}
	}
}

// guard makes an error of a plugin's panic.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the plugin panicked while it was built: %v", p)
	}
}

func (b *builder) monitor(n *node, t *watchTable, w *Watch) {
	w.Timeout = t.Timeout.Std()
	if t.Monitor.node == nil {
		if n.get("interval") != nil || n.get("cron") != nil {
			b.problem(n.value, "the watch has no monitor: write monitor = { type = \"http\", ... }")
		}
		w.Timeout = 0
		return
	}
	table := b.open("monitor", monitors.Kinds(), t.Monitor.node)
	if table == nil {
		return
	}
	w.MonitorKind, w.IsProgram = table.kind, table.kind == programKind
	m, err := b.buildMonitor(table)
	switch {
	case err != nil && b.site.Compat && missingProgram(err):
		m = absent{err}
		b.warnOnce(t.Monitor.node.at("program"), "%s: nothing is tested until it is there and the configuration is read again, as in mon", oneLine(err.Error()))
	case err != nil:
		b.failed(table, t.Monitor.node, err)
		return
	}
	w.Monitor = m
	b.distrust(t.Monitor.node, m)
	w.NoHosts = w.IsProgram && declinesHosts(table.bound)
	own := ownTimeout(table.bound)
	switch {
	case n.get("timeout") == nil:
		w.Timeout = deadline(w.Interval, own)
	case w.Timeout <= 0:
		b.blame(n, "timeout", "timeout: %s is no time to run in", w.Timeout)
	case own > 0 && w.Timeout <= own:
		b.blame(n, "timeout", "timeout: a run would be ended after %s, before the monitor's own timeout of %s: no host could ever be found down by that", w.Timeout, own)
	}
}

// distrust warns a user of a program that root would be refused.
func (b *builder) distrust(n *node, plugin any) {
	p, isProgram := plugin.(interface{ Program() string })
	if !isProgram || b.host.Distrust == nil {
		return
	}
	if err := b.host.Distrust(p.Program()); err != nil {
		b.warning(n.at("program"), "program: %s; as root monitord would not run it", oneLine(err.Error()))
	}
}

// absent stands for a monitor whose program was not there when the configuration
// was read: mon says so at each run, and goes on with the other services.
type absent struct{ err error }

// Check implements [monitors.Monitor]: it could not test.
func (a absent) Check(context.Context, monitors.Request) (monitors.Result, error) {
	return monitors.Result{}, a.err
}

// Missing says which program is not there: a rehearsal tells who wrote the results.
func (a absent) Missing() error { return a.err }

// declinesHosts reports whether a monitor's configuration has hosts = false:
// mon's ";;".
func declinesHosts(bound any) bool {
	for _, f := range fieldsOf(elem(bound)) {
		if f.key == "hosts" && f.value.Kind() == reflect.Bool {
			return !f.value.Bool()
		}
	}
	return false
}

func (b *builder) buildMonitor(t *pluginTable) (m monitors.Monitor, err error) {
	defer guard(&err)
	g := &b.site.Global
	m, err = monitors.Build(t.kind, monitors.Site{Path: g.MonDir, StateDir: g.StateDir, LogDir: g.LogDir, ConfigDir: g.ConfigDir, Compat: g.Compat}, b.bind(t))
	b.heed(t, err)
	return m, err
}

func (b *builder) buildAlert(t *pluginTable) (a alerts.Alert, err error) {
	defer guard(&err)
	g := &b.site.Global
	a, err = alerts.Build(t.kind, alerts.Site{
		Path: g.AlertDir, StateDir: g.StateDir, LogDir: g.LogDir, ConfigDir: g.ConfigDir,
		Hostname: b.host.Hostname, Pool: b.pool, Log: b.host.Log,
	}, b.bind(t))
	b.heed(t, err)
	return a, err
}

// action builds one alert of a watch; messages says that this list sends
// messages, in which what follows who is up has no place.
func (b *builder) action(n *node, list string, w *Watch, messages bool) (watch.Action, bool) {
	t := b.open("alert", alerts.Kinds(), n, "exit")
	if t == nil {
		return watch.Action{}, false
	}
	action := watch.Action{}
	if exit := n.get("exit"); exit != nil {
		var r exitRange
		b.complain(exit, "exit", r.UnmarshalTOML(exit.bare()))
		action.Exit = r.ExitRange
	}
	b.pool.asked = nil
	alert, err := b.buildAlert(t)
	action.Name = nameOf(t)
	action.ID = w.newAction(list + "/" + action.Name)
	switch {
	case err != nil && b.site.Compat && missingProgram(err):
		b.warnOnce(n.at("program"), "%s: it is left out, as in mon", oneLine(err.Error()))
		action.Missing = true
		return action, true
	case err != nil:
		b.failed(t, n, err)
		return watch.Action{}, false
	}
	if t.kind == programKind && notifies(t.bound) {
		b.blame(n, "style", "style: notify scripts of keepalived are told of transitions: put them into alert of a [[group]], or write style = \"mon\"")
	}
	if _, follows := alert.(alerts.Follower); follows {
		action.Follows = true
		if messages {
			b.problem(n.value, "%s follows who is up both ways, down and up again: put it into alert only", t.kind)
		}
		b.follow(w.Key.String())
	}
	w.Actions[action.ID] = alert
	b.distrust(n, alert)
	return action, true
}

// notifies reports whether a program is called as keepalived does it.
func notifies(bound any) bool {
	for _, f := range fieldsOf(elem(bound)) {
		if f.key == "style" && f.value.Kind() == reflect.String {
			return f.value.String() == "keepalived"
		}
	}
	return false
}

// newAction makes an action's ID unique within the watch. It holds the action's
// name and not its place in the list, so that what waits for an alert still goes
// to that alert after another was written in front of it.
func (w *Watch) newAction(id string) string {
	for n := 2; ; n++ {
		if _, taken := w.Actions[id]; !taken {
			return id
		}
		id = fmt.Sprintf("%s #%d", strings.TrimSuffix(id, fmt.Sprintf(" #%d", n-1)), n)
	}
}

// follow notes which virtual services the alert just built asked for.
func (b *builder) follow(source string) {
	for _, virtual := range b.pool.asked {
		if !slices.Contains(b.site.Followers[virtual], source) {
			b.site.Followers[virtual] = append(b.site.Followers[virtual], source)
		}
	}
}

// missingProgram reports whether an alert's program is not there.
func missingProgram(err error) bool {
	var blamed *plugin.KeyError
	return errors.As(err, &blamed) && blamed.Key == "program" &&
		(errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission))
}

// nameOf names an action for people: its kind, and its key name if it has one. Else
// the texts of the first two keys of its configuration, which by convention say what
// it is about: a program and its arguments, the recipients, the virtual service. Of a
// secret, such as the URL of a chat, the host and a check sum tell it from others.
func nameOf(t *pluginTable) string {
	name := []string{t.kind}
	if t.bound == nil {
		return t.kind
	}
	fields := fieldsOf(elem(t.bound))
	for _, f := range fields {
		if f.key == "name" && f.value.Kind() == reflect.String && f.value.Len() > 0 {
			return oneLine(t.kind + " " + f.value.String())
		}
	}
	for i, f := range fields {
		if i == 2 {
			break
		}
		switch v := f.value; {
		case v.Type() == secretType && v.Len() > 0:
			sum := sha256.Sum256([]byte(v.String()))
			if host := hostOf(f.key, v.String()); host != "" {
				name = append(name, host)
			}
			name = append(name, hex.EncodeToString(sum[:3]))
		case v.Type() == secretType:
		case v.Kind() == reflect.String && v.Len() > 0:
			name = append(name, v.String())
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String:
			for j := range v.Len() {
				name = append(name, v.Index(j).String())
			}
		}
	}
	return oneLine(strings.Join(name, " "))
}

// hostOf is the host of a URL, which is no secret; empty if the text is not plainly one.
// What else stands in it may be: the path of a chat's, a user's password, a key.
func hostOf(key, text string) string {
	u, err := url.Parse(text)
	if key != "url" || err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.ContainsAny(u.Path+u.Fragment+u.RawQuery, "@") {
		return ""
	}
	return u.Host
}
