package simulate

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/monitors"
)

// MaxText is how many bytes of a results file are read.
const MaxText = 8 << 20

// Bounds of what is read and played.
const (
	maxLines = 100_000
	maxLong  = 366 * 24 * time.Hour
	// maxTail is how long a rehearsal without an end of its own goes on after the last line.
	maxTail  = 24 * time.Hour
	lastYear = 9999 // RFC 3339, in which JSON has times
)

// A Script is a results file, read for one site.
type Script struct {
	Name string
	// From and To are the start and the end of the rehearsal, in the script's zone.
	From, To time.Time
	Lines    []*Line
}

// A Line is one thing that happens.
type Line struct {
	Number int
	At     time.Time
	// Text is the line without its time.
	Text string
	act  act
	// seen counts the checks that found what the line says.
	seen int
}

// An act is what a line does.
type act struct {
	verb    verb
	watches []watch.Key
	// hosts are those concerned; nil means all of the watch.
	hosts []string
	exit  int
	long  time.Duration // of a silence
	text  string
}

// A verb is the word that says what happens.
type verb string

const (
	down    verb = "down"
	up      verb = "up"
	unknown verb = "unknown"
	exit    verb = "exit"
	trap    verb = "trap"
	ack     verb = "ack"
	disable verb = "disable"
	enable  verb = "enable"
	silence verb = "silence"
	pause   verb = "pause"
	resume  verb = "resume"
)

// states are the verbs after what they are about, orders those before it.
var (
	states = []string{string(down), string(up), string(unknown), string(exit)}
	orders = []string{string(trap), string(ack), string(disable), string(enable), string(silence), string(pause), string(resume)}
)

// Parse reads a results file for a site. now is the moment that times without a
// date are near to; its location is the time zone unless the file names one. All
// mistakes are returned at once, as [config.Problems].
func Parse(name string, text []byte, site *config.Site, now time.Time) (*Script, error) {
	p := &parser{name: name, site: site, now: now, zone: now.Location(), script: &Script{Name: name}, known: knownOf(site)}
	if len(text) > MaxText {
		p.problem(1, 1, "the file is too long: of its bytes at most %d are read", MaxText)
		return nil, p.problems
	}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\uFEFF")) { // some editors begin a file with it
		if number++; number > maxLines {
			p.problem(number, 1, "there are more than %d lines", maxLines)
			break
		}
		p.line(number, line)
	}
	p.frame()
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return p.script, nil
}

type parser struct {
	name     string
	site     *config.Site
	now      time.Time
	zone     *time.Location
	script   *Script
	known    known
	problems config.Problems
	from, to time.Time // as written; zero if not
	// tail is the end that was written as a time after the last line.
	tail time.Duration
	// fromLine and endLine are where start and end were written; 0 if they were not.
	fromLine, endLine int
	// words are those of the line at hand, and number is its own.
	words  []word
	number int
}

