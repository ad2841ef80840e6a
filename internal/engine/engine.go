// Package engine brings a site to life: the scheduler's turns become checks,
// their results go through the watch machine, and what that decides goes to the
// alerts.
//
//	schedule ─▶ check (plugin) ─▶ watch.Set ─▶ outbox ─▶ alert (plugin)
//	                 traps, operators ─┘
//
// The engine owns the watch machine: every call into it holds one mutex, and
// nothing that can wait is called under that. Plugins are kept apart from each
// other: one that panics, hangs or cannot do its work costs its own watch its
// verdict, nothing else.
package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/period"
	"github.com/monitord/monitord/internal/schedule"
	"github.com/monitord/monitord/internal/state"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// An Engine runs a site's watches. Its methods may be called from any goroutine.
type Engine struct {
	log       logrus.FieldLogger
	scheduler *schedule.Scheduler
	outbox    *outbox.Outbox
	// stopSending ends what the outbox is sending.
	stopSending context.CancelFunc
	tick        chan struct{} // pokes the trap clock
	memory      Memory
	// now is the clock, post the way out, and told hears of what a result did: a
	// [Rehearsal] has its own.
	now  func() time.Time
	post func(outbox.Message)
	told func(watch.Key, []watch.Change, []watch.Decision)
	// saver is nil before Run, and without a memory.
	saver atomic.Pointer[state.Saver]
	// book is the history of alerts, monLogs are mon's files.
	book    *history.Book
	monLogs *monLogs
	slow    atomic.Bool // it was said that the disk holds up alerts

	began chan struct{}

	mu         sync.Mutex // protects what follows
	set        *watch.Set
	watches    map[watch.Key]*config.Watch
	actions    map[string]alerts.Alert
	quorums    map[string]*config.Quorum
	deliveries map[watch.Key]map[string]Delivery
	measured   map[watch.Key][]monitors.HostResult // of the last run
	site       *config.Site
	running    bool
	skipped    map[watch.Key]watch.Skip // why a watch was not tested at its last turn
	calendar   digestCalendar

	owners     Owners
	ownerships int // counts the owners
	duty       duty
	// confirmed is what people were told of watches, without what is on its way.
	confirmed map[watch.Key][]watch.ToldSubject
	quorate   map[string]*quorumState // by virtual service
	announced uint64                  // the version of set that news told of
	absorbing bool
	news      chan struct{}
}

// A Delivery is the last attempt of one action of a watch.
type Delivery struct {
	Alert string    `json:"alert"` // "mail ops@example.org"
	List  string    `json:"list"`  // mon's word: failure, up, state
	At    time.Time `json:"at"`
	Took  float64   `json:"seconds"`
	Error string    `json:"error,omitempty"` // empty if it was delivered
}

// Resume returns an engine for a site; Run makes it work, and Reload and Status may be
// called before that. It goes on where the one before it ended, or was killed: what was
// counted, alerted, acknowledged and disabled is so still.
func Resume(site *config.Site, log logrus.FieldLogger, memory Memory) (*Engine, error) {
	return build(site, log, memory, schedule.Config{Wall: time.Now})
}

// build makes an engine that lives by the clocks of timing.
func build(site *config.Site, log logrus.FieldLogger, memory Memory, timing schedule.Config) (*Engine, error) {
	e := &Engine{log: log, began: make(chan struct{}), tick: make(chan struct{}, 1), deliveries: map[watch.Key]map[string]Delivery{}, measured: map[watch.Key][]monitors.HostResult{}, skipped: map[watch.Key]watch.Skip{}, memory: memory}
	e.now, e.told = timing.Wall, e.logNews
	e.confirmed, e.quorate, e.news = map[watch.Key][]watch.ToldSubject{}, map[string]*quorumState{}, make(chan struct{}, 1)
	sending, stop := context.WithCancel(context.Background())
	e.book = history.New(memory.History, e.historic(site), sayWritten(log, "the history of alerts"))
	e.monLogs = newMonLogs(log)
	e.outbox = outbox.New(sending, outbox.Hooks{Keeps: memory.Store != nil, Attempted: e.attempted, Commit: e.commit, Settled: e.settled, Ended: e.ended})
	e.post, e.stopSending = e.outbox.Put, stop
	timing.Panicked = e.panicked
	e.scheduler = schedule.New(timing)
	e.adopt(site)
	e.set = watch.New(machines(site), options(site))
	e.recall(e.now())
	if err := e.scheduler.Replace(sending, e.plan(site)); err != nil {
		stop()
		return nil, fmt.Errorf("schedule the watches: %w", err)
	}
	e.recallPace()
	return e, nil
}

