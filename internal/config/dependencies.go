package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/watch"
)

// self is mon's word for the own group in a dependency.
var self = regexp.MustCompile(`\bSELF:`)

// dependency reads the watch's expressions.
func (b *builder) dependency(n *node, t *watchTable, w *Watch) {
	w.Depend = watch.Dependency{
		On: b.expression(n, "depend", t.Depend, w), Alert: b.expression(n, "alertdepend", t.AlertDepend, w),
		Monitor: b.expression(n, "monitordepend", t.MonitorDepend, w), Host: b.expression(n, "hostdepend", t.HostDepend, w),
		Memory: t.DepMemory.Std(),
	}
	if n.get("dep_behavior") == nil {
		// The global one, which is checked where it stands.
		w.Depend.Behavior = (&report{}).behavior(n.value, t.DepBehavior)
	} else if _, ok := n.get("dep_behavior").scalar.(string); ok {
		w.Depend.Behavior = b.behavior(n.at("dep_behavior"), t.DepBehavior)
	}
	if !w.Depend.On.Empty() {
		own := map[watch.Behavior]string{watch.SuppressAlerts: "alertdepend", watch.SuppressMonitor: "monitordepend", watch.SuppressHosts: "hostdepend"}
		if key := own[w.Depend.Behavior]; n.get(key) != nil {
			b.warning(n.get(key).key, "%s does nothing beside depend with dep_behavior = %q", key, w.Depend.Behavior)
		}
	}
}

// expression parses a dependency. mon takes one that it cannot read, and then
// never knows whether it is fulfilled.
func (b *builder) expression(n *node, key, text string, w *Watch) watch.Expr {
	if n.get(key) == nil {
		return watch.Expr{}
	}
	text = self.ReplaceAllString(text, w.Group+":")
	e, err := watch.ParseExpr(text)
	switch {
	case err != nil && b.site.Compat:
		b.warning(n.at(key), "%s: %v: the dependency is undecided for ever, as in mon", key, err)
		return watch.BrokenExpr(text)
	case err != nil:
		b.blame(n, key, "%s: %v", key, err)
	case strings.TrimSpace(text) == "" && !b.site.Compat:
		b.blame(n, key, "%s is empty: write group:service, or leave the key out", key)
	}
	return e
}

// dependencies checks what watches say of each other, when all are known.
func (b *builder) dependencies() {
	depended := map[watch.Key]bool{}
	for i := range b.site.Watches {
		d := &b.site.Watches[i].Depend
		for _, e := range []struct {
			key  string
			expr watch.Expr
		}{{"depend", d.On}, {"alertdepend", d.Alert}, {"monitordepend", d.Monitor}, {"hostdepend", d.Host}} {
			for _, ref := range e.expr.Refs() {
				depended[ref] = true
				b.reference(i, e.key, ref)
			}
		}
	}
	b.circles()
	for _, s := range b.silent {
		if k := b.site.Watches[s.index].Key; !depended[k] {
			b.warning(s.place, "nobody is told about %s: it has no [[watch.period]], and no watch depends on it", k)
		}
	}
}

func (b *builder) reference(i int, key string, ref watch.Key) {
	if _, ok := b.index[ref]; ok {
		return
	}
	n := b.nodes[i]
	if b.site.Compat {
		b.warning(n.at(key), "%s: there is no watch %s: it counts as failed, as in mon", key, ref)
		return
	}
	known := make([]string, 0, len(b.index))
	for k := range b.index {
		known = append(known, k.String())
	}
	b.problem(n.at(key), "%s: there is no watch %s%s", key, ref, didYouMean(ref.String(), known, "there are"))
}

// circles reports dependencies that come back to their beginning: such a one can
// never be decided. Hosts that fail elsewhere are not followed further, so that
// there are no circles of hostdepend.
func (b *builder) circles() {
	for _, behavior := range []watch.Behavior{watch.SuppressAlerts, watch.SuppressMonitor} {
		c := circleFinder{builder: b, behavior: behavior, at: make([]int, len(b.site.Watches))}
		for i := range b.site.Watches {
			c.visit(i)
		}
	}
}

// A circleFinder walks the dependencies of one behaviour in depth, each watch
// once.
type circleFinder struct {
	*builder
	behavior watch.Behavior
	trail    []int
	// at is a watch's place in the trail from 1; done after it has left it.
	at []int
}

const done = -1

func (c *circleFinder) visit(i int) {
	switch {
	case c.at[i] == done:
		return
	case c.at[i] > 0:
		c.blameCircle(c.trail[c.at[i]-1:])
		return
	}
	c.trail = append(c.trail, i)
	c.at[i] = len(c.trail)
	for _, ref := range effective(&c.site.Watches[i].Depend, c.behavior).Refs() {
		if next, known := c.index[ref]; known {
			c.visit(next)
		}
	}
	c.trail = c.trail[:len(c.trail)-1]
	c.at[i] = done
}

// blameCircle blames the watch of a circle that comes first in the file.
func (c *circleFinder) blameCircle(circle []int) {
	first := slices.Index(circle, slices.Min(circle))
	var names []string
	for i := range circle {
		names = append(names, c.site.Watches[circle[(first+i)%len(circle)]].Key.String())
	}
	if extra := len(names) - maxNames; extra > 0 {
		names = append(names[:maxNames], fmt.Sprintf("%d more", extra))
	}
	text := strings.Join(append(names, names[0]), " needs ")
	blamed := circle[first]
	n, key := c.nodes[blamed], dependKey(&c.site.Watches[blamed].Depend, c.behavior)
	if c.site.Compat {
		c.warning(n.at(key), "%s: a circle, which is undecided for ever: %s", key, text)
		return
	}
	c.blame(n, key, "%s: a circle, which could never be decided: %s", key, text)
}

// dependKey returns the key that a behaviour is decided by: depend has
// precedence.
func dependKey(d *watch.Dependency, behavior watch.Behavior) string {
	switch {
	case !d.On.Empty() && d.Behavior == behavior:
		return "depend"
	case behavior == watch.SuppressAlerts:
		return "alertdepend"
	case behavior == watch.SuppressMonitor:
		return "monitordepend"
	}
	return "hostdepend"
}

func effective(d *watch.Dependency, behavior watch.Behavior) watch.Expr {
	switch dependKey(d, behavior) {
	case "depend":
		return d.On
	case "alertdepend":
		return d.Alert
	case "monitordepend":
		return d.Monitor
	}
	return d.Host
}
