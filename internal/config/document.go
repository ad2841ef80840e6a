package config

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/plugin"
)

// The structs of this file are the configuration's keys. Their doc tags are its
// reference.

// document is the whole file: first the global section.
type document struct {
	StateDir  string   `toml:"statedir" doc:"Folder for what outlives a restart; default \"/var/lib/monitord\"."`
	LogDir    string   `toml:"logdir" doc:"Folder for logs that programs write; default \"/var/log/monitord\"."`
	CfBaseDir string   `toml:"cfbasedir" doc:"Folder to which other paths of this section are relative; default the folder of the main file."`
	AlertDir  []string `toml:"alertdir" doc:"Folders in which programs of exec alerts are looked up that are named without a slash."`
	MonDir    []string `toml:"mondir" doc:"Folders in which programs of exec monitors are looked up that are named without a slash."`

	MaxProcs  int             `toml:"maxprocs" doc:"How many monitors that start programs may run at once; 0 is no bound; default 50."`
	MaxChecks int             `toml:"maxchecks" doc:"How many other monitors may run at once; 0 is no bound; default 500."`
	RandStart plugin.Duration `toml:"randstart" doc:"Time over which the first runs are spread; default the interval, at most 10s."`

	ExcludePeriod string          `toml:"exclude_period" doc:"Period in which nothing is tested; default none."`
	DepBehavior   string          `toml:"dep_behavior" doc:"What a failing dependency holds back unless the watch says so itself: \"a\" alerts, \"m\" the monitor, \"hm\" the hosts that fail there; default \"a\"."`
	DepMemory     plugin.Duration `toml:"dep_memory" doc:"How long a dependency that came back still counts as failing, unless the watch says so itself; default 0s."`
	DepRecurLimit int             `toml:"dep_recur_limit" doc:"How far dependencies of dependencies are followed; default 10."`
	UnackSummary  bool            `toml:"unack_summary" doc:"Whether a failure with another summary ends an acknowledgement, unless the watch says so itself; default false."`
	AckExpires    plugin.Duration `toml:"ack_expires" doc:"After what time an acknowledgement has been forgotten, and the failure is alerted again, unless the watch says so itself; 0s is never; default 1d, with compat = \"mon\" 0s."`

	StartupAlertsOnReset bool            `toml:"startupalerts_on_reset" doc:"Whether startup alerts are sent after a reload too; default false."`
	HistLength           int             `toml:"histlength" doc:"How many decisions are kept of each watch, and how many lines of historicfile are read back; default 100."`
	HistoricFile         string          `toml:"historicfile" doc:"File that gets a line for each alert, in mon's form, and is read back at the start for \"monitord history\"; relative to logdir; default \"\": none."`
	HistoricTime         plugin.Duration `toml:"historictime" doc:"How old lines of historicfile may be to be read back; default 0s: any age."`
	DTLogging            bool            `toml:"dtlogging" doc:"Whether a line is written to dtlogfile at each recovery, in mon's form; default false."`
	DTLogFile            string          `toml:"dtlogfile" doc:"The log of downtimes; relative to logdir; default \"downtime.log\"."`
	Compat               string          `toml:"compat" doc:"\"mon\" keeps mon's quirks, for a configuration that came from there; default \"\"."`
	Socket               string          `toml:"socket" doc:"Path of the socket for status and commands; default \"/run/monitord/monitord.sock\"."`

	StateAge plugin.Duration `toml:"state_age" doc:"How old the saved state of watches and pools may be when the daemon starts; older state counts as unknown, except for what operators disabled and drained; default 1h."`

	Include    raw `toml:"include" doc:"Other files to read, relative to this one; may hold patterns like \"conf.d/*.toml\"; default none."`
	Log        raw `toml:"log" doc:"What is logged, and how."`
	HostGroups raw `toml:"hostgroups" doc:"The host groups: name = [\"host\", ...]."`
	LVS        raw `toml:"lvs" doc:"What forwards the connections of virtual services."`
	Sync       raw `toml:"sync" doc:"How the directors' kernels tell each other of connections."`
	Virtual    raw `toml:"virtual" doc:"A virtual service and its real servers."`
	Cluster    raw `toml:"cluster" doc:"The directors, and how fast they find out about each other."`
	Fence      raw `toml:"fence" doc:"What a director must reach to hold anything."`
	Group      raw `toml:"group" doc:"A group of resources that one director holds at a time."`
	Digest     raw `toml:"digest" doc:"When people are told what changed, in one message, and who."`
	Watch      raw `toml:"watch" doc:"Who is tested how, and who is told."`
}