func (p *parser) problem(line, column int, format string, args ...any) {
	p.problems = append(p.problems, config.Problem{File: p.name, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// blame is about a word of the line at hand.
func (p *parser) blame(w word, format string, args ...any) {
	p.problem(p.number, w.column, format, args...)
}

// line reads one line.
func (p *parser) line(number int, text string) {
	var complaint string
	p.number = number
	p.words, complaint = split(text)
	if complaint != "" {
		p.blame(p.words[len(p.words)-1], "%s", complaint)
		return
	}
	if len(p.words) == 0 || p.directive() {
		return
	}
	at, rest, ok := p.time(p.words, p.before())
	if !ok {
		return
	}
	switch {
	case at.Before(p.before()) && len(p.script.Lines) > 0:
		p.blame(p.words[0], "%s is before the line above it, %s: lines stand in the order of time; the next day is %q",
			at.Format(clock), p.before().Format(dated), at.AddDate(0, 0, 1).Format(minuteDated))
		return
	case len(rest) == 0:
		p.blame(p.words[0], "nothing happens at this time: write what, like \"web:http web1 down\"")
		return
	}
	l := &Line{Number: number, At: at, Text: text[rest[0].offset:rest[len(rest)-1].end]}
	if p.act(rest, &l.act) {
		p.script.Lines = append(p.script.Lines, l)
	}
}

// before is the time of the line above, or what stands for it.
func (p *parser) before() time.Time {
	if n := len(p.script.Lines); n > 0 {
		return p.script.Lines[n-1].At
	}
	if !p.from.IsZero() {
		return p.from
	}
	return p.now.In(p.zone)
}

// directive reads lines about the whole file.
func (p *parser) directive() bool {
	words := p.words
	switch words[0].text {
	case "zone":
		p.readZone(words)
	case "start":
		if len(words) == 1 {
			p.blame(words[0], "start needs a time, like \"start Sun 01:55\"")
			return true
		}
		switch {
		case p.fromLine > 0:
			p.blame(words[0], "start stands in line %d already", p.fromLine)
			return true
		case len(p.script.Lines) > 0:
			p.blame(words[0], "start has to stand above what happens")
			return true
		}
		p.fromLine = p.number
		if at, rest, ok := p.time(words[1:], p.now.In(p.zone)); ok && p.nothing(rest) {
			p.from = at
		}
	case "end":
		p.readEnd(words)
	default:
		return false
	}
	return true
}

func (p *parser) readZone(words []word) {
	if len(words) != 2 {
		p.blame(words[0], "zone needs the name of one time zone, like \"zone Europe/Berlin\"")
		return
	}
	zone, err := time.LoadLocation(words[1].text)
	switch {
	case err != nil:
		p.blame(words[1], "there is no time zone %q: write one like Europe/Berlin, UTC or Local", words[1].text)
	case len(p.script.Lines) > 0 || !p.from.IsZero():
		p.blame(words[0], "zone has to stand above all times")
	default:
		p.zone = zone
	}
}

func (p *parser) readEnd(words []word) {
	switch {
	case len(words) == 1:
		p.blame(words[0], "end needs a time, like \"end 03:00\" or \"end +1h\"")
		return
	case p.endLine > 0:
		p.blame(words[0], "end stands in line %d already", p.endLine)
		return
	}
	p.endLine = p.number
	if d, relative, ok := p.after(words[1]); relative {
		if ok && p.nothing(words[2:]) {
			p.tail, p.to = d, time.Time{}
		}
		return
	}
	if at, rest, ok := p.time(words[1:], p.before()); ok && p.nothing(rest) {
		p.to, p.tail = at, 0
	}
}

func (p *parser) nothing(rest []word) bool {
	if len(rest) > 0 {
		p.blame(rest[0], "%q is not understood here", rest[0].text)
	}
	return len(rest) == 0
}

// act reads what happens.
func (p *parser) act(words []word, a *act) bool {
	if first := words[0].text; slices.Contains(orders, first) {
		a.verb = verb(first)
		return p.order(words[0], words[1:], a)
	}
	at := slices.IndexFunc(words, func(w word) bool { return !w.quoted && slices.Contains(states, w.text) })
	if at < 1 {
		p.blame(words[min(1, len(words)-1)], "the line does not say what happens to %s: write down, up, unknown, or exit and a number", words[0].text)
		return false
	}
	a.verb, a.text = verb(words[at].text), joined(words[at+1:])
	if !p.subject(words[:at], a) {
		return false
	}
	if a.verb == exit {
		return p.exit(words[at], words[at+1:], a)
	}
	return true
}

// subject finds whom a state is about: a watch, some of its hosts, a host of
// whatever watch, or a group.
func (p *parser) subject(words []word, a *act) bool {
	name := words[0].text
	switch {
	case p.known.match(name) != nil:
		a.watches = p.known.match(name)
	case len(p.known.byHost[name]) > 0:
		a.watches, a.hosts = p.known.byHost[name], []string{name}
	case len(p.known.byGroup[name]) > 0:
		a.watches = p.known.byGroup[name]
	default:
		p.blame(words[0], "%q is no watch, no host and no group of the configuration%s", name, config.DidYouMean(name, p.known.names(), "there are"))
		return false
	}
	if a.hosts != nil && len(words) > 1 {
		p.blame(words[1], "%q is not understood: %s is a host, and what happens to it comes next; write down, up or unknown", words[1].text, name)
		return false
	}
	for _, w := range words[1:] {
		if !slices.ContainsFunc(a.watches, func(k watch.Key) bool { return slices.Contains(p.known.hosts[k], w.text) }) {
			p.blame(w, "%s has no host %q%s", name, w.text, config.DidYouMean(w.text, p.known.hosts[a.watches[0]], "it has"))
			return false
		}
		a.hosts = append(a.hosts, w.text)
	}
	for _, k := range a.watches {
		if p.known.watches[k].Monitor == nil {
			p.blame(words[0], "%s has no monitor, it lives by traps: write \"trap %s 1 SUMMARY\"", k, k)
			return false
		}
	}
	return true
}

// A judge is a monitor with an exit status of its own.
type judge interface {
	Judge(hosts []string, exit int, output []byte) (monitors.Result, error)
}

// exit reads the exit status and the output of a program.
func (p *parser) exit(at word, words []word, a *act) bool {
	if len(words) == 0 {
		p.blame(at, "exit needs the exit status, and may have the output behind it: \"exit 1 web1 web2\"")
		return false
	}
	n, err := strconv.Atoi(words[0].text)
	if err != nil || n < 0 || n > 255 {
		p.blame(words[0], "%q is no exit status: write a number from 0 to 255", words[0].text)
		return false
	}
	for _, k := range a.watches {
		w := p.known.watches[k]
		_, isProgram := w.Monitor.(judge)
		if !isProgram && w.IsProgram {
			p.blame(at, "the program of %s is not there, which could judge an exit status: write down, up or unknown", k)
			return false
		}
		if !isProgram {
			p.blame(at, "%s is tested by %q, which has no exit status: write down, up or unknown", k, w.MonitorKind)
			return false
		}
	}
	if a.hosts != nil {
		p.blame(at, "a program has one exit status for all hosts: name the watch only, and the hosts that failed behind the exit status")
		return false
	}
	a.exit, a.text = n, joined(words[1:])
	return true
}

// order reads what somebody sends or says.
func (p *parser) order(verb word, words []word, a *act) bool {
	switch a.verb {
	case pause, resume:
		a.text = joined(words)
		return true
	case disable, enable:
		if len(words) == 0 {
			p.blame(verb, "%s what? Write a watch, a host or a group", verb.text)
			return false
		}
		a.text = joined(words[1:])
		return p.subjectOf(words[0], a)
	case silence:
		return p.silence(verb, words, a)
	case trap, ack, down, up, unknown, exit:
	}
	if len(words) == 0 {
		p.blame(verb, "%s for which watch? Write GROUP:SERVICE", verb.text)
		return false
	}
	a.watches = p.known.match(words[0].text)
	if a.watches == nil && a.verb == trap {
		group, service, ok := strings.Cut(words[0].text, ":")
		a.watches = []watch.Key{{Group: group, Service: service}} // it may go to the group default
		if ok && slices.Contains(slices.Collect(maps.Keys(p.known.byGroup)), "default") {
			return p.trap(verb, words[1:], a)
		}
	}
	if p.known.match(words[0].text) == nil {
		p.blame(words[0], "there is no watch %q%s", words[0].text, config.DidYouMean(words[0].text, p.known.keys(), "there are"))
		return false
	}
	if a.verb == trap {
		return p.trap(verb, words[1:], a)
	}
	a.text = joined(words[1:])
	return true
}

// subjectOf is a watch, a host or a group that is disabled.
func (p *parser) subjectOf(w word, a *act) bool {
	switch {
	case p.known.match(w.text) != nil:
		a.watches = p.known.match(w.text)
	case len(p.known.byHost[w.text]) > 0:
		a.hosts = []string{w.text}
	case len(p.known.byGroup[w.text]) > 0:
		a.watches = []watch.Key{{Group: w.text}}
	default:
		p.blame(w, "%q is no watch, no host and no group of the configuration%s", w.text, config.DidYouMean(w.text, p.known.names(), "there are"))
		return false
	}
	return true
}

func (p *parser) silence(at word, words []word, a *act) bool {
	if len(words) < 2 {
		p.blame(at, "silence what, and for how long? Write \"silence web:http 2h\"")
		return false
	}
	long, err := time.ParseDuration(words[1].text)
	if err != nil || long <= 0 {
		p.blame(words[1], "%q is no time that a silence lasts: write 30m or 2h", words[1].text)
		return false
	}
	a.long, a.text = long, joined(words[2:])
	return p.subjectOf(words[0], a)
}

func (p *parser) trap(at word, words []word, a *act) bool {
	if len(words) == 0 {
		p.blame(at, "a trap needs its status, 0 for good: \"trap web:backup 1 no space left\"")
		return false
	}
	n, err := strconv.Atoi(words[0].text)
	if err != nil || n < 0 {
		p.blame(words[0], "%q is no status of a trap: write 0, or a number above", words[0].text)
		return false
	}
	a.exit, a.text = n, joined(words[1:])
	return true
}

// known is what lines may name.
type known struct {
	watches map[watch.Key]*config.Watch
	order   []watch.Key
	hosts   map[watch.Key][]string
	byHost  map[string][]watch.Key
	byGroup map[string][]watch.Key
}

func knownOf(site *config.Site) known {
	k := known{watches: map[watch.Key]*config.Watch{}, hosts: map[watch.Key][]string{}, byHost: map[string][]watch.Key{}, byGroup: map[string][]watch.Key{}}
	for i := range site.Watches {
		w := &site.Watches[i]
		k.watches[w.Key], k.hosts[w.Key] = w, w.Hosts
		k.order = append(k.order, w.Key)
		k.byGroup[w.Group] = append(k.byGroup[w.Group], w.Key)
		if w.Monitor == nil {
			continue
		}
		for _, h := range w.Hosts {
			k.byHost[h] = append(k.byHost[h], w.Key)
		}
	}
	return k
}

// match returns the watches that a word with a colon names; a star in either half
// stands for any text.
func (k known) match(text string) []watch.Key {
	group, service, ok := strings.Cut(text, ":")
	if !ok {
		return nil
	}
	if key := (watch.Key{Group: group, Service: service}); k.watches[key] != nil {
		return []watch.Key{key}
	}
	if !strings.Contains(text, "*") {
		return nil
	}
	var all []watch.Key
	for _, key := range k.order {
		byGroup, err := path.Match(group, key.Group)
		byService, worse := path.Match(service, key.Service)
		if byGroup && byService && err == nil && worse == nil && k.watches[key].Monitor != nil {
			all = append(all, key)
		}
	}
	return all
}

func (k known) keys() []string {
	all := make([]string, len(k.order))
	for i, key := range k.order {
		all[i] = key.String()
	}
	return all
}

func (k known) names() []string {
	return slices.Concat(k.keys(), slices.Collect(maps.Keys(k.byHost)), slices.Collect(maps.Keys(k.byGroup)), orders)
}

// frame decides on the start and the end.
func (p *parser) frame() {
	s := p.script
	if len(p.problems) > 0 {
		return
	}
	if len(s.Lines) == 0 && (p.from.IsZero() || p.to.IsZero() && p.tail == 0) {
		p.problem(1, 1, "nothing happens in this file: write lines like \"02:00 web:http web1 down\"")
		return
	}
	slowest, rise := p.slowest()
	if s.From = p.from; s.From.IsZero() {
		warm := min(max(2*slowest+10*time.Second, time.Minute), time.Hour)
		s.From = s.Lines[0].At.Add(-warm)
	}
	last, number := s.From, 1
	if n := len(s.Lines); n > 0 {
		last, number = s.Lines[n-1].At, s.Lines[n-1].Number
	}
	if p.endLine > 0 {
		number = p.endLine
	}
	switch {
	case !p.to.IsZero():
		s.To = p.to
	case p.tail > 0:
		s.To = last.Add(p.tail)
	default:
		s.To = last.Add(min(max(time.Duration(rise+2)*slowest, 10*time.Minute), maxTail))
		if seen := p.seenByCalendar(last); seen.After(s.To) {
			s.To = seen
		}
	}
	switch long := s.To.Sub(s.From); {
	case s.To.Before(last) || long <= 0:
		p.problem(number, 1, "the end, %s, is before the last line, %s", s.To.Format(dated), last.Format(dated))
	case s.To.Year() > lastYear:
		p.problem(number, 1, "the rehearsal would end after the year %d", lastYear)
	case long > maxLong:
		p.problem(number, 1, "the rehearsal would last %s, at most %s are played: write an earlier end", long, maxLong)
	}
}

// seenByCalendar is when each watch that runs by a calendar has run once after a moment,
// maxTail later at the latest.
func (p *parser) seenByCalendar(after time.Time) time.Time {
	last := after
	for i := range p.site.Watches {
		if calendar := p.site.Watches[i].Cron; calendar != nil {
			if at := calendar.Next(after); at.After(last) {
				last = at
			}
		}
	}
	if bound := after.Add(maxTail); last.After(bound) {
		return bound
	}
	return last
}

// slowest is the longest interval of the watches, and the highest rise.
func (p *parser) slowest() (interval time.Duration, rise int) {
	for i := range p.site.Watches {
		w := &p.site.Watches[i]
		interval, rise = max(interval, w.Interval), max(rise, w.Rise)
	}
	return interval, rise
}

// joined is the free text at the end of a line.
func joined(words []word) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = w.text
	}
	return strings.Join(texts, " ")
}
