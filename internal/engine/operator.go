package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/schedule"
	"github.com/monitord/monitord/internal/watch"
)

// What operators say is in force, and saved, when the method that takes it returns;
// other directors hear of it soon. An error of the state's disk says that a crash
// would undo what is in force.

// A Word is who says something, why, and for how long.
type Word struct {
	By, Why string
	// For is after what time it ends by itself; 0 is never.
	For time.Duration
}

func (w Word) mark(now time.Time) watch.Mark {
	m := watch.Mark{At: now, By: w.By, Why: w.Why}
	if w.For > 0 {
		m.Until = now.Add(w.For)
	}
	return m
}

// A Target is what is disabled and enabled: a group, one watch of it, or hosts.
type Target struct {
	Group, Service string
	Hosts          []string
}

func (t Target) String() string {
	switch {
	case len(t.Hosts) > 0:
		return "host " + strings.Join(t.Hosts, " ")
	case t.Service != "":
		return t.Group + ":" + t.Service
	}
	return "group " + t.Group
}

// calendar reads when a recurring silence begins.
func calendar(text string) (watch.Calendar, error) {
	s, err := config.ParseCron(text)
	if err != nil {
		return nil, err
	}
	return schedule.Calendar{Schedule: s}, nil
}

// carryOut has the machine do what an operator says, and saves it.
func (e *Engine) carryOut(ctx context.Context, what string, w Word, do func(now time.Time) ([]watch.Notice, error)) error {
	e.mu.Lock()
	now := e.now()
	notices, err := do(now)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	e.dispatch(notices)
	e.mu.Unlock()
	e.pokeTrapClock()
	fields := logrus.Fields{"by": w.By}
	if w.Why != "" {
		fields["why"] = w.Why
	}
	if w.For > 0 {
		fields["until"] = now.Add(w.For).Format(time.RFC3339)
	}
	e.log.WithFields(fields).Info(what + ", says an operator")
	if err := e.Flush(ctx); err != nil {
		return fmt.Errorf("it is so, but a restart would forget it: %w", err)
	}
	return nil
}

// Ack acknowledges the failures that a watch has now.
func (e *Engine) Ack(ctx context.Context, key watch.Key, w Word) error {
	return e.carryOut(ctx, "ack "+key.String(), w, func(now time.Time) ([]watch.Notice, error) {
		out, err := e.set.Ack(now, key, w.By, w.Why)
		return out, e.explain(err, key)
	})
}

// Unack takes that back.
func (e *Engine) Unack(ctx context.Context, key watch.Key, w Word) error {
	return e.carryOut(ctx, "unack "+key.String(), w, func(now time.Time) ([]watch.Notice, error) {
		return nil, e.explain(e.set.Unack(now, key), key)
	})
}

// Disable has nobody told of a group, a watch or hosts, and freezes the pools; hosts
// are not tested either.
func (e *Engine) Disable(ctx context.Context, t Target, w Word) error {
	return e.carryOut(ctx, "disable "+t.String(), w, func(now time.Time) ([]watch.Notice, error) {
		if err := e.knows(t); err != nil {
			return nil, err
		}
		t = e.named(t)
		switch {
		case len(t.Hosts) > 0:
			return e.set.DisableHosts(now, w.mark(now), t.Hosts...)
		case t.Service != "":
			return e.set.DisableService(now, watch.Key{Group: t.Group, Service: t.Service}, w.mark(now))
		}
		return e.set.DisableWatch(now, t.Group, w.mark(now))
	})
}

// Enable undoes Disable.
func (e *Engine) Enable(ctx context.Context, t Target, w Word) error {
	return e.carryOut(ctx, "enable "+t.String(), w, func(now time.Time) ([]watch.Notice, error) {
		if err := e.knows(t); err != nil {
			return nil, err
		}
		if err := e.disabled(t); err != nil {
			return nil, err
		}
		t = e.named(t)
		switch {
		case len(t.Hosts) > 0:
			return e.set.EnableHosts(now, t.Hosts...)
		case t.Service != "":
			return e.set.EnableService(now, watch.Key{Group: t.Group, Service: t.Service})
		}
		return e.set.EnableWatch(now, t.Group)
	})
}

