// Package config reads the configuration, one TOML file and what it includes,
// and returns what it describes, built: monitors, alerts, periods, virtual
// services.
//
// Reading never stops at the first mistake: [Load] returns all of them as
// [Problems], each with its file, line and column (which counts characters).
// Nothing is started or changed by reading; a plugin's build looks at what its
// keys name (a program, a file of certificates) and no further.
//
// In every string ${NAME} stands for a variable of the environment and
// ${NAME:-text} for the text if that is unset or empty; $${ is a plain ${. All
// other dollars are left alone, so that regular expressions keep theirs. A key
// that wants a number or true or false takes it from such a string too.
//
// Where a key holds a secret, NAME_file may be given instead of NAME: the secret
// is that file's content without the last newline. Its path is relative to the
// folder of the file that names it.
package config

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/period"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/resources"
)

// Host is what a site is built for: the machine and the daemon on it.
type Host struct {
	// Pool is where the alerts of kind ipvs report to. The names of virtual
	// services are checked against the configuration that is read, not against
	// it. Nil is for checking only: reports then fail.
	Pool alerts.Pool
	// Table is where resources of kind lvs hold virtual services; the same goes for it.
	Table resources.Table
	// Log writes into the daemon's own log, for the alert that does; nil: there is none.
	Log func(level slog.Level, text string, fields ...slog.Attr)
	// Hostname is this director's name, for alerts.
	Hostname string
	// Networks are those that the machine is on; nil if they are not known.
	Networks []netip.Prefix
	// Node is the name of the cluster's node that the machine is; if it is empty the
	// node is found by Hostname, else by Addresses.
	Node string
	// Addresses are those that the machine has.
	Addresses []netip.Addr
	// AnyNode lets a machine that is none of the nodes read the cluster as its first
	// director would: for checking.
	AnyNode bool
	// Distrust says what is wrong with a program that may be replaced by others than
	// the present user, who is not root: for warnings, as root is refused it anyway.
	// The default looks at the file and the folders on the way to it.
	Distrust func(program string) error
	// Env looks up a variable of the environment, like [os.LookupEnv], which is
	// the default.
	Env func(name string) (value string, ok bool)
}

// A Site is a whole configuration, built.
type Site struct {
	Global
	// Groups are the host groups by name, implicit ones included.
	Groups   map[string][]string
	Watches  []Watch
	Virtuals []lvs.Virtual
	LVS      lvs.Config
	// Sync is nil if the directors do not tell each other of connections.
	Sync *lvs.Sync
	// Cluster is what a director needs to hold groups; nil if there are neither
	// [cluster] nor [[group]]. Without [cluster] it has one node: this machine.
	Cluster *Cluster
	// Quorums hold, by the names of virtual services, who is told of their quorum;
	// one without alerts is not in it.
	Quorums map[string]*Quorum
	// Digest is nil if nobody is told what changed in a while.
	Digest *Digest
	// Followers are, by the names of virtual services, the watches whose alerts
	// follow who is up in them, "group:service".
	Followers map[string][]string
	// Files are the paths of all files read, the main one first.
	Files []string
	// Warnings are what is no mistake but hardly meant.
	Warnings Problems
}

// Global is the section before the first table.
type Global struct {
	// StateDir, LogDir and ConfigDir are mon's statedir, logdir and cfbasedir, as
	// absolute paths.
	StateDir, LogDir, ConfigDir string
	// AlertDir and MonDir are where programs of exec alerts and monitors are
	// looked up.
	AlertDir, MonDir []string
	// MaxProcs and MaxChecks bound the runs at one time: of monitors that start
	// programs, and of all others.
	MaxProcs, MaxChecks int
	// RandStart is the time over which first runs are spread; 0 leaves that to
	// the scheduler.
	RandStart time.Duration
	// ExcludePeriod is when nothing runs; the zero value is never.
	ExcludePeriod        period.Period
	DepRecurLimit        int
	StartupAlertsOnReset bool
	// HistLength is how many decisions are kept of each watch.
	HistLength int
	// DTLogFile and HistoricFile are mon's downtime log and alert history, as absolute
	// paths; empty: none. HistoricTime is how old lines of the latter may be to be read
	// back; 0 is any age.
	DTLogFile, HistoricFile string
	HistoricTime            time.Duration
	// Compat is true for compat = "mon".
	Compat bool
	// Socket is the path of the control socket.
	Socket string
	// StateAge is how old saved state may be; 0 is any age.
	StateAge time.Duration
	Log      Log
}

// Log is the table [log].
type Log struct {
	// Level is "debug", "info", "warning" or "error".
	Level string
	// Format is "auto", "text", "logfmt", "json" or "journal".
	Format string
	// File is the absolute path of a file of the log's own, Syslog the facility of this
	// machine's syslog; at most one is set, and neither is standard error.
	File, Syslog string
}

// A Quorum is who is told when a virtual service loses its quorum, and when it has
// it again. The embedded watch stands for the virtual service, as the service
// "quorum" of a group of its name.
type Quorum struct {
	Watch
	Lost, Had []watch.Action
}

// A Watch is a watch with everything that it needs to run.
type Watch struct {
	watch.Config
	Description string
	// Owner is the group of resources whose holder alone tells people about this
	// watch; "" if there are no groups.
	Owner string
	// Env holds the watch's own variables, "NAME=value", sorted.
	Env []string

	// Interval is the time from start to start, or Cron the calendar; neither is
	// set for a watch that lives by traps.
	Interval time.Duration
	Cron     cron.Schedule
	// FailureInterval replaces Interval while the watch fails; 0 is none.
	FailureInterval time.Duration
	RandSkew        time.Duration
	// ExcludePeriod is when the watch does not run; the zero value is never.
	ExcludePeriod period.Period
	// Timeout is the deadline of one run. The default is the longest of 60s, the
	// interval, and the monitor's own timeout with 10s to spare, so that the
	// monitor's verdict comes before the deadline that would cut it off.
	Timeout time.Duration

	// Monitor is nil for a watch that lives by traps, and MonitorKind empty.
	Monitor     monitors.Monitor
	MonitorKind string
	// IsProgram is true if a run starts a process: it counts against MaxProcs.
	IsProgram bool
	// Actions holds the alerts by the IDs of the periods' actions.
	Actions map[string]alerts.Alert
	// Fingerprint is the same for two readings of a watch if nothing that it is
	// built from has changed: its own text, its group's hosts, the secrets' files
	// and the global settings that it depends on.
	Fingerprint string
}
