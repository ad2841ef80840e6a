package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

// Owner is the director whose kernel has the address; "" if none has, and the names
// joined by "+" if several have.
func (l *Lab) Owner() string {
	who, _, _ := l.owners.now() // what is wrong with the watching is said by those who wait, and Close
	return l.named(who)
}

func (l *Lab) named(who set) string {
	var names []string
	for i, n := range l.nodes[:l.settings.Directors] {
		if who.has(i) {
			names = append(names, n.Name)
		}
	}
	return strings.Join(names, "+")
}

// AwaitOwner waits until a director, and nobody else, has the address. "" is nobody.
func (l *Lab) AwaitOwner(ctx context.Context, node string) error {
	for {
		who, news, err := l.owners.now()
		if err != nil {
			return err
		}
		if l.named(who) == node {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("the address's owner is %s, want %s: %w", orNone(l.Owner()), orNone(node), context.Cause(ctx))
		}
	}
}

// AwaitAnswer waits until a machine answers what a view asks: since a time, and not
// before.
func (l *Lab) AwaitAnswer(ctx context.Context, v View, machine string, since time.Duration) error {
	tick := time.NewTicker(udpPace)
	defer tick.Stop()
	for {
		o := l.Outage(v, since, 0)
		if o.Answered[machine] > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer the %s, but %v: %w", machine, v, o.Answered, ctx.Err())
		}
	}
}

// Outage is the longest time in which a view got no answer, among the questions that
// it asked from one time to another; 0 is now. It is as exact as their pace. Of the
// last 50 ms (HTTP: 250) only what was answered counts, since the rest may be yet.
func (l *Lab) Outage(v View, from, to time.Duration) Outage {
	now := netif.Boottime()
	if to == 0 {
		to = now
	}
	p := l.probers[v]
	if p == nil {
		return Outage{}
	}
	return p.outage(from, to, now)
}

// Dual is how long several directors had the address, from one time to another; 0 is
// now.
func (l *Lab) Dual(from, to time.Duration) Dual {
	if to == 0 {
		to = netif.Boottime()
	}
	d := l.owners.dualIn(from, to)
	count, first := l.observer.bothIn(from, to)
	d.Answered = count
	if d.At == 0 {
		d.At = first
	}
	return d
}

// Believed is the machine that the gateway sends the address's packets to, by its
// neighbour table; "" if it knows none.
func (l *Lab) Believed(ctx context.Context) (string, error) {
	var found string
	err := l.Within("gateway", func() error {
		all, err := netif.Neighbours(ctx)
		for _, n := range all {
			if n.Address == l.settings.Address && len(n.MAC) > 0 {
				found = l.observer.name(n.MAC)
			}
		}
		return err
	})
	return found, err
}

// Rows are the results, fault by fault: from each to the next.
func (l *Lab) Rows() []Row {
	l.mu.Lock()
	marks := slices.Clone(l.marks)
	l.mu.Unlock()
	rows := make([]Row, 0, len(marks))
	for i, m := range marks {
		to := netif.Boottime()
		if i+1 < len(marks) {
			to = marks[i+1].At
		}
		rows = append(rows, l.row(m, to))
	}
	return rows
}

func (l *Lab) row(m Event, to time.Duration) Row {
	return Row{
		Fault: strings.TrimSpace(m.Node + " " + m.What), From: m.At, To: to,
		Client: l.Outage(Client, m.At, to), Near: l.Outage(NearClient, m.At, to), HTTP: l.Outage(HTTP, m.At, to),
		Dual: l.Dual(m.At, to), Owner: l.named(l.owners.at(to)),
	}
}
