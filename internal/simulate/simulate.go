// Package simulate rehearses a configuration: what would it have done, had the
// monitors found this and that? Time is virtual, the results of monitors come from
// a file, nothing is tested and nothing is sent.
//
// What decides is the daemon's own code: its scheduler, its watches and its pools,
// on a clock that is moved from one moment at which something is due to the next.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/watch"
)

// MaxChecks and MaxEvents bound one rehearsal: the runs of monitors, and what it
// reports.
const (
	MaxChecks = 10_000_000
	MaxEvents = 1_000_000
)

// ErrTooLong is in the chain of the error of a rehearsal that reached a bound.
var ErrTooLong = errors.New("the rehearsal is too long")

// seed makes randskew the same in each rehearsal.
const seed = 1

// Run rehearses a site. The site is left as it is. An error is in the chain of
// ctx's, or [ErrTooLong], or says what is wrong with the site.
func Run(ctx context.Context, site *config.Site, script *Script) (*Report, error) {
	p, err := newPlayer(site, script)
	if err != nil {
		return nil, err
	}
	if err := p.play(ctx); err != nil {
		return nil, err
	}
	p.report.Checks = p.cast.checks
	p.report.Notes = p.notes()
	return p.report, nil
}

// A player plays one script to one site.
type player struct {
	script  *Script
	cast    *cast
	stage   *engine.Rehearsal
	pools   *pools
	report  *Report
	watches map[watch.Key]*config.Watch
	floods  map[string][]time.Time
	flooded map[string]bool
	// maxChecks and maxEvents are MaxChecks and MaxEvents.
	maxChecks, maxEvents int
}

func newPlayer(site *config.Site, script *Script) (*player, error) {
	p := &player{script: script, cast: newCast(), watches: knownOf(site).watches, floods: map[string][]time.Time{}, flooded: map[string]bool{}, maxChecks: MaxChecks, maxEvents: MaxEvents}
	p.report = &Report{Results: script.Name, From: script.From, To: script.To, Watches: len(site.Watches)}
	if len(site.Files) > 0 {
		p.report.Config = site.Files[0]
	}
	stage, err := engine.Rehearse(p.cast.join(site), script.From, rand.New(rand.NewPCG(seed, seed)).Int64N)
	if err != nil {
		return nil, err
	}
	p.stage = stage
	p.pools, err = newPools(site, stage)
	return p, err
}

// play lets the time pass. A line comes before the checks of its moment.
func (p *player) play(ctx context.Context) error {
	lines := p.script.Lines
	p.stage.Begin(ctx)
	for {
		if err := p.take(ctx); err != nil {
			return err
		}
		at, ok := p.stage.Next()
		if len(lines) > 0 && (!ok || !lines[0].At.After(at)) {
			p.stage.Move(lines[0].At)
			p.perform(lines[0])
			lines = lines[1:]
			continue
		}
		if !ok || at.After(p.script.To) {
			return nil
		}
		p.stage.Move(at)
		p.stage.Work()
	}
}

// perform does what a line says.
func (p *player) perform(l *Line) {
	e := Event{At: l.At, Said: l.Text, Line: l.Number}
	if refused := p.act(l); refused != nil {
		e.Reason = refused.Error()
	}
	p.report.Events = append(p.report.Events, e)
}

func (p *player) act(l *Line) error {
	switch l.act.verb {
	case down, up, unknown, exit:
		p.cast.learn(l)
		return nil
	case trap:
		return p.trap(l.act)
	case ack, disable, enable, silence, pause, resume:
	}
	return p.stage.Operate(func(e *engine.Engine) error { return order(e, l.act) })
}

func (p *player) trap(a act) error {
	summary, detail, _ := strings.Cut(a.text, "\n")
	var errs []error
	for _, key := range a.watches {
		errs = append(errs, p.stage.Trap(watch.TrapMessage{Group: key.Group, Service: key.Service, Status: fmt.Sprint(a.exit), Summary: summary, Detail: detail}))
	}
	return errors.Join(errs...)
}

// operator is who acts in a results file.
const operator = "operator"

// order is what operators say. Nothing of it waits: there is no state to be saved.
func order(e *engine.Engine, a act) error {
	ctx, w := context.Background(), engine.Word{By: operator, Why: a.text}
	switch a.verb {
	case pause:
		return e.Pause(ctx, w)
	case resume:
		return e.Unpause(ctx, w)
	case ack, disable, enable, silence, down, up, unknown, exit, trap:
	}
	if a.hosts != nil {
		return orderAbout(ctx, e, a, engine.Target{Hosts: a.hosts}, w)
	}
	var errs []error
	for _, key := range a.watches {
		errs = append(errs, orderAbout(ctx, e, a, engine.Target{Group: key.Group, Service: key.Service}, w))
	}
	return errors.Join(errs...)
}

