package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/migrate/moncf"
	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/watch"
)

// The traces are recordings of mon 1.3.6: what came in, event by event, and each
// alert that mon called for it. MONITORD_GOLDEN names another folder of them.
const (
	goldenFolder = "testdata/golden"
	// fewestTraces is what the folder in the tree holds.
	fewestTraces = 104
)

// A trace is one recording.
type trace struct {
	Name       string
	Tags       []string
	ConfigText string `json:"config_text"`
	Actions    []struct{ Trap *traceTrap }
	Trace      struct {
		Events       []traceEvent
		Alerts       []traceAlert
		MonitorCalls []traceCall `json:"monitor_calls"`
	}
}

type traceEvent struct {
	Kind, Service, Cmd, Signal, Text, Result, Exit string
	N, T, Seq                                      int
	Reply                                          []string
	Args                                           []string
}

type traceAlert struct {
	TriggerSeq int `json:"trigger_seq"`
	Trigger    string
	Kind       string
	Script     string
	Argv       []string
	Env        map[string]string
	Stdin      string
}

type traceCall struct {
	Service string
	N       int
	Argv    []string
	Env     map[string]string
}

// A difference is a scenario in which we do on purpose what mon does not.
type difference struct {
	rule, why string
	// drop and add turn mon's alerts into ours, each written "trigger kind script".
	drop, add []string
	// dropped tells it of one alert where the rule can be computed.
	dropped func(tr *trace, a traceAlert) bool
}

var upAlertAfter = difference{
	rule: "upalertafter has no effect in mon 1.3.6",
	why:  "mon(8): an upalert is called if the service was down for at least that time; people write it to be spared blips",
	dropped: func(tr *trace, a traceAlert) bool {
		_, after, _ := strings.Cut(tr.ConfigText, "upalertafter ")
		limit, ok := moncf.Timeval(strings.Fields(after)[0])
		return ok && a.Kind == "upalert" && a.second("-t")-a.second("MON_FIRST_FAILURE") < int(limit.Seconds())
	},
}

// second is a time of the alert, in seconds since the start of the trace: of an
// option or a variable.
func (a traceAlert) second(name string) int {
	text := a.Env[name]
	if i := slices.Index(a.Argv, name); i >= 0 {
		text = a.Argv[i+1]
	}
	n, err := strconv.Atoi(strings.TrimPrefix(text, "@T+"))
	if err != nil {
		panic(fmt.Sprintf("%s=%q is no time", name, text))
	}
	return n
}

// differences lists every one; any other scenario must match.
var differences = map[string]difference{
	"upalertafter":       upAlertAfter,
	"upalertafter_short": upAlertAfter,
	"dep_memory": {
		rule: "dep_memory has no effect in mon 1.3.6",
		why:  "mon(8): a dependency goes on preventing alerts for that time after its recovery",
		drop: []string{"run g/s#4 alert a.alert", "run g/s#5 alert a.alert"},
	},
}

func TestGoldenTraces(t *testing.T) {
	folder, fewest := goldenFolder, fewestTraces
	if other := os.Getenv("MONITORD_GOLDEN"); other != "" {
		folder, fewest = other, 1
	}
	files, err := filepath.Glob(filepath.Join(folder, "[^_]*.json"))
	if err != nil {
		t.Fatal(err)
	}
	replayed := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			replay(t, readTrace(t, file))
			replayed++
		})
	}
	if replayed != len(files) || replayed < fewest {
		t.Errorf("%d of %d traces in %s were replayed, want at least %d", replayed, len(files), folder, fewest)
	}
	t.Logf("%d traces replayed, %d differ on purpose", replayed, len(differences))
}