func machines(site *config.Site) []watch.Config {
	out := make([]watch.Config, len(site.Watches))
	for i := range site.Watches {
		out[i] = site.Watches[i].Config
	}
	return out
}

func options(site *config.Site) watch.Options {
	return watch.Options{RecursionLimit: site.DepRecurLimit, Keep: site.HistLength, Calendar: calendar}
}

// adopt takes over a site's plugins.
func (e *Engine) adopt(site *config.Site) {
	e.site = site
	e.watches, e.actions = map[watch.Key]*config.Watch{}, map[string]alerts.Alert{}
	for i := range site.Watches {
		w := &site.Watches[i]
		e.watches[w.Key] = w
		maps.Copy(e.actions, w.Actions)
	}
	e.adoptQuorums(site)
	if site.Digest != nil {
		maps.Copy(e.actions, site.Digest.Actions)
	}
	maps.DeleteFunc(e.measured, func(key watch.Key, _ []monitors.HostResult) bool { return e.watches[key] == nil })
	maps.DeleteFunc(e.skipped, func(key watch.Key, _ watch.Skip) bool { return e.watches[key] == nil })
	maps.DeleteFunc(e.confirmed, func(key watch.Key, _ []watch.ToldSubject) bool { return e.watches[key] == nil })
	maps.DeleteFunc(e.deliveries, func(key watch.Key, _ map[string]Delivery) bool { return e.described(key) == nil })
}

// Run works until ctx is done, and returns when every check has ended and every
// alert that was due has had an attempt; grace bounds the latter. Call it once.
func (e *Engine) Run(ctx context.Context, grace time.Duration) {
	defer e.stopSending()
	stop := make(chan struct{})
	written := e.write(stop)
	defer func() {
		close(stop)
		e.awaitHistory(written)
	}()
	defer e.closeMemory()
	e.begin(e.now())
	var clocks sync.WaitGroup
	clocks.Go(func() { e.runTrapClock(ctx) })
	clocks.Go(func() { e.runDigestClock(ctx) })
	e.scheduler.Run(ctx)
	clocks.Wait()
	defer time.AfterFunc(grace, e.stopSending).Stop()
	e.outbox.Close()
}

// begin starts the watches' life. Pools hear at once what was known of their hosts
// before: until the first results they know nothing else.
func (e *Engine) begin(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = true
	e.saver.Store(e.remember())
	e.beginDowntimes(now)
	e.takeDuty(now)
	e.wantDigests(now)
	e.dispatch(e.set.Start(now))
	close(e.began)
	if e.memory.PoolsRemember {
		e.set.Retell()
		return
	}
	e.dispatch(e.set.Follow(now))
}

// Began is closed when Run knows what this director owns. Before that nothing is to be
// handed over, since an engine owns everything until it is told otherwise, nor to be
// absorbed.
func (e *Engine) Began() <-chan struct{} { return e.began }

// plan turns watches into jobs.
func (e *Engine) plan(site *config.Site) schedule.Plan {
	p := schedule.Plan{MaxProcs: site.MaxProcs, MaxChecks: site.MaxChecks, RandStart: site.RandStart, ExcludePeriod: excluded(site.ExcludePeriod)}
	for i := range site.Watches {
		w := &site.Watches[i]
		if w.Interval == 0 && w.Cron == nil {
			continue
		}
		j := schedule.Job{
			Key: w.Key.String(), Interval: w.Interval, Cron: w.Cron, RandSkew: w.RandSkew, Process: w.IsProgram, Deadline: w.Timeout,
			ExcludePeriod: excluded(w.ExcludePeriod),
			Run:           func(ctx context.Context) { e.check(ctx, w) },
		}
		if w.Depend.Waits() {
			j.Ready = func(now time.Time) bool { return e.ready(now, w.Key) }
		}
		p.Jobs = append(p.Jobs, j)
	}
	return p
}

