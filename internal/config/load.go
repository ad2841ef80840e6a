package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/period"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/syslog"
	"github.com/monitord/monitord/internal/watch"
)

// Load reads the file at path and all that it includes. If there is any mistake
// the site is nil and the error is [Problems].
func Load(path string, host Host) (*Site, error) {
	return loadBy(path, host, func(r *reader) { r.read(path, place{}, nil) })
}

// LoadText is [Load] of a text that was made from the file at path, and is no file
// itself: an importer's. Places are those of the text.
func LoadText(path string, text []byte, host Host) (*Site, error) {
	return loadBy(path, host, func(r *reader) {
		r.take(path, text, nil, newSource(path, nil).place(0), nil)
	})
}

func loadBy(path string, host Host, read func(*reader)) (*Site, error) {
	if host.Env == nil {
		host.Env = os.LookupEnv
	}
	if host.Distrust == nil && os.Geteuid() != 0 {
		host.Distrust = monprog.Suspicious
	}
	found := &report{}
	r := reader{report: found, env: host.Env}
	read(&r)
	if r.root == nil {
		return nil, found.problems.sorted()
	}
	b := newBuilder(found, host)
	b.document(r.root, path)
	if len(found.problems) == 0 && len(b.site.Watches) == 0 && b.site.Cluster.firstGroup() == "" {
		b.problem(r.root.value, "there is nothing to watch: write a [[watch]]")
	}
	if len(found.problems) > 0 {
		return nil, found.problems.sorted()
	}
	for _, f := range r.files {
		b.site.Files = append(b.site.Files, f.path)
	}
	b.site.Warnings = found.warned()
	b.pool.asking = false
	return b.site, nil
}

// A builder makes a site of a document.
type builder struct {
	binder
	host Host
	doc  document
	site *Site
	pool *pool
	// groups are the host groups with their places.
	groups map[string]*group
	index  map[watch.Key]int // of the site's watches
	// nodes are those of the site's watches, at the same index.
	nodes []*node
	// virtualPlaces are where the virtual services stand, by name.
	virtualPlaces map[string]place
	// silent are the watches that tell nobody.
	silent []silence
	// addresses and servers are the groups that have a virtual address, and that
	// serve a virtual service.
	addresses map[netip.Addr]string
	servers   map[string]server
	// required are the watches that groups need.
	required []required
}

type group struct {
	hosts []string
	place place
	used  bool
}

func newBuilder(r *report, host Host) *builder {
	return &builder{
		binder: binder{report: r, elsewhere: elsewhere()},
		host:   host, doc: defaultDocument(), groups: map[string]*group{}, index: map[watch.Key]int{}, virtualPlaces: map[string]place{},
		site: &Site{Groups: map[string][]string{}, Followers: map[string][]string{}, Quorums: map[string]*Quorum{}},
		pool: &pool{behind: host.Pool, asking: true},
	}
}

// document builds everything, in the order in which things need each other.
func (b *builder) document(root *node, path string) {
	_ = b.table(root, &b.doc, globalSection) // the problems are in the report
	b.global(root, path)
	b.hostGroups()
	b.virtuals()
	b.cluster()
	b.watches()
	b.dependencies()
	b.requirements()
	b.digest()
	b.quorumOwners()
	b.unaddressed()
	b.syncRole()
	b.unused()
}

func (b *builder) global(root *node, path string) {
	d, g := &b.doc, &b.site.Global
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil { // the current folder is gone
		b.problem(root.value, "find the folder of this file: %v", err)
	}
	g.ConfigDir = below(base, d.CfBaseDir)
	for _, dir := range []struct {
		key  string
		path *string
		to   *string
	}{{"statedir", &d.StateDir, &g.StateDir}, {"logdir", &d.LogDir, &g.LogDir}, {"socket", &d.Socket, &g.Socket}} {
		if *dir.path == "" {
			b.blame(root, dir.key, "%s is empty: write a path, or leave the key out", dir.key)
		}
		*dir.to = below(g.ConfigDir, *dir.path)
	}
	g.AlertDir, g.MonDir = belowEach(g.ConfigDir, d.AlertDir), belowEach(g.ConfigDir, d.MonDir)
	g.MaxProcs = b.atLeast(root, "maxprocs", d.MaxProcs, 0)
	g.MaxChecks = b.atLeast(root, "maxchecks", d.MaxChecks, 0)
	g.DepRecurLimit = b.atLeast(root, "dep_recur_limit", d.DepRecurLimit, 1)
	g.HistLength = b.atLeast(root, "histlength", d.HistLength, 1)
	b.monLogs(root)
	g.RandStart = d.RandStart.Std()
	g.StateAge = d.StateAge.Std()
	g.StartupAlertsOnReset = d.StartupAlertsOnReset
	g.ExcludePeriod = b.excludePeriod(root, d.ExcludePeriod)
	g.Compat = b.oneOf(root, "compat", d.Compat, "", "mon") == "mon"
	if root.get("ack_expires") == nil && !g.Compat { // mon's last for ever
		d.AckExpires = plugin.Duration(ackExpires)
	}
	b.oneOf(root, "dep_behavior", d.DepBehavior, "a", "m", "hm")
	b.log(d.Log.node)
	if len(g.Socket) > maxSocketPath {
		b.blame(root, "socket", "socket: the path has %d bytes, the kernel takes %d", len(g.Socket), maxSocketPath)
	}
}