func readTrace(t *testing.T, file string) *trace {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tr := &trace{}
	if err := json.Unmarshal(text, tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

var placeholders = strings.NewReplacer("@PORT@", "2583", "@TRAPPORT@", "2584")

// A replayer plays one trace to the machine.
type replayer struct {
	*testing.T
	trace  *trace
	set    *watch.Set
	file   *moncf.File
	lines  map[string]moncf.AlertLine
	now    time.Time
	called []string // our alerts, written for comparison
	// trapsSent counts the actions that were looked at for traps.
	trapsSent int
	saved     []watch.Saved
	// imported is set if the mon.cf is played as the TOML that the importer makes.
	imported *importedSite
}

// t0 is the second in which every trace starts.
var t0 = time.Unix(1_790_000_000, 0).UTC()

func replay(t *testing.T, tr *trace) {
	p := &replayer{T: t, trace: tr, now: t0, called: []string{}}
	file, err := moncf.Parse("mon.cf", strings.NewReader(placeholders.Replace(tr.ConfigText)))
	if err != nil {
		p.wantError(err)
		return
	}
	p.file = file
	p.play()
}

// play plays the events to the machines, and compares the alerts.
func (p *replayer) play() {
	machines := p.machines()
	p.set = watch.New(machines, watch.Options{})
	p.take(0, p.set.Start(p.now))
	for _, e := range p.trace.Trace.Events {
		p.now = t0.Add(time.Duration(e.T) * time.Second)
		p.take(e.Seq, p.set.ForgetTraps(p.now))
		p.event(e)
	}
	p.droppedTraps()
	p.compare()
}

func (p *replayer) machines() []watch.Config {
	if p.imported != nil {
		return p.imported.machines()
	}
	machines, lines := p.file.Machines(func(name string) bool { return !strings.HasPrefix(name, "nosuch") })
	p.lines = lines
	return machines
}

// wantError is for configurations that mon refuses.
func (p *replayer) wantError(err error) {
	if _, ok := errors.AsType[*moncf.Error](err); !ok {
		p.Fatal(err)
	}
	for _, e := range p.trace.Trace.Events {
		if e.Kind == "stderr" && strings.TrimSpace(e.Text) == strings.TrimSpace(err.Error()) {
			return
		}
	}
	p.Errorf("refused with %q, which mon does not say", err)
}

func key(text string) watch.Key {
	group, service, _ := strings.Cut(text, "/")
	return watch.Key{Group: group, Service: service}
}

func (p *replayer) event(e traceEvent) {
	switch e.Kind {
	case "run":
		p.run(e)
	case "trap":
		p.trap(e)
	case "traptimeout":
		p.take(e.Seq, p.set.SilentTrap(p.now, key(e.Service)))
	case "client":
		p.client(e)
	case "signal":
		p.reset(e, true)
	case "restart":
		p.restart(e)
	case "stderr":
	default:
		p.Fatalf("event %d: unknown kind %q", e.Seq, e.Kind)
	}
}

func (p *replayer) run(e traceEvent) {
	k := key(e.Service)
	p.monitorCall(e)
	exit, err := strconv.Atoi(e.Exit)
	if err != nil {
		p.Fatalf("event %d: exit status %q", e.Seq, e.Exit)
	}
	p.take(e.Seq, p.set.Result(p.now, k, watch.Result{Exit: exit, Output: output(e.Result)}))
}

// monitorCall compares the hosts that mon gave the monitor. With dependencies on
// other services the moment counts, which the trace does not tell to the event.
func (p *replayer) monitorCall(e traceEvent) {
	if slices.ContainsFunc(p.trace.Tags, func(tag string) bool { return strings.HasPrefix(tag, "depend") }) {
		return
	}
	for _, call := range p.trace.Trace.MonitorCalls {
		if call.Service != e.Service || call.N != e.N {
			continue
		}
		hosts, skip, _ := p.set.Request(p.now, key(e.Service))
		if skip != "" {
			continue // stopped or disabled after the call
		}
		s := p.service(key(e.Service))
		args := slices.Concat([]string{call.Argv[0]}, s.Monitor.Args, hosts)
		if p.changedSince(e, "host") {
			continue
		}
		if diff := cmp.Diff(call.Argv, args); diff != "" {
			p.Errorf("call %d of %s (-mon +us):\n%s", e.N, e.Service, diff)
		}
	}
}

// changedSince reports whether a client changed hosts during the run.
func (p *replayer) changedSince(e traceEvent, word string) bool {
	for _, other := range p.trace.Trace.Events {
		if other.Kind == "client" && other.Seq < e.Seq && other.T >= e.T-4 && strings.Contains(other.Cmd, word) {
			return true
		}
	}
	return false
}

func (p *replayer) service(k watch.Key) *moncf.Service {
	for _, w := range p.file.Watches {
		for i := range w.Services {
			if w.Group == k.Group && w.Services[i].Name == k.Service {
				return &w.Services[i]
			}
		}
	}
	p.Fatalf("no service %s", k)
	return nil
}

// output is the text of a scripted result, "EXIT|TEXT" with printf's escapes.
func output(result string) string {
	_, text, _ := strings.Cut(result, "|")
	var out []byte
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out = append(out, text[i])
			continue
		}
		i++
		switch text[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case '0':
			n, digits := 0, 0
			for digits < 3 && i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '7' {
				i++
				n, digits = n*8+int(text[i]-'0'), digits+1
			}
			out = append(out, byte(n))
		default:
			out = append(out, text[i])
		}
	}
	return string(out)
}

