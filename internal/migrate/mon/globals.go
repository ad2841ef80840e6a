package mon

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/monitord/monitord/internal/migrate/moncf"
	"github.com/monitord/monitord/internal/watch"
)

// defaultBaseDir is Debian's; mon has its own folder there.
const defaultBaseDir = "/usr/lib/mon"

// mon's defaults, which scripts may rely on.
const (
	defaultConfigDir = "/etc/mon"
	defaultAlertDir  = "/usr/local/lib/mon/alert.d:alert.d"
	defaultMonDir    = "/usr/local/lib/mon/mon.d:mon.d"
)

// A globalRule says what becomes of a setting.
type globalRule struct {
	// key is the key of the TOML, "" if there is none.
	key string
	// write makes the value; nil for what is not carried.
	write func(im *importer, s moncf.Setting) string
	// instead says why it is not carried, and what there is.
	instead string
}

// The reasons why groups of settings are not carried.
const (
	noServer  = "nothing listens for mon's clients and traps: status and commands go over the control socket, key socket, whose permissions decide who may"
	noAccount = "there are no accounts: who may open the control socket, key socket, may do everything"
	noPidfile = "no file with the process number is written: the service manager knows it, and \"monitord status --json\" tells"
)

var globalRules = map[string]globalRule{
	"alertdir":               {key: "alertdir", write: searchPath},
	"mondir":                 {key: "mondir", write: searchPath},
	"statedir":               {key: "statedir", write: folder},
	"logdir":                 {key: "logdir", write: folder},
	"cfbasedir":              {key: "cfbasedir", write: folder},
	"maxprocs":               {key: "maxprocs", write: number(0)},
	"histlength":             {key: "histlength", write: number(1)},
	"dep_recur_limit":        {key: "dep_recur_limit", write: number(1)},
	"randstart":              {key: "randstart", write: interval},
	"exclude_period":         {key: "exclude_period", write: text},
	"startupalerts_on_reset": {key: "startupalerts_on_reset", write: startupAlertsOnReset},
	"dtlogging":              {key: "dtlogging", write: dtLogging},
	"dtlogfile":              {key: "dtlogfile", write: text},
	"historicfile":           {key: "historicfile", write: text},
	"historictime":           {key: "historictime", write: interval},
	"syslog_facility":        {key: "syslog", write: facility},

	"basedir":     {instead: "mon's own folder: relative folders of this file are written in full"},
	"authfile":    {instead: noAccount},
	"authtype":    {instead: noAccount},
	"userfile":    {instead: noAccount},
	"pamservice":  {instead: noAccount},
	"clientallow": {instead: noServer},
	"cltimeout":   {instead: noServer},
	"serverbind":  {instead: noServer},
	"serverport":  {instead: noServer},
	"trapbind":    {instead: noServer},
	"trapport":    {instead: noServer},
	"pidfile":     {instead: noPidfile},
	"monerrfile":  {instead: "the daemon logs to standard error, which the service manager keeps"},
	"monremote":   {instead: "no program is called for operators' commands: give them with monitord on each machine"},
}

// inherited are the settings that hold for the services after them.
var inherited = map[string]func(*moncf.Service) (written, builtIn string){
	"dep_behavior": func(s *moncf.Service) (string, string) {
		return quote(s.DepBehavior.String()), quote(watch.SuppressAlerts.String())
	},
	"dep_memory": func(s *moncf.Service) (string, string) { return quote(s.DepMemory.String()), quote("0s") },
	"unack_summary": func(s *moncf.Service) (string, string) {
		return strconv.FormatBool(s.UnackSummary), "false"
	},
}

// globals writes the global section.
func (im *importer) globals() {
	im.defaults()
	last := map[string]int{}
	for i, s := range im.file.Globals {
		last[s.Name] = i
	}
	for i, s := range im.file.Globals {
		rule := globalRules[s.Name]
		switch {
		case inherited[s.Name] != nil:
			im.inherit(s)
		case last[s.Name] != i:
			im.leave(&im.global, "", s.Source, "the %s in line %d counts, in mon too", s.Name, im.src.line(im.file.Globals[last[s.Name]].Line))
		case rule.write == nil:
			im.leave(&im.global, "", s.Source, "%s", rule.instead)
		default:
			im.globalValue(rule, s)
		}
	}
}

// globalValue writes a setting, into the table that it belongs to.
func (im *importer) globalValue(rule globalRule, s moncf.Setting) {
	value := rule.write(im, s)
	if value == "" {
		im.leave(&im.global, "", s.Source, "it is empty, which is mon's default")
		return
	}
	into := &im.global
	if rule.key == "syslog" {
		into = &im.log
		into.add(s.Line, "[log]")
	}
	im.put(into, "", s.Source, "%s = %s", rule.key, value)
}

// defaults writes what mon's programs find where the file says nothing: they are
// looked for, and find their files, as before.
func (im *importer) defaults() {
	before := len(im.global.rows)
	for _, d := range []struct{ name, value string }{
		{"cfbasedir", quote(defaultConfigDir)},
		{"alertdir", quotes(im.path(defaultAlertDir))},
		{"mondir", quotes(im.path(defaultMonDir))},
	} {
		if value, ok := im.file.Global(d.name); !ok || value == "" {
			im.global.add(0, d.name+" = "+d.value+"  # mon's default")
		}
	}
	if len(im.global.rows) > before && len(im.file.Globals) > 0 {
		im.global.add(0, "")
	}
}