func orderAbout(ctx context.Context, e *engine.Engine, a act, t engine.Target, w engine.Word) error {
	switch a.verb {
	case ack:
		return e.Ack(ctx, watch.Key{Group: t.Group, Service: t.Service}, w)
	case disable:
		return e.Disable(ctx, t, w)
	case enable:
		return e.Enable(ctx, t, w)
	case silence:
		s := watch.Silence{Group: t.Group, Service: t.Service, Span: a.long}
		if len(t.Hosts) > 0 {
			s.Host = regexp.QuoteMeta(t.Hosts[0])
		}
		_, err := e.AddSilence(ctx, s, w)
		return err
	case pause, resume, down, up, unknown, exit, trap:
	}
	return nil
}

// take writes down what happened, and has the pools follow, which may make more
// happen.
func (p *player) take(ctx context.Context) error {
	for scenes := p.stage.Play(); len(scenes) > 0; scenes = p.stage.Play() {
		for _, s := range scenes {
			if err := p.scene(ctx, s); err != nil {
				return err
			}
		}
	}
	switch at := p.stage.Now().Format(dated); {
	case ctx.Err() != nil:
		return ctx.Err()
	case p.cast.checks > p.maxChecks:
		return fmt.Errorf("%w: %d checks by %s: write an earlier end", ErrTooLong, p.maxChecks, at)
	case len(p.report.Events) > p.maxEvents:
		return fmt.Errorf("%w: %d events by %s: write an earlier end", ErrTooLong, p.maxEvents, at)
	}
	return nil
}

func (p *player) scene(ctx context.Context, s engine.Scene) error {
	e := Event{At: s.At, Watch: s.Key.String()}
	switch {
	case s.Decision != nil && (s.Decision.Code == watch.Sent || !p.matters(s)): // the alert says itself that it is sent
		return nil
	case s.Decision != nil:
		d := s.Decision
		e.Kind, e.Period, e.Hosts, e.Reason, e.Code = d.Kind.String(), d.Period, d.Hosts, d.Reason, d.Code.String()
	case s.Alert.Event.Kind == alerts.State:
		changes, err := p.pools.follow(ctx, s)
		p.report.Events = append(p.report.Events, changes...)
		return err
	default:
		c := s.Alert.Event
		e.Sent, e.Period, e.Reason, e.Summary = s.Alert.Name, c.Period, c.Reason, c.Summary
		e.Kind = s.Alert.List
		for _, h := range c.Hosts {
			if h.Concerned {
				e.Hosts = append(e.Hosts, h.Name)
			}
		}
		p.flood(s)
	}
	p.report.Events = append(p.report.Events, e)
	return nil
}

// matters reports whether a decision not to send is about anybody: a period that has
// no alert of the kind keeps none back.
func (p *player) matters(s engine.Scene) bool {
	d := s.Decision
	if d.Code == watch.BelowFall || d.Code == watch.BelowRise || d.Code == watch.NotTested { // pools hear nothing either
		return true
	}
	ofAll := slices.Contains([]watch.Code{watch.Stopped, watch.DisabledByOperator, watch.DependencyFailing, watch.Acknowledged}, d.Code)
	w := p.watches[s.Key]
	if w == nil || w.Redistribute != nil {
		return true
	}
	return slices.ContainsFunc(w.Periods, func(period watch.Period) bool {
		return (ofAll || period.Name == d.Period) &&
			slices.ContainsFunc(period.Messages(d.Kind), func(a watch.Action) bool { return !a.Follows })
	})
}

// flood notes a destination that would get more than the daemon sends it.
func (p *player) flood(s engine.Scene) {
	to := s.Alert.Limited
	if to == "" || p.flooded[to] {
		return
	}
	sent := slices.DeleteFunc(p.floods[to], func(t time.Time) bool { return s.At.Sub(t) >= outbox.FloodWindow })
	p.floods[to] = append(sent, s.At)
	if len(p.floods[to]) > outbox.FloodLimit {
		p.flooded[to] = true
		p.report.Floods = append(p.report.Floods, Flood{At: s.At, To: to})
	}
}

// notes are what the results file says for nothing, and what the play leaves out.
func (p *player) notes() []string {
	var out []string
	for key, a := range p.cast.actors {
		if missing, ok := a.stood.(interface{ Missing() error }); ok {
			out = append(out, fmt.Sprintf("%s: %v: the daemon would not know its hosts; here they are as the results say", key, missing.Missing()))
		}
	}
	slices.Sort(out)
	for _, l := range p.script.Lines {
		if tests := l.act.verb == down || l.act.verb == unknown || l.act.verb == exit; tests && l.seen == 0 {
			out = append(out, fmt.Sprintf("line %d, %q: no check took place while this was so, nobody noticed", l.Number, l.Text))
		}
	}
	for _, f := range p.report.Floods {
		out = append(out, fmt.Sprintf("%s would get more than %d messages within %s at %s: the daemon sums up what is beyond", f.To, outbox.FloodLimit, outbox.FloodWindow, f.At.Format(clock)))
	}
	return out
}