// excluded is nil for a period that was not given, which is never.
func excluded(p period.Period) func(time.Time) bool {
	if p.String() == "" {
		return nil
	}
	return p.Contains
}

func (e *Engine) ready(now time.Time, key watch.Key) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, _, later := e.set.Request(now, key)
	return !later
}

// check is one turn of a watch.
func (e *Engine) check(ctx context.Context, w *config.Watch) {
	request, skip, news := e.request(w)
	if skip != "" {
		if news {
			e.log.WithFields(logrus.Fields{"watch": w.Key.String(), "reason": string(skip)}).Warn("not tested")
		}
		return
	}
	began := e.now()
	result, err := runMonitor(ctx, w.Monitor, request)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the watch is gone, or the daemon ends: nobody asked for this
	}
	if err == nil {
		err = complete(request.Hosts, result)
	}
	e.finish(w, began, result, err)
}

// request is what a watch is to test now, or why it is not; news is true if that
// was not the reason at its last turn.
func (e *Engine) request(w *config.Watch) (r monitors.Request, skip watch.Skip, news bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	hosts, skip, _ := e.set.Request(e.now(), w.Key)
	if before := e.skipped[w.Key]; before != skip {
		news = true
		e.skipped[w.Key] = skip
	}
	past := e.set.Past(w.Key)
	return monitors.Request{
		Group: w.Group, Service: w.Service, Description: w.Description, Hosts: hosts, Env: w.Env,
		Runs: past.Events, Events: past.Events, LastSummary: past.Summary, LastOutput: past.Output,
		FirstFailure: past.FirstFailure, LastFailure: past.LastFailure, LastSuccess: past.LastSuccess,
		DependStatus: past.Depend,
	}, skip, news
}

// runMonitor calls the plugin; one that panics has tested nothing.
func runMonitor(ctx context.Context, m monitors.Monitor, r monitors.Request) (result monitors.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the monitor panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return m.Check(ctx, r)
}

// complete holds a plugin to its contract: a verdict for each host asked about,
// and for no other.
func complete(asked []string, r monitors.Result) error {
	if r.Exit == 0 && slices.ContainsFunc(r.Hosts, func(h monitors.HostResult) bool { return h.Verdict == monitors.Down }) {
		return errors.New("the monitor found hosts down, with exit status 0")
	}
	if len(r.Hosts) == 0 {
		return nil
	}
	if len(r.Hosts) != len(asked) {
		return fmt.Errorf("the monitor gave %d verdicts on %d hosts", len(r.Hosts), len(asked))
	}
	for i, h := range r.Hosts {
		if h.Host != asked[i] {
			return fmt.Errorf("the monitor gave a verdict on %q where %q was asked for", h.Host, asked[i])
		}
	}
	return nil
}

// finish takes a result into the machine and sends what it decides.
func (e *Engine) finish(w *config.Watch, began time.Time, r monitors.Result, err error) {
	now := e.now()
	e.mu.Lock()
	if now := e.watches[w.Key]; now == nil || now.Fingerprint != w.Fingerprint {
		e.mu.Unlock()
		return // a reload changed the watch while it ran
	}
	calm, before := e.set.Calm(w.Key), e.failingNow(w.Key)
	var notices []watch.Notice
	if err != nil {
		notices = e.set.CouldNotTest(now, w.Key, err.Error())
		delete(e.measured, w.Key)
	} else {
		judged := verdicts(r)
		judged.Began = began
		notices = e.set.Result(now, w.Key, judged)
		e.measured[w.Key] = r.Hosts
	}
	e.logDowntime(now, w, before)
	changes, decisions := e.set.News(w.Key)
	if !calm || len(notices)+len(changes)+len(decisions) > 0 || !e.set.Calm(w.Key) {
		e.dispatch(notices)
	}
	escalates := len(notices) > 0 && e.set.Escalates()
	e.mu.Unlock()
	if escalates {
		e.pokeTrapClock()
	}
	e.told(w.Key, changes, decisions)
	if w.FailureInterval > 0 && err == nil {
		pace := time.Duration(0)
		if r.Exit != 0 {
			pace = w.FailureInterval
		}
		_ = e.scheduler.SetInterval(w.Key.String(), pace) // unknown only after a reload removed it
	}
}