// Pause has nothing tested and nobody told, on all directors, until Unpause.
func (e *Engine) Pause(ctx context.Context, w Word) error {
	return e.carryOut(ctx, "pause", w, func(now time.Time) ([]watch.Notice, error) {
		e.set.Pause(now, w.mark(now))
		return nil, nil
	})
}

// Unpause undoes Pause.
func (e *Engine) Unpause(ctx context.Context, w Word) error {
	return e.carryOut(ctx, "resume", w, func(now time.Time) ([]watch.Notice, error) {
		if !e.set.Stopped() {
			return nil, errors.New("the site is not paused")
		}
		e.set.Unpause(now)
		return nil, nil
	})
}

// AddSilence adds a silence, of which At, By, Why and ID are set here, and From and
// Until where it is for a time that begins now; it returns the silence.
func (e *Engine) AddSilence(ctx context.Context, s watch.Silence, w Word) (watch.SilenceView, error) {
	err := e.carryOut(ctx, "silence "+s.Covers(), w, func(now time.Time) ([]watch.Notice, error) {
		s.At, s.By, s.Why, s.ID = now, w.By, w.Why, e.newSilence()
		if s.From.IsZero() {
			s.From = now
		}
		if s.Cron == "" && s.Until.IsZero() && s.Span > 0 {
			s.Until = s.From.Add(s.Span)
		}
		if err := e.coverable(s); err != nil {
			return nil, err
		}
		return nil, e.set.AddSilence(now, s)
	})
	for _, v := range e.Silences() {
		if v.ID == s.ID && s.ID != "" {
			return v, err
		}
	}
	return watch.SilenceView{Silence: s}, err
}

// RemoveSilence ends a silence: what is still failing is told.
func (e *Engine) RemoveSilence(ctx context.Context, id string, w Word) error {
	return e.carryOut(ctx, "silence "+id+" taken away", w, func(now time.Time) ([]watch.Notice, error) {
		notices, err := e.set.RemoveSilence(now, id)
		if err == nil {
			return notices, nil
		}
		var names []string
		for _, v := range e.set.Silences(now) {
			names = append(names, v.ID)
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("no silence %q; there is none at all", id)
		}
		return nil, unknown("silence", id, names)
	})
}

// Silences returns the silences that are in force or will be.
func (e *Engine) Silences() []watch.SilenceView {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set.Silences(e.now())
}

// newSilence is a name that no other silence of the cluster has: numbers of this
// director's own. It is called with mu held.
func (e *Engine) newSilence() string {
	prefix := ""
	if e.owners.Self != "" {
		prefix = e.owners.Self + "-"
	}
	last := 0
	note := func(id string) {
		if text, ok := strings.CutPrefix(id, prefix); ok {
			if n, err := strconv.Atoi(text); err == nil {
				last = max(last, n)
			}
		}
	}
	for _, s := range e.set.SavedSilences() {
		note(s.ID)
	}
	for about := range e.set.Spoken() { // also those that were taken away
		if id, is := strings.CutPrefix(about, "silence "); is {
			note(id)
		}
	}
	return prefix + strconv.Itoa(last+1)
}

// coverable refuses a silence that covers nothing: it is misspelt, and would let
// through what it was meant to hold back.
func (e *Engine) coverable(s watch.Silence) error {
	var groups, services []string
	for _, key := range e.set.Keys() {
		groups, services = append(groups, key.Group), append(services, key.Service)
	}
	if s.Group != "" && !slices.Contains(groups, s.Group) {
		return unknown("group", s.Group, groups)
	}
	if s.Service != "" && !slices.Contains(services, s.Service) {
		return unknown("service", s.Service, services)
	}
	concerned, err := e.set.Concerned(s)
	if err != nil {
		return err
	}
	if len(concerned) == 0 {
		return fmt.Errorf("%s: that covers no watch; nothing was silenced", s.Covers())
	}
	return nil
}

// knows refuses what is not there, with the names of what is.
func (e *Engine) knows(t Target) error {
	var groups, keys, hosts []string
	for _, key := range e.set.Keys() {
		groups, keys = append(groups, key.Group), append(keys, key.String())
		hosts = append(hosts, e.watches[key].Hosts...)
	}
	for _, h := range t.Hosts {
		if len(meant(h, hosts)) == 0 {
			return unknown("host", h, hosts)
		}
	}
	switch {
	case len(t.Hosts) > 0:
	case t.Service != "" && !slices.Contains(keys, t.String()):
		return unknown("watch", t.String(), keys)
	case t.Service == "" && !slices.Contains(groups, t.Group):
		return unknown("group", t.Group, groups)
	}
	return nil
}