type logTable struct {
	Level  string `toml:"level" doc:"The least important messages to log: \"debug\", \"info\", \"warning\" or \"error\"; default \"info\"."`
	Format string `toml:"format" doc:"\"text\", \"logfmt\", \"json\", \"journal\" (severities for systemd's journal, no time), or \"auto\": text on a terminal, for the journal what it reads, else logfmt; default \"auto\"."`
	File   string `toml:"file" doc:"A file to log to instead of standard error; a relative path is below logdir; it is made with mode 0640, and anew when it was moved away; default none."`
	Syslog string `toml:"syslog" doc:"Facility, such as \"daemon\" or \"local0\", to log to this machine's syslog instead of standard error; default none."`
}

func defaultLog() logTable { return logTable{Level: "info", Format: "auto"} }

func defaultDocument() document {
	return document{
		StateDir: "/var/lib/monitord", LogDir: "/var/log/monitord",
		AlertDir: []string{"/etc/monitord/alert.d", "/usr/lib/mon/alert.d", "/usr/local/lib/mon/alert.d"},
		MonDir:   []string{"/etc/monitord/mon.d", "/usr/lib/mon/mon.d", "/usr/local/lib/mon/mon.d"},
		MaxProcs: 50, MaxChecks: 500,
		DepBehavior: "a", DepRecurLimit: 10, HistLength: 100, DTLogFile: "downtime.log",
		Socket: "/run/monitord/monitord.sock", StateAge: plugin.Duration(time.Hour),
	}
}

// virtualTable is one [[virtual]].
type virtualTable struct {
	lvs.VirtualConfig
	QuorumAlert   raw `toml:"quorum_alert" doc:"What to do when the quorum is lost: [{ type = \"mail\", ... }]."`
	QuorumUpAlert raw `toml:"quorum_upalert" doc:"What to do when a quorum that was lost is had again."`
}

// watchTable is one [[watch]].
type watchTable struct {
	Group       string `toml:"group" doc:"The host group that is tested; no default."`
	Service     string `toml:"service" doc:"Name of what is tested there; group and service together name the watch; no default."`
	Description string `toml:"description" doc:"A line for people; default none."`
	Owner       string `toml:"owner" doc:"The [[group]] of resources whose holder alone sends this watch's mails and other messages; default the first."`

	Interval        plugin.Duration `toml:"interval" doc:"Time from one run to the next, at least 100ms; or else cron; default none."`
	Cron            string          `toml:"cron" doc:"Calendar of the runs: minute, hour, day of month, month, day of week, optionally seconds before; \"@daily\" and the like; \"CRON_TZ=Europe/Berlin ...\"; or else interval; default none."`
	FailureInterval plugin.Duration `toml:"failure_interval" doc:"Interval while the watch fails; default interval."`
	RandSkew        plugin.Duration `toml:"randskew" doc:"Random time by which each run comes earlier or later; less than interval; default 0s."`
	Timeout         plugin.Duration `toml:"timeout" doc:"Time after which a run is ended, with what it has not tested unknown; default the longest of 60s, interval, and the monitor's own timeout plus 10s."`
	ExcludePeriod   string          `toml:"exclude_period" doc:"Period in which nothing is tested; default none."`
	Monitor         raw             `toml:"monitor" doc:"The test: { type = \"http\", ... }."`

	Scope           string   `toml:"scope" doc:"What has counters and alerts of its own: each \"host\", or the \"group\" as in mon; default \"host\"."`
	Fall            int      `toml:"fall" doc:"Failures in a row that take a host down (scope \"host\"); default 1."`
	Rise            int      `toml:"rise" doc:"Successes in a row that take a host up again (scope \"host\"); default 1."`
	ExcludeHosts    []string `toml:"exclude_hosts" doc:"Hosts of the group that are not tested; default none."`
	AllowEmptyGroup bool     `toml:"allow_empty_group" doc:"Whether the monitor runs even if no host is left to test; default false."`

	Depend        string          `toml:"depend" doc:"Other watches that must be well, like \"gateway:ping && dns:query\"; SELF is the own group. dep_behavior says what happens else; default none."`
	AlertDepend   string          `toml:"alertdepend" doc:"Watches without which no alerts are sent; default none."`
	MonitorDepend string          `toml:"monitordepend" doc:"Watches without which the monitor does not run; default none."`
	HostDepend    string          `toml:"hostdepend" doc:"Watches whose failing hosts are not tested; default none."`
	DepBehavior   string          `toml:"dep_behavior" doc:"What depend holds back: \"a\" alerts, \"m\" the monitor, \"hm\" the hosts that fail there; default the global dep_behavior."`
	DepMemory     plugin.Duration `toml:"dep_memory" doc:"How long a dependency that came back still counts as failing; default the global dep_memory."`
	UnackSummary  bool            `toml:"unack_summary" doc:"Whether a failure with another summary ends an acknowledgement; default the global unack_summary."`

	AckExpires plugin.Duration `toml:"ack_expires" doc:"After what time an acknowledgement has been forgotten, and the failure is alerted again whatever alertevery and numalerts say; 0s is never; default the global ack_expires."`

	TrapTimeout  plugin.Duration `toml:"traptimeout" doc:"Longest silence between two traps, after which the watch fails; nothing listens for traps; default 0s: any."`
	TrapDuration plugin.Duration `toml:"trapduration" doc:"How long a failure told by a trap is believed; nothing listens for traps; default 0s: until the next trap."`

	Redistribute raw               `toml:"redistribute" doc:"An alert that is told every result."`
	Env          map[string]string `toml:"env" doc:"Variables for the environment of programs: { NAME = \"value\" }; default none."`
	Period       raw               `toml:"period" doc:"A time of the week with the alerts that are due in it."`
}

