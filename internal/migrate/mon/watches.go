package mon

import (
	"fmt"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/migrate/moncf"
	"github.com/monitord/monitord/internal/watch"
)

const (
	// shortest is the shortest interval of a watch.
	shortest = 100 * time.Millisecond
	// programTime is how long a monitor may run at least: mon sets no limit, and a
	// script that takes its time is to end as before.
	programTime = 5 * time.Minute
	// steady is the shortest interval that mon keeps: it notices the end of a monitor a
	// second late, and starts the next one later still.
	steady = 3 * time.Second
)

// ignored is what mon 1.3.6 reads and takes no notice of.
const ignored = "mon 1.3.6 takes no notice of it, against its manual: here it does what the manual says"

// watch writes a [[watch]] for each service.
func (im *importer) watch(w *moncf.Watch) {
	if len(w.Services) == 0 {
		im.leave(&im.watches, "", w.Source, "a watch without a service tests nothing")
		return
	}
	for i := range w.Services {
		if len(im.watches.rows) > 0 {
			im.watches.add(0, "")
		}
		s := service{importer: im, Service: &w.Services[i], group: w.Group}
		if i == 0 {
			im.comments(&im.watches, "", w.Source)
		}
		s.write(w)
	}
}

// A service is one while it is written.
type service struct {
	*importer
	*moncf.Service
	group string
	// last is the line of the keyword that counts, by its name.
	last map[string]int
}

func (s *service) write(w *moncf.Watch) {
	s.last = map[string]int{}
	for _, k := range s.Keywords {
		s.last[k.Name] = k.Line
	}
	s.put(&s.watches, "", s.Service.Source, "[[watch]]")
	s.account.carry(w.Source, s.row(w.Line, "group = "+quote(s.group)))
	s.account.carry(s.Service.Source,
		s.row(s.Service.Line, "service = "+quote(s.Name)),
		s.row(s.Service.Line, s.scope()))
	for _, k := range s.Keywords {
		s.keyword(k)
	}
	s.inherited()
	for i := range s.Periods {
		p := periodWriter{service: s, Period: &s.Periods[i]}
		p.write()
	}
}

// scope is the key, and for the first watch what it means.
func (s *service) scope() string {
	const key = `scope = "group"`
	if s.explained {
		return key
	}
	s.explained = true
	return key + "  # mon's way: the group fails or is well as a whole"
}

func (s *service) row(from int, text string) *row { return s.watches.add(from, text) }

// inherited writes what the service takes from settings that stand before some
// services only.
func (s *service) inherited() {
	for _, name := range []string{"dep_behavior", "dep_memory", "unack_summary"} {
		given, ok := s.inheritance.giver[name][s.Service.Line]
		if !ok || s.inheritance.forAll(given) {
			continue
		}
		if written, builtIn := inherited[name](s.Service); written != builtIn {
			s.account.carry(given.Source, s.row(given.Line, name+" = "+written))
		}
	}
}

// serviceWriters write the keywords of a service.
var serviceWriters = map[string]func(*service, moncf.Setting){
	"interval":          (*service).interval,
	"failure_interval":  (*service).failureInterval,
	"randskew":          (*service).randSkew,
	"traptimeout":       traps("none come in, so that it fails each time; take this out, and write a monitor for what the traps told", func(s *service) time.Duration { return s.TrapTimeout }),
	"trapduration":      traps("it has no effect", func(s *service) time.Duration { return s.TrapDuration }),
	"monitor":           (*service).monitor,
	"redistribute":      (*service).redistribute,
	"description":       (*service).description,
	"allow_empty_group": func(s *service, k moncf.Setting) { s.set(k, "true") },
	"exclude_hosts":     func(s *service, k moncf.Setting) { s.set(k, quotes(s.ExcludeHosts)) },
	"exclude_period":    (*service).excludePeriod,
	"unack_summary":     func(s *service, k moncf.Setting) { s.set(k, fmt.Sprint(s.UnackSummary)) },
	"depend":            depend(func(s *service) string { return s.Depend }),
	"alertdepend":       depend(func(s *service) string { return s.AlertDepend }),
	"monitordepend":     depend(func(s *service) string { return s.MonitorDepend }),
	"hostdepend":        depend(func(s *service) string { return s.HostDepend }),
	"dep_behavior":      func(s *service, k moncf.Setting) { s.set(k, quote(s.DepBehavior.String())) },
	"dep_memory": func(s *service, k moncf.Setting) {
		s.set(k, duration(k.Value, s.DepMemory))
		s.account.change(k.Source, ignored)
	},
}

func (s *service) keyword(k moncf.Setting) {
	write := serviceWriters[k.Name]
	switch {
	case s.last[k.Name] != k.Line:
		s.drop(k, "the %s in line %d counts, in mon too", k.Name, s.src.line(s.last[k.Name]))
	case write != nil:
		write(s, k)
	default:
		s.variable(k)
	}
}