// disabled refuses to enable what is not disabled, with what is instead.
func (e *Engine) disabled(t Target) error {
	groups, hosts := e.set.Disabled()
	for _, name := range t.Hosts {
		entries := e.named(Target{Hosts: []string{name}}).Hosts
		if !slices.ContainsFunc(entries, func(h string) bool { _, off := hosts[h]; return off }) {
			return fmt.Errorf("host %s is not disabled", name)
		}
	}
	_, group := groups[t.Group]
	var alone []string // watches of the group that are disabled themselves
	for _, key := range e.set.Keys() {
		if key.Group == t.Group && e.set.DisabledAlone(key) {
			alone = append(alone, key.String())
		}
	}
	switch {
	case len(t.Hosts) > 0, t.Service == "" && group, t.Service != "" && slices.Contains(alone, t.String()):
		return nil
	case t.Service != "" && group:
		return fmt.Errorf("%s is not disabled itself, group %s is", t, t.Group)
	case t.Service == "" && len(alone) > 0:
		return fmt.Errorf("%s is not disabled, only %s", t, strings.Join(shorten(alone), ", "))
	}
	return fmt.Errorf("%s is not disabled", t)
}

// Named is the target with its hosts as the groups write them: one without a port is all
// entries of that host.
func (e *Engine) Named(t Target) Target {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.named(t)
}

// named is called with mu held.
func (e *Engine) named(t Target) Target {
	if len(t.Hosts) == 0 {
		return t
	}
	var there, hosts []string
	for _, key := range e.set.Keys() {
		there = append(there, e.watches[key].Hosts...)
	}
	slices.Sort(there)
	there = slices.Compact(there)
	for _, name := range t.Hosts {
		entries := meant(name, there)
		if len(entries) == 0 {
			entries = []string{name} // to be refused by its name
		}
		for _, h := range entries {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	return Target{Hosts: hosts}
}

// meant are the entries of host groups that an operator's word for a host is about: the
// one that reads like it, and, if the word has no port, those of that host with one.
func meant(name string, there []string) []string {
	host, port := parted(name)
	var out []string
	for _, entry := range there {
		if of, _ := parted(entry); entry == name || port == "" && of == host {
			out = append(out, entry)
		}
	}
	return out
}

// parted is an entry's host, in one form for all ways to write it, and its port.
func parted(entry string) (host, port string) {
	host, port, err := net.SplitHostPort(entry)
	if err != nil { // there is none, or the colons are those of an IPv6 address
		host, port = strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"), ""
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String(), port
	}
	return strings.ToLower(host), port
}

// explain adds the names of the watches to an error about one that is not there.
func (e *Engine) explain(err error, key watch.Key) error {
	if !errors.Is(err, watch.ErrNoWatch) {
		return err
	}
	var keys []string
	for _, key := range e.set.Keys() {
		keys = append(keys, key.String())
	}
	return unknown("watch", key.String(), keys)
}

func unknown(what, name string, there []string) error {
	slices.Sort(there)
	return fmt.Errorf("no %s %q; there are %s", what, name, strings.Join(shorten(slices.Compact(there)), ", "))
}

// operatorMemory is what a restart should know of what operators said, apart from
// what stands in the state of watches.
type operatorMemory struct {
	StoppedBy *watch.Mark     `json:"stopped_by,omitzero"`
	Silences  []watch.Silence `json:"silences,omitzero"`
}

// operatorMemory is called with mu held.
func (e *Engine) operatorMemory() operatorMemory {
	return operatorMemory{StoppedBy: e.set.Paused(), Silences: e.set.SavedSilences()}
}

func (e *Engine) recallOperators(now time.Time, old remembered, log logrus.FieldLogger) {
	for _, err := range e.set.RestoreSilences(now, old.Silences) {
		log.WithError(err).Error("a silence is not taken up")
	}
	if !old.Stopped {
		return
	}
	e.set.Stop()
	if old.StoppedBy != nil {
		e.set.RestorePaused(old.StoppedBy)
	}
	log.Warn(e.set.WhyPaused() + "; a restart does not end that")
}