func (d document) defaultWatch() watchTable {
	return watchTable{
		Scope: "host", Fall: 1, Rise: 1,
		DepBehavior: d.DepBehavior, DepMemory: d.DepMemory, UnackSummary: d.UnackSummary,
		AckExpires: d.AckExpires,
	}
}

// periodTable is one [[watch.period]].
type periodTable struct {
	Name string `toml:"name" doc:"Name of the period; default the text of when."`
	When string `toml:"when" doc:"mon's period, like \"wd {Mon-Fri} hr {9am-5pm}\"; default always."`

	AlertAfter      alertAfter      `toml:"alertafter" doc:"What must have happened before alerts are sent: a number of failures in a row, a time like \"5m\", or { count = 3, within = \"5m\" }; { consecutive = 3, ... } adds to the latter; default 1."`
	AlertEvery      alertEvery      `toml:"alertevery" doc:"Pause between alerts about the same thing: \"1h\", or { interval = \"1h\", compare = \"strict\" }; compare: \"summary\", \"observe_detail\", \"ignore_summary\" or \"strict\"; default none: every failing run is alerted."`
	NumAlerts       int             `toml:"numalerts" doc:"Most alerts of one outage; default 0: any number."`
	UpAlertAfter    plugin.Duration `toml:"upalertafter" doc:"Shortest outage after which upalerts are sent; default 0s."`
	NoCompAlerts    bool            `toml:"no_comp_alerts" doc:"Whether upalerts are sent although no alert was; default false."`
	AlertsDontCount bool            `toml:"alerts_dont_count" doc:"Whether alerts of this period are left out of the watch's count; default false."`
	AlertExitRange  exitRange       `toml:"alertexitrange" doc:"Exit statuses of the monitor that matter in this period, like 2 or \"1-3\"; default all."`

	Alert        raw `toml:"alert" doc:"What to do at a failure: [{ type = \"mail\", ... }]."`
	UpAlert      raw `toml:"upalert" doc:"What to do at a recovery."`
	StartupAlert raw `toml:"startupalert" doc:"What to do when the daemon starts."`
	AckAlert     raw `toml:"ackalert" doc:"What to do when a failure is acknowledged."`
	DisableAlert raw `toml:"disablealert" doc:"What to do when the watch is disabled."`
	Escalate     raw `toml:"escalate" doc:"Who else is told of a failure that nobody acknowledges."`
}

// escalateTable is one [[watch.period.escalate]].
type escalateTable struct {
	After plugin.Duration `toml:"after" doc:"How long after the first alert, or after its acknowledgement has ended, these are told as well, once; no default."`
	Alert raw             `toml:"alert" doc:"Who is told of the failure then, and later of its end: [{ type = \"mail\", ... }]."`
}

// The names of tables in messages.
const (
	globalSection   = "the global section"
	watchSection    = "[[watch]]"
	periodSection   = "[[watch.period]]"
	escalateSection = "[[watch.period.escalate]]"
	digestSection   = "[digest]"
	logSection      = "[log]"
)

// elsewhere tells where a key belongs that stands in the wrong table: TOML's
// tables have no end, so that a global key after one of them is in it.
func elsewhere() map[string][]string {
	places := map[string][]string{}
	for _, t := range []struct {
		table any
		where string
	}{
		{&document{}, "at the top of the file, before the first [table]"},
		{&watchTable{}, "into " + watchSection},
		{&periodTable{}, "into " + periodSection},
		{&escalateTable{}, "into " + escalateSection},
		{&logTable{}, "into " + logSection},
		{&digestTable{}, "into " + digestSection},
	} {
		for _, k := range keysOfTable(reflect.ValueOf(t.table).Elem()) {
			if !slices.Contains(places[k], t.where) {
				places[k] = append(places[k], t.where)
			}
		}
	}
	delete(places, "file") // of an alert or a monitor it is hardly meant for the log
	delete(places, "name") // of a watch it is hardly meant for the period
	maps.DeleteFunc(places, func(_ string, where []string) bool { return len(where) > 1 })
	return places
}

const (
	minInterval    = 100 * time.Millisecond
	defaultTimeout = time.Minute
	timeoutMargin  = 10 * time.Second
	// ackExpires is the default of ack_expires: an ack says that somebody takes care
	// today; one that is forgotten would hide the failure until it ends by itself.
	ackExpires = 24 * time.Hour
)