// set writes a keyword under its own name.
func (s *service) set(k moncf.Setting, value string) {
	s.put(&s.watches, "", k.Source, "%s = %s", k.Name, value)
}

// drop leaves a keyword out.
func (s *service) drop(k moncf.Setting, format string, args ...any) {
	s.leave(&s.watches, "", k.Source, format, args...)
}

// variable writes "NAME=value".
func (s *service) variable(k moncf.Setting) {
	if strings.HasPrefix(k.Name, "MON_") {
		s.drop(k, "names that begin with MON_ are the program's own, and mon sets its own after this")
		return
	}
	s.put(&s.watches, "", k.Source, "env.%s = %s", k.Name, quote(k.Value))
}

// runs reports whether mon ever runs the monitor.
func (s *service) runs() bool {
	return s.Interval > 0 && s.Monitor != nil && !s.Monitor.Unbalanced && s.Monitor.Program != ""
}

func (s *service) interval(k moncf.Setting) {
	if !s.runs() {
		s.drop(k, "there is no monitor that could be run: nothing is tested, in mon either")
		return
	}
	d := s.paced(k, s.Interval)
	s.set(k, duration(k.Value, d))
	if d < steady {
		s.account.change(k.Source, "mon comes to it every 2 to 3 seconds only; here it runs each %s", roundDuration(d))
	}
}

// paced holds an interval to the shortest.
func (s *service) paced(k moncf.Setting, d time.Duration) time.Duration {
	if d < shortest {
		s.account.change(k.Source, "%s is shorter than the shortest interval, %s", d, shortest)
		return shortest
	}
	return d
}

func (s *service) failureInterval(k moncf.Setting) {
	if !s.runs() {
		s.drop(k, "nothing is run by an interval")
		return
	}
	s.set(k, duration(k.Value, s.paced(k, s.FailureInterval)))
}

func (s *service) randSkew(k moncf.Setting) {
	interval := max(s.Interval, shortest)
	switch {
	case !s.runs():
		s.drop(k, "nothing is run by an interval")
	case s.RandSkew >= interval:
		s.account.change(k.Source, "a random time as long as the interval is cut to just below it")
		s.set(k, quote((interval - time.Millisecond).String()))
	default:
		s.set(k, duration(k.Value, s.RandSkew))
	}
}

func traps(meaning string, of func(*service) time.Duration) func(*service, moncf.Setting) {
	return func(s *service, k moncf.Setting) {
		s.set(k, duration(k.Value, of(s)))
		s.account.change(k.Source, "nothing listens for traps: %s", meaning)
	}
}

func (s *service) monitor(k moncf.Setting) {
	m := s.Monitor
	switch {
	case m.Program == "":
		s.drop(k, "no monitor is named")
		return
	case m.Unbalanced:
		s.drop(k, "a quote or backslash lacks its fellow: mon cannot start this monitor and counts each run as a failure; here nothing is tested: mend the line")
		return
	case s.Interval == 0:
		s.drop(k, "without an interval mon never runs it")
		return
	}
	parts := append([]string{`type = "exec"`, "program = " + quote(m.Program)}, s.arguments(m.Args)...)
	if m.NoHosts {
		parts = append(parts, "hosts = false")
	}
	parts = append(parts, "timeout = "+quote(roundDuration(max(programTime, s.Interval))))
	s.set(k, "{ "+strings.Join(parts, ", ")+" }")
	s.suggestMonitor(k.Source, m.Program)
}

// roundDuration writes a duration without zeros at its end.
func roundDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// arguments writes the key args, if there are any.
func (s *service) arguments(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	return []string{"args = " + quotes(args)}
}

func (s *service) redistribute(k moncf.Setting) {
	if s.Redistribute == nil {
		s.drop(k, "it is empty")
		return
	}
	s.set(k, s.program(*s.Redistribute))
	if s.Redistribute.NeverFound {
		s.account.change(k.Source, "mon looks for a program of this whole text and does not find it; so does this")
	}
}

func (s *service) description(k moncf.Setting) {
	if k.Value == "" {
		s.drop(k, "it is empty")
		return
	}
	s.set(k, quote(k.Value))
}

func (s *service) excludePeriod(k moncf.Setting) {
	if strings.TrimSpace(k.Value) == "" {
		s.drop(k, "it is empty")
		return
	}
	s.set(k, quote(k.Value))
}

func depend(of func(*service) string) func(*service, moncf.Setting) {
	return func(s *service, k moncf.Setting) {
		expression := of(s)
		if strings.TrimSpace(expression) == "" {
			s.drop(k, "it is empty")
			return
		}
		if written := k.Value; selfReplaced(written, s.group) == expression {
			expression = written
		}
		s.set(k, quote(expression))
		if _, err := watch.ParseExpr(of(s)); err != nil {
			s.account.change(k.Source, "%v: it is undecided for ever, in mon too", err)
		}
	}
}
