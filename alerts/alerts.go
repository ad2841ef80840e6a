// Package alerts is the contract of an alert: something that acts when the state
// of a watch calls for it - a mail, a program, a real server taken out of its
// pool. A kind of alert lives in a folder of its own below this one, registers
// itself with [Register] from init, and is compiled in by a blank import in
// cmd/monitord.
//
// The same contract is open to programs: the kind "exec" runs mon's alerts (see
// alerts/exec).
package alerts

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/monitord/monitord/internal/plugin"
)

// An Alert delivers events.
//
// Send is called by one goroutine at a time for one watch's use of an alert. It
// returns when ctx is done at the latest. An error means that the event was not
// delivered; the caller then retries with a growing pause (but see [ErrDelivered],
// [ErrRefused] and [BusyError]), and if meanwhile a newer event came up it is the newer one that is sent: so a Send must be
// idempotent, and take what it needs from the event, which carries the whole
// present state. It does not log, retry or outlive the call.
type Alert interface {
	Send(ctx context.Context, e Event) error
}

// A Follower is an alert that is state and not a message. It gets an event of
// kind [State] whenever the thresholds decide anew which hosts are up or down,
// and once when the first results are in. Thresholds (fall, rise, alertafter)
// hold it back; a disable, an unknown result and a failing dependency freeze it;
// ack, silence, periods, alertevery and numalerts do not concern it, because
// each would leave a dead server in or a good one out for ever.
type Follower interface {
	Alert
	// Follower marks the kind; it is never called.
	Follower()
}

// A Recorder is an alert that keeps a record: it wakes nobody, and each event is
// wanted. A flood of messages is summed up for other kinds, for this one it is not.
type Recorder interface {
	Alert
	// Recorder marks the kind; it is never called.
	Recorder()
}

// Kind says why an alert is sent.
type Kind int

// The kinds, mon's and three of our own: State for followers, Test for a test from
// the command line, Digest for what changed in a while, which is about no one watch.
const (
	Failure Kind = iota
	Up
	Startup
	Ack
	Disable
	Trap
	TrapTimeout
	Test
	State
	Digest
)

var kindNames = [...]string{"failure", "up", "startup", "ack", "disable", "trap", "traptimeout", "test", "state", "digest"}

// String returns mon's word, as in MON_ALERTTYPE.
func (k Kind) String() string {
	if k >= 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Failing reports whether the event tells of a failure.
func (k Kind) Failing() bool { return k == Failure || k == Trap || k == TrapTimeout }

// HostState says what is known about a host.
type HostState int

// The states of a host. Unknown is the zero value.
const (
	HostUnknown HostState = iota
	HostUp
	HostDown
)

func (s HostState) String() string {
	switch s {
	case HostUp:
		return "up"
	case HostDown:
		return "down"
	case HostUnknown:
		return "unknown"
	}
	return fmt.Sprintf("host state %d", int(s))
}

// A Host is the state of one host of the watch, as decided by its thresholds.
type Host struct {
	Name   string
	State  HostState
	Since  time.Time // when it came into this state; zero if not known
	Reason string    // one line: why it is down or unknown
	// Concerned is true for the hosts that this event is about.
	Concerned bool
	// Disabled hosts stay in the event of a follower, which must not forget
	// them, and are left out of all others.
	Disabled bool
}

// An Event is what an alert is told: what happened, and the whole present state.
type Event struct {
	Kind Kind
	// Testing is the list that is tried out when Kind is Test.
	Testing        Kind
	Group, Service string
	Description    string
	Period         string // the period's name
	Time           time.Time

	// Hosts are the enabled hosts of the group, in the configuration's order.
	Hosts []Host
	// Summary and Output are what the event is about: of a failure its first
	// line and its whole text; of a recovery those of the last failure.
	Summary string
	Output  []byte
	// Reason is the decision in a sentence: "failure 3 of alertafter 3".
	Reason string

	// Status is mon's number of the watch's state: 0 failed, 1 ok, 7 untested.
	Status int
	// Exit is the monitor's exit status; nil where mon gives none (ack).
	Exit *int
	// Previous is the output of the event before this one (MON_LAST_OUTPUT).
	Previous string
	// Events counts the results and traps so far: 0 at startup.
	Events       int
	FirstFailure time.Time // of the outage; zero if none
	LastFailure  time.Time // zero after a success
	LastSuccess  time.Time
	Ack          string // "user: comment" while acknowledged
	TrapIntended string // "group:service" that a default trap was meant for
	// Outage names the outage: a failure, its repetitions and its recovery have
	// the same. Mail threads by it.
	Outage string
	// Env holds the watch's own variables, "NAME=value".
	Env []string
}

// A Site is what the daemon tells each alert about the place it runs in.
type Site struct {
	// Path lists the folders in which a program named without a slash is looked
	// up (mon's alertdir).
	Path []string
	// StateDir, LogDir and ConfigDir are mon's statedir, logdir and cfbasedir.
	StateDir, LogDir, ConfigDir string
	// Hostname is this director's name.
	Hostname string
	// Pool is where real servers are put in and out.
	Pool Pool
	// Log writes a line into the daemon's own log, for the alert that is just that;
	// others return errors. It does not block. Nil where there is no log.
	Log func(level slog.Level, text string, fields ...slog.Attr)
}

// A Pool takes what watches know about real servers.
type Pool interface {
	// Servers lists the hosts of a virtual service's real servers; ok is false
	// if there is no such service.
	Servers(virtual string) (hosts []string, ok bool)
	// Virtuals lists the names of all virtual services.
	Virtuals() []string
	// Report tells what one source (a watch, "group:service") knows about hosts.
	// A real server is in while some source says up and none says down; unknown
	// leaves a source's last word standing. The error says why the pool could
	// not follow, such as min_up; what could be done has been done.
	Report(ctx context.Context, virtual, source string, hosts map[string]HostState) error
}

// Duration and Secret are the types for such keys in an alert's configuration.
type (
	Duration = plugin.Duration
	Secret   = plugin.Secret
)

// A Warner is an alert's configuration struct that warns of itself: the errors are shown by
// "monitord check" and at the start, each at the key that [BadKey] named, and stop
// nothing. It is asked after an alert was built of it.
type Warner = plugin.Warner

// BadKey returns an error about one key of the alert's configuration.
func BadKey(key, format string, args ...any) error { return plugin.BadKey(key, format, args...) }

var registry = plugin.NewRegistry[Alert, Site]("alert")

// Register adds a kind of alert: its name, its defaults, and the function that
// makes an alert from the user's values on top of these. Call it from init; a
// name used twice panics. A configuration struct names its keys with `toml` tags
// and describes them with `doc` tags.
func Register[C any](kind string, defaults C, build func(C, Site) (Alert, error)) {
	plugin.Register(registry, kind, defaults, build)
}

// Build makes an alert of a registered kind.
func Build(kind string, site Site, bind plugin.Bind) (Alert, error) {
	return registry.Build(kind, site, bind)
}

// Kinds lists what is registered, in alphabetical order.
func Kinds() []string { return registry.Kinds() }

// Defaults returns a pointer to a copy of a kind's default configuration, nil if
// there is no such kind.
func Defaults(kind string) any { return registry.Defaults(kind) }
