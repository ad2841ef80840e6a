// Package watch decides: it takes the results of monitors, traps and what
// operators say, and answers with the alerts that are due and, for those that
// are not, with the reason. It is pure: time is an argument, nothing is sent,
// logged or waited for, and the same calls give the same answers.
//
// # A failure's way through the machine
//
// The order is mon's (mon(8) and its traces); a test that stops a failure also
// keeps the counters of the later ones from moving. Only the count of
// consecutive failures always moves.
//
//	result ─▶ counted ─▶ redistribute
//	           │ 1 scheduler stopped       ─▶ dropped
//	           │ 2 watch or service disabled ─▶ dropped
//	           │ 3 dependency not good     ─▶ suppressed
//	           │ 4 another host, unack_summary (end an ack of the group)
//	           │ 5 acknowledged            ─▶ suppressed
//	           ▼ then for each period by itself
//	             6 outside the period      ─▶ skipped
//	             7 alertexitrange          ─▶ skipped
//	             8 numalerts               ─▶ suppressed
//	             9 alertevery              ─▶ suppressed
//	            10 alertafter              ─▶ suppressed
//	            11 silenced                ─▶ held back until the end of the silence
//	            12 sent to all its alerts
//
// # Scope
//
// In [ScopeGroup], mon's way, the group fails as a whole. In [ScopeHost] each
// host has all of the above to itself, after Fall failures in a row, and one
// round's decisions go out as one [Notice] per action.
//
// # Compat
//
// Config.Compat keeps what a running mon site may rely on: a recovery outside
// the period gets no upalert, alertevery compares the exact first line,
// alertafter's window tumbles, host dependencies match substrings, alertdepend
// needs depend beside it, an ack of a group covers whatever fails, and a disablealert
// is never sent. Without it:
// recoveries always reach their upalert, alertevery compares the set of failed
// hosts, the window slides, and host names match whole.
//
// Broken in both on purpose, since mon's manual promises it and mon's program
// does not do it: upalertafter and dep_memory work.
package watch

import (
	"slices"
	"time"
)

// Options are the site-wide settings of the machine.
type Options struct {
	// RecursionLimit is the depth to which dependencies are followed (mon's
	// dep_recur_limit); 0 means mon's 10.
	RecursionLimit int
	// Keep is the number of decisions remembered for each watch; 0 means 20.
	Keep int
	// Calendar reads when a recurring silence begins; nil: there are none.
	Calendar func(text string) (Calendar, error)
}

// A Set is all watches of a site. It is not safe for concurrent use.
type Set struct {
	options  Options
	services map[Key]*service
	order    []Key

	stopped         *Mark // who stopped the site; nil: it is not
	silences        map[string]*hush
	ticked          time.Time // the last Tick
	disabledWatches map[string]Mark
	disabledHosts   map[string]Mark
	words           map[string]time.Time // when operators spoke last
	version         uint64
}

// A Mark says who did something, when and why.
type Mark struct {
	At  time.Time `json:"at"`
	By  string    `json:"by,omitzero"`
	Why string    `json:"why,omitzero"`
	// Until is when it ends by itself; zero: never.
	Until time.Time `json:"until,omitzero"`
	// Hosts are those whose failure an ack of a group covers, sorted; nil: whatever
	// fails.
	Hosts []string `json:"hosts,omitzero"`
}

// A service is the state of one watch.
type service struct {
	Config
	ownership
	subjects []*subject
	byHost   map[string]*subject

	disabled *Mark
	// depend is the last evaluated dependency: nil until there was one.
	depend *bool

	status, previousStatus Status
	events                 int // completed results and traps
	exit                   *int
	summary                string
	output                 string
	lastFailed             time.Time // when it last ceased to fail, for dep_memory
	unknownSince           time.Time
	unknownReason          string

	lastTrap    time.Time
	trapTimer   time.Time // when the trap timeout is due; zero: not armed
	trapExpires time.Time // when a trap's failure is forgotten; zero: never
	intended    string

	followers []follower
	decisions []Decision
	fresh     int // decisions that News has not told yet: the last ones
	changes   []Change
}

