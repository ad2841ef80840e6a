package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/watch"
)

func (b *builder) watches() {
	for _, n := range b.sections(b.doc.Watch.node, "watch") {
		t := b.doc.defaultWatch()
		_ = b.table(n, &t, watchSection) // the problems are in the report
		w := b.watch(n, &t)
		if i, twice := b.index[w.Key]; twice && w.Group != "" && w.Service != "" {
			b.problem(n.at("service"), "there is another watch %s, in %s", w.Key, b.nodes[i].value.position())
		} else {
			b.index[w.Key] = len(b.site.Watches)
		}
		b.site.Watches = append(b.site.Watches, w)
		b.nodes = append(b.nodes, n)
	}
}

// watch builds one watch; what it lacks is reported.
func (b *builder) watch(n *node, t *watchTable) Watch {
	w := Watch{
		Description: t.Description, RandSkew: t.RandSkew.Std(), FailureInterval: t.FailureInterval.Std(),
		Actions: map[string]alerts.Alert{}, ExcludePeriod: b.excludePeriod(n, t.ExcludePeriod), Env: b.environment(n, t.Env),
		Owner: b.owner(n, t),
	}
	w.Config = watch.Config{
		Key: watch.Key{Group: t.Group, Service: t.Service}, Compat: b.site.Compat,
		ExcludeHosts: t.ExcludeHosts, AllowEmptyGroup: t.AllowEmptyGroup, UnackSummary: t.UnackSummary, AckExpires: t.AckExpires.Std(),
		TrapTimeout: t.TrapTimeout.Std(), TrapDuration: t.TrapDuration.Std(),
	}
	b.names(n, t)
	w.Hosts = b.hosts(n, t)
	b.scope(n, t, &w)
	b.schedule(n, t, &w)
	b.monitor(n, t, &w)
	b.dependency(n, t, &w)
	w.Redistribute = b.redistribute(t, &w)
	b.periods(n, t, &w)
	w.Fingerprint = b.fingerprint(n, w.Hosts)
	return w
}

func (b *builder) names(n *node, t *watchTable) {
	for _, name := range []struct{ key, value string }{{"group", t.Group}, {"service", t.Service}} {
		switch {
		case n.get(name.key) == nil:
			b.problem(n.value, "the watch has no %s", name.key)
		case !validName(name.value):
			b.blame(n, name.key, "%s: %q is no name: write letters, digits, _ . and - only", name.key, name.value)
		}
	}
}

// hosts returns the hosts of the watch's group. With compat = "mon" a group that
// nobody defined is one host of that name.
func (b *builder) hosts(n *node, t *watchTable) []string {
	g := b.groups[t.Group]
	switch {
	case g != nil:
		g.used = true
	case t.Group == "":
		return nil
	case b.site.Compat:
		g = &group{hosts: []string{t.Group}, place: n.at("group"), used: true}
		b.groups[t.Group], b.site.Groups[t.Group] = g, g.hosts
		b.warning(n.at("group"), "there is no host group %q: taken for the host of that name, as in mon", t.Group)
	default:
		b.blame(n, "group", "there is no host group %q%s", t.Group, didYouMean(t.Group, slices.Collect(maps.Keys(b.groups)), "there are"))
		return nil
	}
	for i, h := range t.ExcludeHosts {
		if !slices.Contains(g.hosts, h) {
			b.warning(b.element(n, "exclude_hosts", i), "exclude_hosts: %q is not in host group %q%s", h, t.Group, didYouMean(h, g.hosts, "it has"))
		}
	}
	return g.hosts
}

// element returns the place of a list's element, or of the one value that stands
// for a list.
func (b *builder) element(n *node, key string, i int) place {
	if v := n.get(key); v != nil && v.isList && i < len(v.list) {
		return v.list[i].value
	}
	return n.at(key)
}

func (b *builder) scope(n *node, t *watchTable, w *Watch) {
	w.Fall, w.Rise = b.atLeast(n, "fall", t.Fall, 1), b.atLeast(n, "rise", t.Rise, 1)
	if b.oneOf(n, "scope", t.Scope, "host", "group") != "group" {
		return
	}
	w.Scope = watch.ScopeGroup
	for _, key := range []string{"fall", "rise"} {
		if n.get(key) != nil {
			b.blame(n, key, "%s counts the results of each host, and scope is \"group\": write scope = \"host\", or use alertafter", key)
		}
	}
}

// schedule decides when the watch runs.
func (b *builder) schedule(n *node, t *watchTable, w *Watch) {
	interval, calendar := n.get("interval") != nil, n.get("cron") != nil
	switch {
	case interval && calendar:
		b.problem(n.get("cron").key, "interval and cron are both set: write one of them")
	case interval:
		w.Interval = t.Interval.Std()
		b.pace(n, "interval", w.Interval)
	case calendar:
		s, err := ParseCron(t.Cron)
		if err != nil {
			b.blame(n, "cron", "cron: %v", err)
		}
		w.Cron = s
	case t.Monitor.node != nil:
		b.problem(n.value, "the watch does not say when its monitor runs: write interval = \"30s\" or cron = \"*/5 * * * *\"")
	case b.site.Compat: // mon has such watches, for traps or by mistake
		b.warning(n.value, "nothing is tested here: the watch has no monitor that runs by an interval, and nothing listens for traps")
	case n.get("traptimeout") == nil && n.get("trapduration") == nil:
		b.problem(n.value, "the watch has no monitor: write interval and monitor")
	}
	if w.TrapTimeout > 0 {
		b.warning(n.at("traptimeout"), "traptimeout: nothing listens for traps, so that the watch fails every %s: take it out, and write a monitor for what the traps told", w.TrapTimeout)
	}
	for _, key := range []string{"failure_interval", "randskew"} {
		if n.get(key) != nil && !interval {
			b.problem(n.get(key).key, "%s needs interval", key)
		}
	}
	if interval && n.get("failure_interval") != nil {
		b.pace(n, "failure_interval", w.FailureInterval)
	}
	if interval && w.RandSkew > 0 && w.RandSkew >= w.Interval {
		b.blame(n, "randskew", "randskew: %s is not less than the interval, %s", w.RandSkew, w.Interval)
	}
}

func (b *builder) pace(n *node, key string, d time.Duration) {
	if d < minInterval {
		b.blame(n, key, "%s: %s is too short: write %s or more", key, d, minInterval)
	}
}

// ownName is what mon takes for a variable of a service.
var ownName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// environment checks the watch's own variables and returns them sorted.
func (b *builder) environment(n *node, vars map[string]string) []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		at := n.get("env").table[name]
		switch {
		case !ownName.MatchString(name):
			b.problem(at.key, "%q is no name of a variable: write capital letters, digits and _", name)
		case strings.HasPrefix(name, "MON_"):
			b.problem(at.key, "%s: the names that begin with MON_ are the program's own", name)
		case strings.ContainsRune(vars[name], '\x00'):
			b.problem(at.value, "%s holds a NUL, which no variable can", name)
		}
		env = append(env, name+"="+vars[name])
	}
	return env
}

// deadline is the default of timeout.
func deadline(interval, monitor time.Duration) time.Duration {
	d := max(defaultTimeout, interval)
	if monitor > 0 {
		d = max(d, monitor+timeoutMargin)
	}
	return d
}

// ownTimeout returns the key timeout of a plugin's configuration, 0 if it has
// none.
func ownTimeout(bound any) time.Duration {
	for _, f := range fieldsOf(elem(bound)) {
		if d, ok := reflect.TypeAssert[plugin.Duration](f.value); ok && f.key == "timeout" {
			return d.Std()
		}
	}
	return 0
}