// monLogs are the files that mon writes for other programs.
func (b *builder) monLogs(root *node) {
	d, g := &b.doc, &b.site.Global
	g.HistoricTime = d.HistoricTime.Std()
	if d.HistoricFile != "" {
		g.HistoricFile = below(g.LogDir, d.HistoricFile)
	}
	switch {
	case d.DTLogging && d.DTLogFile == "":
		b.blame(root, "dtlogfile", "dtlogfile is empty: write a path, or leave the key out")
	case d.DTLogging:
		g.DTLogFile = below(g.LogDir, d.DTLogFile)
	}
}

// maxSocketPath is the length of sun_path without its NUL (unix(7)).
const maxSocketPath = 107

func (b *builder) log(n *node) {
	l := defaultLog()
	if n != nil && b.table(n, &l, logSection) == nil {
		b.oneOf(n, "level", l.Level, "debug", "info", "warning", "error")
		b.oneOf(n, "format", l.Format, "auto", "text", "logfmt", "json", "journal")
		b.logTarget(n, &l)
	}
	b.site.Log = Log(l)
}

// logTarget checks where the log is to go.
func (b *builder) logTarget(n *node, l *logTable) {
	if l.File != "" && l.Syslog != "" {
		b.blame(n, "syslog", "syslog: the log goes to a file already: leave one of file and syslog out")
	}
	if n.get("file") != nil && l.File == "" {
		b.blame(n, "file", "file: is empty: write a path, or leave the key out")
	}
	if l.File != "" {
		l.File = below(b.site.LogDir, l.File)
	}
	if n.get("syslog") != nil {
		if _, err := syslog.ParseFacility(l.Syslog); err != nil {
			b.blame(n, "syslog", "syslog: %v", err)
		}
	}
}

// below makes a path absolute.
func below(base, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

func belowEach(base string, paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = below(base, p)
	}
	return out
}

// blame reports a value that has the right type and is wrong all the same; it is
// silent where the value has been reported already.
func (r *report) blame(n *node, key, format string, args ...any) {
	at := n.at(key)
	for _, p := range r.problems {
		if p.File == at.in.name && p.Line == at.line && p.Column == at.column {
			return
		}
	}
	r.problem(at, format, args...)
}

func (b *builder) atLeast(n *node, key string, value, least int) int {
	if value < least {
		b.blame(n, key, "%s: %d is out of range: write %d or more", key, value, least)
	}
	return value
}

func (b *builder) oneOf(n *node, key, value string, accepted ...string) string {
	if !slices.Contains(accepted, value) {
		b.blame(n, key, "%s: %q is not accepted%s", key, value, didYouMean(value, nonEmpty(accepted), "write one of"))
	}
	return value
}

func nonEmpty(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == "" })
}

// excludePeriod parses exclude_period. The zero value excludes nothing.
func (b *builder) excludePeriod(n *node, text string) period.Period {
	if n.get("exclude_period") == nil {
		return period.Period{}
	}
	if strings.TrimSpace(text) == "" {
		b.blame(n, "exclude_period", "exclude_period is empty, which is always: nothing would ever be tested")
	}
	p := b.period(n, "exclude_period", text)
	return p
}