func (im *importer) base() string {
	if base, ok := im.file.Global("basedir"); ok && base != "" {
		return base
	}
	return defaultBaseDir
}

// below makes a path of mon's absolute: relative ones are below basedir.
func (im *importer) below(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(im.base(), path)
}

func (im *importer) path(text string) []string {
	var folders []string
	for part := range strings.SplitSeq(text, ":") {
		if part != "" {
			folders = append(folders, im.below(part))
		}
	}
	return folders
}

func searchPath(im *importer, s moncf.Setting) string {
	if s.Value == "" {
		return ""
	}
	return quotes(im.path(s.Value))
}

func folder(im *importer, s moncf.Setting) string {
	if s.Value == "" {
		return ""
	}
	if s.Name == "cfbasedir" { // relative to where mon was started; nobody does that
		return quote(s.Value)
	}
	return quote(im.below(s.Value))
}

var leadingNumber = regexp.MustCompile(`^\s*\+?([0-9]+)(?:$|[^0-9])`)

// number writes a whole number as Perl would understand the text.
func number(least int) func(*importer, moncf.Setting) string {
	return func(im *importer, s moncf.Setting) string {
		n := 0
		if m := leadingNumber.FindStringSubmatch(s.Value); m != nil {
			parsed, err := strconv.ParseInt(m[1], 10, 32)
			if err != nil {
				parsed = 1<<31 - 1
			}
			n = int(parsed)
		}
		if n < least {
			im.account.change(s.Source, "%d is less than the %d that %s needs here", n, least, s.Name)
			n = least
		}
		written := strconv.Itoa(n)
		if written != s.Value {
			im.account.change(s.Source, "%q is the number %d", s.Value, n)
		}
		return written
	}
}

func interval(_ *importer, s moncf.Setting) string {
	d, _ := moncf.Timeval(s.Value)
	return duration(s.Value, d)
}

func text(_ *importer, s moncf.Setting) string {
	if strings.TrimSpace(s.Value) == "" {
		return ""
	}
	return quote(s.Value)
}

func dtLogging(im *importer, _ moncf.Setting) string {
	return strconv.FormatBool(im.file.DTLogging())
}

// facility writes the facility of syslog, whose name mon takes as openlog does: in
// either case, and with or without LOG_.
func facility(_ *importer, s moncf.Setting) string {
	name := strings.TrimPrefix(strings.ToLower(s.Value), "log_")
	if name == "" {
		return ""
	}
	return quote(name)
}

func startupAlertsOnReset(im *importer, _ moncf.Setting) string {
	return strconv.FormatBool(im.file.StartupAlertsOnReset())
}

// inherit writes a default for services at the top if it is the same for all of
// them; else each service says it (see inheritedBy).
func (im *importer) inherit(s moncf.Setting) {
	if im.inheritance.forAll(s) {
		value := quote(s.Value)
		switch s.Name {
		case "dep_memory":
			value = interval(im, s)
			im.account.change(s.Source, ignored)
		case "unack_summary":
			value = strconv.FormatBool(strings.ContainsAny(s.Value, "yY1"))
		}
		im.put(&im.global, "", s.Source, "%s = %s", s.Name, value)
		return
	}
	if im.inheritance.heirs[s.Line] == 0 {
		im.leave(&im.global, "", s.Source, "it holds for the services after it, in mon too, and no service takes it")
		return
	}
	im.comments(&im.global, "", s.Source)
	im.account.change(s.Source, "it holds for the services after it only, and stands in these")
}

// An inheritance says which setting of a name a service takes: the last one before
// it, unless it has the keyword itself.
type inheritance struct {
	// times is how often a setting of the name stands in the file.
	times map[string]int
	// giver is the line of the setting, by the name and the line of the service.
	giver map[string]map[int]moncf.Setting
	// heirs counts, by the line of a setting, the services that take it.
	heirs map[int]int
	// firstService is the line of the first service, 0 if there is none.
	firstService int
}

func inheritanceOf(file *moncf.File) inheritance {
	in := inheritance{times: map[string]int{}, giver: map[string]map[int]moncf.Setting{}, heirs: map[int]int{}}
	var given []moncf.Setting
	for _, s := range file.Globals {
		if inherited[s.Name] != nil {
			in.times[s.Name]++
			in.giver[s.Name] = map[int]moncf.Setting{}
			given = append(given, s)
		}
	}
	now := map[string]moncf.Setting{}
	for _, w := range file.Watches {
		for i := range w.Services {
			service := &w.Services[i]
			if in.firstService == 0 {
				in.firstService = service.Line
			}
			for len(given) > 0 && given[0].Line < service.Line {
				now[given[0].Name] = given[0]
				given = given[1:]
			}
			for name, s := range now {
				if !says(service, name) {
					in.giver[name][service.Line] = s
					in.heirs[s.Line]++
				}
			}
		}
	}
	return in
}

// forAll reports whether a setting is the only one of its name and before all
// services.
func (in inheritance) forAll(s moncf.Setting) bool {
	return in.times[s.Name] == 1 && (in.firstService == 0 || s.Line < in.firstService)
}

// says reports whether a service has the keyword itself.
func says(service *moncf.Service, name string) bool {
	for _, k := range service.Keywords {
		if k.Name == name {
			return true
		}
	}
	return false
}