func verdicts(r monitors.Result) watch.Result {
	out := watch.Result{Exit: r.Exit, Output: string(r.Output)}
	for _, h := range r.Hosts {
		v := watch.HostVerdict{Host: h.Host, Reason: h.Reason}
		switch h.Verdict {
		case monitors.Up:
			v.Verdict = watch.Good
		case monitors.Down:
			v.Verdict = watch.Bad
		case monitors.Unknown:
		}
		out.Hosts = append(out.Hosts, v)
	}
	return out
}

// dispatch hands notices to the outbox, and has the state saved that they come
// with: it is to be called after each change of the machine. It holds mu, so that
// notices leave in the order of the decisions; putting one into the outbox does not
// wait.
func (e *Engine) dispatch(notices []watch.Notice) {
	e.changed()
	e.announce()
	for i := range notices {
		n := &notices[i]
		alert, ok := e.actions[n.Action.ID]
		w := e.watches[n.Key]
		if !ok || w == nil {
			continue
		}
		m := outbox.Message{
			Name: n.Action.Name, Action: n.Action.ID, Alert: alert, Event: event(w, n), PerHost: w.Scope == watch.ScopeHost,
			Passing: w.Redistribute != nil && n.Action.ID == w.Redistribute.ID, Limited: n.Kind != watch.Test && !w.Compat,
		}
		if m.Lasts() {
			e.logCall(n, alert)
		}
		e.post(m)
	}
}

// reloadPatience is how long a reload waits for the runs of watches that are
// gone; who outlasts it ignores its context, and is left behind.
const reloadPatience = 30 * time.Second

// Reload takes over a new configuration: watches that stay keep their state and
// their timers.
func (e *Engine) Reload(site *config.Site) {
	duty := e.lockAsked(site)
	now := e.now()
	same := e.unchanged(site)
	e.adopt(site)
	e.set.Reconfigure(now, machines(site), options(site))
	e.wantDigests(now)
	e.duty = duty
	if e.running {
		e.takeDuty(now)
	}
	if site.StartupAlertsOnReset && e.running {
		e.dispatch(e.set.StartupAlerts(now))
	}
	e.dispatch(e.set.Follow(now))
	e.dispatch(e.set.FollowNew(now))
	e.outbox.Rebind(e.bindings())
	e.beginDowntimes(now)
	e.mu.Unlock()
	e.pokeTrapClock()
	ctx, cancel := context.WithTimeout(context.Background(), reloadPatience)
	defer cancel()
	if err := e.scheduler.Replace(ctx, e.plan(site)); err != nil {
		e.log.WithError(err).Error("some runs of watches that are gone do not end")
	}
	for i := range site.Watches {
		if w := &site.Watches[i]; w.FailureInterval == 0 && w.Monitor != nil {
			_ = e.scheduler.SetInterval(w.Key.String(), 0) // the plan that holds it is in force
		}
	}
	e.log.WithFields(logrus.Fields{"watches": len(site.Watches), "unchanged": same}).Info("configuration reloaded")
}

// unchanged counts the watches that the new configuration leaves as they are.
func (e *Engine) unchanged(site *config.Site) int {
	same := 0
	for i := range site.Watches {
		w := &site.Watches[i]
		if was := e.watches[w.Key]; was != nil && was.Fingerprint == w.Fingerprint {
			same++
		}
	}
	return same
}