func (b *builder) hostGroups() {
	n := b.doc.HostGroups.node
	if n == nil {
		return
	}
	if n.table == nil {
		b.problem(n.value, "hostgroups %s, want a table: [hostgroups] and in it name = [\"host\", ...]", n.is())
		return
	}
	for _, name := range n.keys {
		hosts := n.table[name]
		if where := b.elsewhere[name]; len(where) > 0 && !hosts.isList {
			b.problem(hosts.key, "%q is no key of [hostgroups]: it belongs %s", name, strings.Join(where, " or "))
			continue
		}
		g := &group{place: hosts.key}
		b.groups[name] = g
		if !validName(name) {
			b.problem(hosts.key, "%q is no name of a host group: write letters, digits, _ . and - only", name)
		}
		var bound struct {
			Hosts []string `toml:"hosts"`
		}
		if b.wrapped(hosts, &bound, name) == nil {
			g.hosts = b.members(name, hosts, bound.Hosts)
			b.site.Groups[name] = g.hosts
		}
	}
}

// members checks the hosts of a group.
func (b *builder) members(name string, n *node, hosts []string) []string {
	if len(hosts) == 0 {
		b.warning(n.value, "host group %q is empty: its watches have nothing to test", name)
	}
	seen := map[string]bool{}
	var all []string
	for i, h := range hosts {
		at := n
		if n.isList {
			at = n.list[i]
		}
		expanded, err := lvs.Hosts(h)
		switch {
		case h == "":
			b.problem(at.value, "%s[%d] is empty: write an address or a name", name, i)
		case strings.ContainsAny(h, " \t\r\n"):
			b.problem(at.value, "%s[%d]: %q holds a blank: write each host as a string of its own", name, i, h)
		case err != nil:
			b.problem(at.value, "%s[%d]: %v", name, i, err)
		}
		for _, one := range expanded {
			if seen[one] && one != "" {
				b.problem(at.value, "%s[%d]: %q is in the group already", name, i, one)
			}
			seen[one] = true
			all = append(all, one)
		}
	}
	return all
}

// wrapped binds a list under a name of the user's choice, which stands in
// messages.
func (b *builder) wrapped(n *node, into any, name string) error {
	before := len(b.problems)
	fields := fieldsOf(elem(into))
	b.value(n, fields[0].value, name)
	if len(b.problems) > before {
		return errBound
	}
	return nil
}

// validName reports whether mon takes it for a name, as its dependencies and its
// protocol do.
func validName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == ""
}

// unused warns of what was written for nothing.
func (b *builder) unused() {
	for name, g := range b.groups {
		if !g.used {
			b.warning(g.place, "no watch tests host group %q", name)
		}
	}
	for _, v := range b.site.Virtuals {
		if len(b.site.Followers[v.Name]) == 0 {
			b.warning(b.virtualPlaces[v.Name], "no alert follows who is up in virtual service %q: its real servers stay where start = %q puts them", v.Name, v.Start)
			continue
		}
		b.untested(v)
	}
}

// untested warns of real servers that no watch of the virtual service tests.
func (b *builder) untested(v lvs.Virtual) {
	var hosts []string
	for _, w := range b.site.Watches {
		if slices.Contains(b.site.Followers[v.Name], w.Key.String()) {
			hosts = append(hosts, w.Hosts...)
		}
	}
	var untested []string
	for _, r := range v.Reals {
		if !slices.ContainsFunc(hosts, r.Means) {
			untested = append(untested, r.Host)
		}
	}
	const most = 5
	if n := len(untested); n > most {
		untested = append(untested[:most], fmt.Sprintf("and %d more", n-most))
	}
	if len(untested) > 0 {
		b.warning(b.virtualPlaces[v.Name], "no watch of virtual service %q tests its real server %s: who is in no host group stays where start = %q puts it", v.Name, strings.Join(untested, ", "), v.Start)
	}
}

// sections returns the tables of a list of them.
func (b *builder) sections(n *node, name string) []*node {
	switch {
	case n == nil:
		return nil
	case n.table != nil:
		b.problem(n.value, "%s is a single table: write [[%s]], because there may be several", name, name)
		return nil
	}
	return b.elements(n, name)
}

// elements returns the tables of a list of them, or of a single one.
func (b *builder) elements(n *node, name string) []*node {
	like := ""
	if strings.Contains(name, "alert") {
		like = " like [{ type = \"mail\", ... }]"
	}
	switch {
	case n == nil:
		return nil
	case n.table != nil:
		return []*node{n}
	case !n.isList:
		b.problem(n.value, "%s %s, want a list of tables%s", name, n.is(), like)
		return nil
	}
	var tables []*node
	for _, e := range n.list {
		if e.table == nil {
			b.problem(e.value, "%s: this %s, want a table", name, e.is())
			continue
		}
		tables = append(tables, e)
	}
	return tables
}