func (p *replayer) compare() {
	d, listed := differences[p.trace.Name]
	mon := slices.Clone(p.trace.Trace.Alerts)
	if d.dropped != nil {
		mon = slices.DeleteFunc(mon, func(a traceAlert) bool { return d.dropped(p.trace, a) })
	}
	want := mapTo(mon, p.written)
	if listed {
		want = d.apply(p.T, want)
	}
	slices.Sort(want)
	slices.Sort(p.called)
	if diff := cmp.Diff(want, p.called); diff != "" {
		p.Errorf("alerts differ (-mon +us):\n%s", diff)
		for _, k := range p.set.Keys() {
			v, _ := p.set.View(k)
			for _, d := range v.Decisions {
				p.Logf("%s t=%d %s", k, int(d.At.Sub(t0).Seconds()), d)
			}
		}
	}
}

// apply turns mon's alerts into what is wanted of us.
func (d difference) apply(t *testing.T, mon []string) []string {
	for _, gone := range d.drop {
		before := len(mon)
		mon = slices.DeleteFunc(mon, func(a string) bool { return strings.HasPrefix(a, gone+"\n") })
		if len(mon) != before-1 {
			t.Errorf("the list of differences drops %q, which is not one of mon's alerts", gone)
		}
	}
	return append(mon, d.add...)
}

func mapTo[A, B any](in []A, f func(A) B) []B {
	out := []B{}
	for _, a := range in {
		out = append(out, f(a))
	}
	return out
}

// anyDate hides the date that mon prints into the output of a trap timeout.
var anyDate = regexp.MustCompile(`at \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}`)

// written is everything about an alert that must match, in one text.
func (p *replayer) written(a traceAlert) string {
	kind, _, _ := strings.Cut(a.Kind, "(")
	env := map[string]string{}
	for name, value := range a.Env {
		env[name] = bytesOf(value)
	}
	return text(a.Trigger, kind, a.Script, mapTo(a.Argv, bytesOf), env, bytesOf(a.Stdin))
}

// bytesOf undoes what the recorder did to write bytes as JSON: each byte became
// the character of that number.
func bytesOf(s string) string {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		out = append(out, byte(r))
	}
	return string(out)
}

func text(trigger, kind, script string, argv []string, env map[string]string, stdin string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s %s\n", trigger, kind, script)
	fmt.Fprintf(&out, "argv %q\n", argv)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&out, "%s=%q\n", name, anyDate.ReplaceAllString(env[name], "at DATE"))
	}
	fmt.Fprintf(&out, "stdin %q\n", anyDate.ReplaceAllString(stdin, "at DATE"))
	return out.String()
}

// take writes down our alerts as the trace does.
func (p *replayer) take(seq int, notices []watch.Notice) {
	for i := range notices {
		n := &notices[i]
		if p.imported != nil {
			p.called = append(p.called, p.imported.called(p, seq, n))
			continue
		}
		line, ok := p.lines[n.Action.ID]
		if !ok {
			p.Fatalf("notice of an unknown action %q", n.Action.ID)
		}
		s := p.service(n.Key)
		w := &config.Watch{Config: watch.Config{Key: n.Key}, Description: s.Description, Env: s.Vars}
		e := event(w, n)
		program := monprog.Program{Path: "@ALERTDIR@/" + line.Program, Args: line.Args}
		call := program.Alert(e, alerts.Site{StateDir: "@DIR@/state", LogDir: "@DIR@/log", ConfigDir: "@DIR@"})
		p.called = append(p.called, text(p.trigger(seq), kindWord(n), line.Program, relativeAll(call.Args), environment(call.Env), string(call.Stdin)))
	}
}

func kindWord(n *watch.Notice) string {
	k := n.Kind
	if k == watch.Test {
		if k = n.Testing; k == watch.Failure {
			return "test"
		}
	}
	switch k {
	case watch.Trap, watch.TrapTimeout:
		return "alert"
	default:
		return k.String()
	}
}

func (p *replayer) trigger(seq int) string {
	if seq == 0 {
		return "startup"
	}
	for _, a := range p.trace.Trace.Alerts {
		if a.TriggerSeq == seq {
			return a.Trigger
		}
	}
	return fmt.Sprintf("event %d", seq)
}

var epochPattern = regexp.MustCompile(`^17900\d{5}$`)

func relative(s string) string {
	if !epochPattern.MatchString(s) {
		return s
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return fmt.Sprintf("@T+%d", n-t0.Unix())
}

func relativeAll(in []string) []string { return mapTo(in, relative) }

func environment(vars []string) map[string]string {
	out := map[string]string{}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		out[name] = relative(value)
	}
	return out
}
