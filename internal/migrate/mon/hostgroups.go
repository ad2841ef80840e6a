package mon

import (
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/migrate/moncf"
)

// hostgroups writes [hostgroups].
func (im *importer) hostgroups() {
	if len(im.file.Hostgroups) == 0 {
		return
	}
	im.groups.add(0, "[hostgroups]")
	for i := range im.file.Hostgroups {
		im.hostgroup(&im.file.Hostgroups[i])
	}
}

func (im *importer) hostgroup(g *moncf.Hostgroup) {
	own := g.Hosts
	if !g.Implicit {
		own = slices.Clone(g.Hosts[:len(g.Hosts)-im.count(g.More)])
	}
	switch {
	case g.Implicit:
		r := im.groups.add(g.Line, key(g.Name)+" = "+quotes(im.members(g, g.Source, own)))
		im.account.carry(g.Source, r)
		im.account.remark(g.Source, "there is no hostgroup %s: as in mon it is the host of that name", g.Name)
	case len(g.More) == 0:
		im.put(&im.groups, "", g.Source, "%s = %s", key(g.Name), quotes(im.members(g, g.Source, own)))
	default:
		im.put(&im.groups, "", g.Source, "%s = [", key(g.Name))
		if first := elements(im.members(g, g.Source, own)); first != "" {
			im.account.carry(g.Source, im.groups.add(g.Line, "  "+first))
		}
		for _, l := range g.More {
			hosts := strings.FieldsFunc(l.Raw, isBlank)
			im.put(&im.groups, "  ", l, "%s", elements(im.members(g, l, hosts)))
		}
		im.account.carry(g.Source, im.groups.add(g.Line, "]"))
	}
}

// count is the number of hosts in lines.
func (im *importer) count(lines []moncf.Source) int {
	n := 0
	for _, l := range lines {
		n += len(strings.FieldsFunc(l.Raw, isBlank))
	}
	return n
}

func isBlank(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }

// elements are the members of a list, each with its comma.
func elements(hosts []string) string {
	if len(hosts) == 0 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(quotes(hosts), "["), "]") + ","
}

// members returns the hosts of a line as the group has them.
func (im *importer) members(g *moncf.Hostgroup, l moncf.Source, hosts []string) []string {
	var all []string
	for _, h := range hosts {
		if name, disabled := strings.CutPrefix(h, "*"); disabled {
			im.account.change(l, "the * in front of %s disables the host in mon's memory; here it is enabled: use \"monitord disable\"", name)
			h = name
		}
		switch {
		case h == "":
			im.account.change(l, "a * alone is no host and is left out")
			continue
		case slices.Contains(im.hosts[g.Name], h):
			im.account.change(l, "%s is in the group twice: mon tests it twice, here it is left out", h)
			continue
		}
		if strings.HasPrefix(h, "#") {
			im.account.suggest(l, "a # begins a comment at the beginning of a line only: here it and what follows are hosts, in mon too")
		}
		if expanded, err := lvs.Hosts(h); err == nil && len(expanded) != 1 {
			im.account.change(l, "%s is a range of addresses here, and a name in mon", h)
		}
		im.hosts[g.Name] = append(im.hosts[g.Name], h)
		all = append(all, h)
	}
	return all
}
