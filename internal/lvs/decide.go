package lvs

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/monitord/monitord/alerts"
)

// This file decides who is in. It is pure: no clock, no lock, no I/O, and the
// same answer for the same input whatever the order of maps.

// words is what one source said of each host, by the host's canonical name. A
// host that was named without a verdict is in it as unknown.
type words map[string]alerts.HostState

// hear merges a source's report and reports whether it was news: unknown leaves
// the last word standing.
func (w words) hear(hosts map[string]alerts.HostState) (news bool) {
	for host, state := range hosts {
		name := canonical(host)
		if last, known := w[name]; !known || state != alerts.HostUnknown && state != last {
			w[name], news = state, true
		}
	}
	return news
}

// about returns the source's word on a real server; ok is false if it never
// named the server. The server's full text comes first, so that "a" and "a:81"
// of one group may be told apart.
func (w words) about(r Real) (state alerts.HostState, ok bool) {
	for _, name := range r.aliases() {
		if state, ok = w[name]; ok {
			return state, true
		}
	}
	return alerts.HostUnknown, false
}

// aliases are the canonical names by which a host group may mean the server, the
// most exact first.
func (r Real) aliases() [3]string {
	return [3]string{canonical(r.Host), canonical(r.Target()), r.bare()}
}

// Means reports whether a host of a host group is the server.
func (r Real) Means(host string) bool {
	aliases := r.aliases()
	return slices.Contains(aliases[:], canonical(host))
}

// bare is the server's host without its port.
func (r Real) bare() string {
	if r.Name != "" {
		return r.Name
	}
	return r.Address.Addr().String()
}

// canonical brings the forms of one host together: case, brackets, IPv6 zeros.
func canonical(host string) string {
	name, port, err := splitHost(host)
	switch {
	case err != nil:
		return host
	case port == 0:
		return strings.ToLower(name)
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return netip.AddrPortFrom(a.Unmap(), port).String()
	}
	return fmt.Sprintf("%s:%d", strings.ToLower(name), port)
}

// A judgement is whether a server should be in, and why.
type judgement struct {
	up     bool
	tested bool // some source has a word on it
	reason string
}

// judge applies the pool's rule: up while some source says up and none says
// down. A server that no source has a word on stays in if it was found in the
// table: what is not known changes nothing. Else it is where start says.
func judge(r Real, start Start, found bool, sources map[string]words) judgement {
	var up, down []string
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		switch state, _ := sources[source].about(r); state {
		case alerts.HostUp:
			up = append(up, source)
		case alerts.HostDown:
			down = append(down, source)
		case alerts.HostUnknown:
		}
	}
	switch {
	case len(down) > 0:
		return judgement{false, true, "down, says " + strings.Join(down, ", ")}
	case len(up) > 0:
		return judgement{true, true, "up, says " + strings.Join(up, ", ")}
	case found:
		return judgement{true, false, "no verdict yet, but in the table already"}
	case start == StartUp:
		return judgement{true, false, "no verdict yet, start = \"up\""}
	}
	return judgement{false, false, "no verdict yet"}
}

// A candidate is a server in the eyes of min_up.
type candidate struct {
	weight int
	up     bool
	tested bool // some source has a word on it
	in     bool // before this decision
	// lastUp grows with every decision and is the last one that found the
	// server up; 0 is never.
	lastUp uint64
}

// hold returns the servers that min_up keeps in although they are not up: as
// many as are missing of those that are in, the ones that were up most recently,
// the earlier in the configuration of two alike. It keeps in and never puts in:
// when an operator drains the last good server, a bad one is no help. One of
// weight 0 is of no use.
func hold(minUp int, servers []candidate) []int {
	missing := minUp
	var able []int
	for i, s := range servers {
		switch {
		case s.weight == 0:
		case s.up:
			missing--
		case s.lastUp > 0 && s.in:
			able = append(able, i)
		}
	}
	slices.SortStableFunc(able, func(a, b int) int { return cmp.Compare(servers[b].lastUp, servers[a].lastUp) })
	held := able[:min(max(missing, 0), len(able))]
	slices.Sort(held)
	return held
}

// forget drops the words of sources that do not follow the service any more. For
// each server it waits until all followers have given their word on it, so that
// a reload alone neither puts a failed server in nor takes a good one out. With
// no follower left nobody ever will, and the last words stand.
func forget(reals []Real, sources map[string]words, followers []string) {
	if len(followers) == 0 {
		return
	}
	waiting := map[string]bool{}
	for _, r := range reals {
		if awaited(r, sources, followers) {
			for _, name := range r.aliases() {
				waiting[name] = true
			}
		}
	}
	for source, w := range sources {
		if slices.Contains(followers, source) {
			continue
		}
		maps.DeleteFunc(w, func(name string, _ alerts.HostState) bool { return !waiting[name] })
		if len(w) == 0 {
			delete(sources, source)
		}
	}
}

// awaited reports whether some follower may yet give a word on the server.
func awaited(r Real, sources map[string]words, followers []string) bool {
	for _, f := range followers {
		w, heard := sources[f]
		if state, named := w.about(r); !heard || named && state == alerts.HostUnknown {
			return true
		}
	}
	return false
}

// weights are what counts for the quorum: of the servers that are up, and of those
// that could be, nobody having tested the rest.
func weights(servers []candidate) (up, possible int) {
	for _, s := range servers {
		if s.up {
			up += s.weight
		}
		if s.up || !s.tested {
			possible += s.weight
		}
	}
	return up, possible
}

// A quorum is whether enough servers are up.
type quorum string

// As long as those that nobody tested yet could make it up, nobody knows.
const (
	quorumUnknown quorum = ""
	quorumHad     quorum = "had"
	quorumLost    quorum = "lost"
)

// next is the quorum when the servers that are up have this weight together, and
// could have the possible one. One that is had is lost below wanted-hysteresis, one
// that was lost is had again from wanted+hysteresis on.
func (q quorum) next(weight, possible, wanted, hysteresis int) quorum {
	switch {
	case q == quorumHad && weight >= wanted-hysteresis,
		q == quorumLost && weight >= wanted+hysteresis,
		q == quorumUnknown && weight >= wanted:
		return quorumHad
	case q == quorumUnknown && possible >= wanted:
		return quorumUnknown
	}
	return quorumLost
}

// tellsOf reports whether people want to know of the change. That it was had from
// the beginning is no news.
func (q quorum) tellsOf(now quorum) bool {
	return q != now && (q != quorumUnknown || now != quorumHad)
}