// A subject is what has counters: the whole group, or one host of it.
type subject struct {
	host string // empty for the group

	status       Status
	since        time.Time
	consecutive  int // failures in a row
	rising       int // successes in a row while failed
	failures     int // since the start
	alertsSent   int // since the start
	firstFailure time.Time
	named        time.Time // firstFailure by the clock of who told of it first; zero: this one
	lastFailure  time.Time
	lastSuccess  time.Time
	// failureOutput is the output of the last failing event, what alertevery
	// compares with; empty after a success.
	failureOutput string
	reason        string
	verdict       Verdict
	// hearsay says that pools are not to be told the status yet, see [Set.Retell].
	hearsay bool
	ack     *Mark
	periods []periodState
	// recent are the times of the last failures, for followers' thresholds and
	// sliding windows; kept only as long as a window needs.
	recent []time.Time
	// known is what was last found out about each host, in ScopeGroup.
	known map[string]HostVerdict
	// blamed are the hosts that the present failure is about, in ScopeGroup.
	blamed map[string]bool
	// trapped is how a trap came to say something about the host.
	trapped trapped

	// told is the failure that the owner before or elsewhere told of, with its ack.
	told    *Outage
	toldAck *Mark
	// held is what is to be told if this director becomes the owner; nil: nothing.
	held *held
	// toll is what the next digest tells of it.
	toll Toll
	// hushed is what is to be told when no silence covers it any more; nil: nothing.
	hushed *held
	// spoke is when this director last told anything, unacked when it ended an ack.
	spoke, unacked time.Time
}

// trapped tells what the last word about a host in ScopeHost was.
type trapped int

const (
	notTrapped  trapped = iota // a monitor's
	namedByTrap                // a trap that named the host
	meantByTrap                // a trap that named nobody: no pool may act on it
)

type periodState struct {
	sent        int // rounds since the last success
	lastAlert   time.Time
	windowStart time.Time // mon's _1stfailtime
	count       int       // mon's _failcount
	// firstAlert is when the outage was first told, stage how far it was escalated.
	firstAlert time.Time
	stage      int
	// remind has the next alert pass numalerts and alertevery: an ack was forgotten.
	remind bool
	// compUpSent is true after an upalert without a failure's alert before it.
	compUpSent bool
}

// New returns the machine for these watches. A key must not occur twice.
func New(configs []Config, options Options) *Set {
	if options.RecursionLimit == 0 {
		options.RecursionLimit = 10
	}
	if options.Keep == 0 {
		options.Keep = 20
	}
	s := &Set{options: options, silences: map[string]*hush{}, disabledWatches: map[string]Mark{}, disabledHosts: map[string]Mark{}, words: map[string]time.Time{}}
	s.install(configs, nil)
	return s
}

func (s *Set) install(configs []Config, old map[Key]*service) {
	s.services, s.order = make(map[Key]*service, len(configs)), nil
	for _, c := range configs {
		sv := newService(c)
		if before, ok := old[c.Key]; ok {
			sv.inherit(before)
		}
		s.services[c.Key] = sv
		s.order = append(s.order, c.Key)
	}
}

func newService(c Config) *service {
	c.Fall, c.Rise = max(c.Fall, 1), max(c.Rise, 1)
	sv := &service{Config: c, status: Untested, previousStatus: Untested}
	if c.Scope == ScopeGroup {
		sv.subjects = []*subject{newSubject("", len(c.Periods))}
	} else {
		for _, h := range c.Hosts {
			sv.subjects = append(sv.subjects, newSubject(h, len(c.Periods)))
		}
	}
	sv.index()
	sv.followers = findFollowers(c)
	return sv
}

// index makes subjects quick to find: groups of ten thousand hosts are real.
func (sv *service) index() {
	sv.byHost = make(map[string]*subject, len(sv.subjects))
	for _, sub := range sv.subjects {
		sv.byHost[sub.host] = sub
	}
}

func newSubject(host string, periods int) *subject {
	return &subject{host: host, status: Untested, periods: make([]periodState, periods)}
}

// Keys lists the watches in the order of the configuration.
func (s *Set) Keys() []Key { return slices.Clone(s.order) }

// Start begins the watches' life: trap timers are armed and startup alerts go
// out, once for each period that is in force.
func (s *Set) Start(now time.Time) []Notice {
	s.armTraps(now)
	return s.StartupAlerts(now)
}

// StartupAlerts sends the startup alerts, at the start and, where the site wants
// it, after a reset.
func (s *Set) StartupAlerts(now time.Time) []Notice {
	var out []Notice
	for _, key := range s.order {
		sv := s.services[key]
		sv.startup = sv.mute != ""
		r := newRound(s, sv, now, Startup)
		for _, sub := range sv.subjects {
			r.judge(sub)
		}
		out = append(out, r.notices()...)
	}
	return out
}

// group returns the subject that speaks for the whole watch in ScopeGroup.
func (sv *service) group() *subject { return sv.subjects[0] }

// subject returns a host's state, or with "" the group's; nil if there is none.
func (sv *service) subject(host string) *subject { return sv.byHost[host] }

// elapsed reports whether at least limit has passed since a time. A run that
// comes a little early must not wait for the next one.
func elapsed(now, since time.Time, limit time.Duration) bool {
	early := min(limit/10, time.Second/2)
	return since.IsZero() || now.Sub(since)+early >= limit
}

// longer reports whether more than limit has passed since a time.
func longer(now, since time.Time, limit time.Duration) bool { return now.Sub(since) > limit }
