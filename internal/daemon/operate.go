package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/watch"
)

// operate carries out an operator's word about watches.
func (d *daemon) operate(ctx context.Context, o control.Operation) ([]string, error) {
	if isWitness(d.current()) {
		return nil, errors.New("this node is a witness: it tests nobody; say so to a director")
	}
	w := engine.Word{By: o.By, Why: o.Why, For: time.Duration(o.Seconds * float64(time.Second))}
	key := watch.Key{Group: o.Group, Service: o.Service}
	target := d.engine.Named(engine.Target{Group: o.Group, Service: o.Service, Hosts: o.Hosts})
	var err error
	var said string
	switch o.Do {
	case "ack":
		said, err = key.String()+": acknowledged by "+o.By, d.engine.Ack(ctx, key, w)
	case "unack":
		said, err = key.String()+": no longer acknowledged", d.engine.Unack(ctx, key, w)
	case "disable":
		said, err = target.String()+": disabled by "+o.By+ends(w), d.engine.Disable(ctx, target, w)
	case "enable":
		said, err = target.String()+": enabled", d.engine.Enable(ctx, target, w)
	case "pause":
		said, err = "paused by "+o.By+ends(w)+": nothing is tested and nobody is told", d.engine.Pause(ctx, w)
	case "resume":
		said, err = "resumed", d.engine.Unpause(ctx, w)
	case "unsilence":
		said, err = "silence "+o.ID+": taken away", d.engine.RemoveSilence(ctx, o.ID, w)
	case "silence":
		return d.silence(ctx, o, w)
	default:
		return nil, fmt.Errorf("%q is nothing that an operator can do", o.Do)
	}
	if err != nil {
		return nil, err
	}
	return []string{said}, nil
}

func ends(w engine.Word) string {
	if w.For <= 0 {
		return ""
	}
	return " until " + time.Now().Add(w.For).Format(time.DateTime)
}

// silence adds a silence, and says what it covers.
func (d *daemon) silence(ctx context.Context, o control.Operation, w engine.Word) ([]string, error) {
	if o.Silence == nil {
		return nil, errors.New("a silence must cover something")
	}
	s := watch.Silence{
		Group: o.Silence.Group, Service: o.Silence.Service, Match: o.Silence.Match, Host: o.Silence.Host,
		From: o.Silence.From, Until: o.Silence.Until, Cron: o.Silence.Cron, Span: w.For,
	}
	w.For = 0
	if s.Cron == "" && !s.From.IsZero() && s.Span > 0 { // by the clock on the wall, then
		s.Until, s.Span = s.From.Add(s.Span), 0
	}
	v, err := d.engine.AddSilence(ctx, s, w)
	if err != nil {
		return nil, err
	}
	when := "from " + v.Begins.Format(time.DateTime)
	if v.Active {
		when = "now"
	}
	var names []string
	for _, key := range v.Watches {
		names = append(names, key.String())
	}
	const most = 10
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
	}
	return []string{
		fmt.Sprintf("silence %s by %s, %s until %s: %s", v.ID, o.By, when, v.Ends.Format(time.DateTime), v.Covers()),
		"it concerns " + strings.Join(names, ", "),
	}, nil
}
