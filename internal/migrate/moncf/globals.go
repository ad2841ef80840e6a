package moncf

import (
	"strings"
	"time"

	"github.com/monitord/monitord/internal/period"
	"github.com/monitord/monitord/internal/watch"
)

var globalLine = perl(`^(\w+)\s*=\s*(.*)$`)

// globalKeywords check a value; those without a check take any. Which files
// exist, and that PAM is installed, is for the user of the file to find out.
var globalKeywords = map[string]func(*parser, Setting) *Error{
	"alertdir":               nil,
	"authfile":               nil,
	"authtype":               nil,
	"basedir":                nil,
	"cfbasedir":              nil,
	"clientallow":            nil,
	"cltimeout":              timevalGlobal("bad value '%s' for cltimeout command (syntax: cltimeout = secs)"),
	"dep_behavior":           (*parser).defaultDepBehavior,
	"dep_memory":             (*parser).defaultDepMemory,
	"dep_recur_limit":        nil,
	"dtlogfile":              nil,
	"dtlogging":              nil,
	"exclude_period":         (*parser).globalExcludePeriod,
	"histlength":             nil,
	"historicfile":           nil,
	"historictime":           timevalGlobal("bad value '%s' for historictime command (syntax: historictime = timeval)"),
	"logdir":                 nil,
	"maxprocs":               nil,
	"mondir":                 nil,
	"monerrfile":             nil,
	"monremote":              nil,
	"pamservice":             nil,
	"pidfile":                nil,
	"randstart":              timevalGlobal("bad value '%s' for randstart option (syntax: randstart = timeval)"),
	"serverbind":             nil,
	"serverport":             nil,
	"startupalerts_on_reset": nil,
	"statedir":               nil,
	"syslog_facility":        nil,
	"trapbind":               nil,
	"trapport":               nil,
	"unack_summary":          (*parser).defaultUnackSummary,
	"userfile":               nil,
}

// global takes "name = value" outside of a watch.
func (p *parser) global(s Setting) error {
	check, known := globalKeywords[s.Name]
	if !known {
		return p.errorf(s.Source, "unknown variable '%s'", s.Name)
	}
	if check != nil {
		if err := check(p, s); err != nil {
			return err
		}
	}
	p.file.Globals = append(p.file.Globals, s)
	return nil
}

func timevalGlobal(text string) func(*parser, Setting) *Error {
	return func(p *parser, s Setting) *Error {
		if _, ok := Timeval(s.Value); !ok {
			return p.errorf(s.Source, text, s.Value)
		}
		return nil
	}
}

func (p *parser) defaultDepBehavior(s Setting) *Error {
	b, ok := depBehavior(s.Value)
	if !ok {
		return p.errorf(s.Source, "unknown dependency behavior '%s'", s.Value)
	}
	p.defaults.depBehavior = b
	return nil
}

func depBehavior(value string) (watch.Behavior, bool) {
	switch value {
	case "a":
		return watch.SuppressAlerts, true
	case "m":
		return watch.SuppressMonitor, true
	case "hm":
		return watch.SuppressHosts, true
	}
	return 0, false
}

func (p *parser) defaultDepMemory(s Setting) *Error {
	d, ok := Timeval(s.Value)
	if !ok {
		return p.errorf(s.Source, "bad value '%s' for dep_memory option (syntax: dep_memory = timeval)", s.Value)
	}
	p.defaults.depMemory = d
	return nil
}

func (p *parser) defaultUnackSummary(s Setting) *Error {
	on, err := p.unackSummary(s)
	if err == nil {
		p.defaults.unackSummary = on
	}
	return err
}

// unackSummary reads the value of unack_summary: any text with a y is yes, any
// other with an n is no, as in mon.
func (p *parser) unackSummary(s Setting) (bool, *Error) {
	switch {
	case strings.ContainsAny(s.Value, "yY") || s.Value == "1":
		return true, nil
	case strings.ContainsAny(s.Value, "nN") || s.Value == "0":
		return false, nil
	}
	err := p.errorf(s.Source, "invalid unack_summary value '%s' (syntax: unack_summary [0|1|y|yes|n|no])", s.Value)
	err.lineless = true
	return false, err
}

func (p *parser) globalExcludePeriod(s Setting) *Error {
	_, err := p.excludePeriod(s)
	return err
}

// excludePeriod reads a period in which something is not done; none is nil.
func (p *parser) excludePeriod(s Setting) (*period.Period, *Error) {
	if s.Value == "" {
		return nil, nil
	}
	when, err := period.Parse(s.Value)
	if err != nil {
		bad := p.errorf(s.Source, "malformed exclude_period '%s' (the specified time period is not valid as per Time::Period::inPeriod)", s.Value)
		bad.Err = err
		return nil, bad
	}
	return &when, nil
}

// RandStart is the range of the random delay of first runs; 0 if there is none.
func (f *File) RandStart() time.Duration {
	value, _ := f.Global("randstart")
	d, _ := Timeval(value)
	return d
}

// ExcludePeriod is the time in which mon schedules nothing at all; nil if there
// is none.
func (f *File) ExcludePeriod() *period.Period {
	value, _ := f.Global("exclude_period")
	when, err := period.Parse(value)
	if value == "" || err != nil {
		return nil
	}
	return &when
}

// one is a text that Perl takes for the number 1.
var one = perl(`^[+]?0*1(\.0*)?([^0-9.].*)?$`)

// DTLogging reports whether mon writes its downtime log.
func (f *File) DTLogging() bool {
	value, _ := f.Global("dtlogging")
	return value == "yes" || value == "true" || one.MatchString(value)
}

// on is mon's pattern, whose anchors bind tighter than it seems.
var on = perl(`(?i)^1|yes|true|on$`)

// StartupAlertsOnReset reports whether a reset sends startup alerts.
func (f *File) StartupAlertsOnReset() bool {
	value, _ := f.Global("startupalerts_on_reset")
	return on.MatchString(value)
}
