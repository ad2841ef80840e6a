// Package monitors is the contract of a monitor: something that tests hosts and
// returns a verdict on each. A kind of monitor lives in a folder of its own
// below this one, registers itself with [Register] from init, and is compiled in
// by a blank import in cmd/monitord.
//
// The same contract is open to programs: the kind "exec" runs mon's monitors
// (see monitors/exec).
package monitors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/monitord/monitord/internal/plugin"
)

// A Monitor tests the hosts of a request.
//
// Check is called by the scheduler, never twice at once for one watch, but
// several watches may share a process, so package variables are out. It returns
// when ctx is done at the latest: the deadline is the run's, and what has not
// been tested by then is [Unknown], not [Down]. It does not log, retry or
// outlive the call.
//
// A nil error means that the test took place, whatever the verdicts. A non-nil
// error means that it could not: a missing program, no permission for a socket.
// From it nobody may conclude that a host is down.
type Monitor interface {
	Check(ctx context.Context, r Request) (Result, error)
}

// A Request is what one run is asked to test, and what the watch remembers:
// mon's monitors read it from their environment.
type Request struct {
	Group, Service string
	Description    string
	// Hosts to test, as written in the host group: a name or an address, with
	// or without ":port" ("[::1]:80" for IPv6). Disabled, excluded and
	// dependency-suppressed hosts are already left out.
	Hosts []string
	// Env holds the watch's own variables, "NAME=value".
	Env []string

	Runs         int // completed runs before this one
	LastSummary  string
	LastOutput   string
	FirstFailure time.Time // of the present outage; zero when there is none
	LastFailure  time.Time // zero after a success
	LastSuccess  time.Time
	// DependStatus is nil until a dependency was evaluated.
	DependStatus *bool
	// Events counts the results and traps seen so far.
	Events int
}

// A Verdict says what is known about one host.
type Verdict int

// The verdicts. The zero value is Unknown: what nobody tested is not up.
const (
	Unknown Verdict = iota
	Up
	Down
)

func (v Verdict) String() string {
	switch v {
	case Up:
		return "up"
	case Down:
		return "down"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("verdict %d", int(v))
}

// A HostResult is the verdict on one host.
type HostResult struct {
	Host    string
	Verdict Verdict
	// Reason is one line without the host's name: why the host is down or
	// unknown. Empty when it is up.
	Reason string
	// Took is the time that the answer needed (a ping's mean round trip, a
	// whole HTTP request); 0 when there was none.
	Took time.Duration
	// Timings are the phases of that time that the probe got through, also if the
	// host is down.
	Timings Timings
}

// A Result is what a completed run found out.
type Result struct {
	// Hosts has one entry for each host of the request, in its order. A monitor
	// that can judge the group as a whole only (an exec monitor that names
	// no host) leaves it empty.
	Hosts []HostResult
	// Exit is mon's exit status: 0 is success, anything else failure.
	Exit int
	// Output is mon's output: the first line is the summary, by convention the
	// blank-separated failed hosts; the rest is detail for people.
	Output []byte
}

// ErrUntested is in the chain of a probe's error that is no verdict: the name
// server did not answer, a local socket could not be had.
var ErrUntested = errors.New("could not test")

// Untested marks err as no verdict on the host.
func Untested(err error) error { return fmt.Errorf("%w: %w", ErrUntested, err) }

// A Site is what the daemon tells each monitor about the place it runs in.
type Site struct {
	// Path lists the folders in which a program named without a slash is looked
	// up (mon's mondir).
	Path []string
	// StateDir, LogDir and ConfigDir are mon's statedir, logdir and cfbasedir.
	StateDir, LogDir, ConfigDir string
	// Compat is true for a site with compat = "mon".
	Compat bool
}

// Duration and Secret are the types for such keys in a monitor's configuration.
type (
	Duration = plugin.Duration
	Secret   = plugin.Secret
)

// A Warner is a monitor's configuration struct that warns of itself: the errors are shown by
// "monitord check" and at the start, each at the key that [BadKey] named, and stop
// nothing. It is asked after a monitor was built of it.
type Warner = plugin.Warner

// BadKey returns an error about one key of the monitor's configuration.
func BadKey(key, format string, args ...any) error { return plugin.BadKey(key, format, args...) }

var registry = plugin.NewRegistry[Monitor, Site]("monitor")

// Register adds a kind of monitor: its name, its defaults, and the function that
// makes a monitor from the user's values on top of these. Call it from init; a
// name used twice panics. A configuration struct names its keys with `toml` tags
// and describes them with `doc` tags.
func Register[C any](kind string, defaults C, build func(C, Site) (Monitor, error)) {
	plugin.Register(registry, kind, defaults, build)
}

// Build makes a monitor of a registered kind.
func Build(kind string, site Site, bind plugin.Bind) (Monitor, error) {
	return registry.Build(kind, site, bind)
}

// Kinds lists what is registered, in alphabetical order.
func Kinds() []string { return registry.Kinds() }

// Defaults returns a pointer to a copy of a kind's default configuration, nil if
// there is no such kind.
func Defaults(kind string) any { return registry.Defaults(kind) }
