package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/scribe"
	"github.com/monitord/monitord/internal/watch"
)

// # mon's own logs
//
// Two files in the form that mon gives them, for the programs that read these. The
// downtime log (dtlogfile) gets a line for each recovery:
//
//	EPOCH_UP GROUP SERVICE EPOCH_FIRST_FAILURE SECONDS_DOWN INTERVAL SUMMARY
//
// and three lines that begin with # at each start and reload. The alert history
// (historicfile) gets a line for each alert when it is called, and is read back:
//
//	TYPE GROUP SERVICE EPOCH ALERT (ARGUMENTS) SUMMARY

// monLogs has a scribe for each file: one that cannot be written costs its own lines.
type monLogs struct {
	log logrus.FieldLogger

	mu      sync.Mutex // protects what follows
	files   map[string]*scribe.Scribe[string]
	stop    <-chan struct{} // nil before run
	ended   bool
	writing sync.WaitGroup
}

func newMonLogs(log logrus.FieldLogger) *monLogs {
	return &monLogs{log: log, files: map[string]*scribe.Scribe[string]{}}
}

// put adds a line to a file. It does not wait.
func (l *monLogs) put(path, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.files[path]
	if s == nil {
		s = scribe.New(func(lines []string) error { return appendTo(path, strings.Join(lines, "")) }, sayWritten(l.log, "mon's log "+path))
		l.files[path] = s
		l.employ(s)
	}
	s.Put(line)
}

// employ has somebody work for a scribe while run lasts.
func (l *monLogs) employ(s *scribe.Scribe[string]) {
	if l.stop != nil && !l.ended {
		l.writing.Go(func() { s.Run(l.stop) })
	}
}

// run writes until stop is closed, and then what is left, once.
func (l *monLogs) run(stop <-chan struct{}) {
	l.mu.Lock()
	l.stop = stop
	for _, s := range l.files {
		l.employ(s)
	}
	l.mu.Unlock()
	<-stop
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.writing.Wait()
}

// appendTo adds text to a file, wholly or not at all. It opens it anew, as mon does:
// logrotate may have moved it.
func appendTo(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	before, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if _, err = f.WriteString(text); err != nil && before.Mode().IsRegular() {
		err = errors.Join(err, f.Truncate(before.Size()))
	}
	return errors.Join(err, f.Close())
}

// beginDowntimes writes what mon writes at its start.
func (e *Engine) beginDowntimes(now time.Time) {
	if e.site.DTLogFile == "" {
		return
	}
	e.monLogs.put(e.site.DTLogFile, fmt.Sprintf("#\n# downtime log start %d\n# time back up, group, service, first failure, downtime, interval, summary\n#\n", now.Unix()))
}

// An outage is the failure of a watch before a result.
type outage struct {
	first   time.Time
	summary string
}

// failingNow is the present failure; nil if there is none, or nobody wants to know.
// It is called with mu held.
func (e *Engine) failingNow(key watch.Key) *outage {
	if e.site.DTLogFile == "" {
		return nil
	}
	v, ok := e.set.View(key)
	if !ok || v.Status != watch.Failed {
		return nil
	}
	return &outage{v.FirstFailure, v.Summary}
}

// logDowntime writes of a failure that is over. It is called with mu held.
func (e *Engine) logDowntime(now time.Time, w *config.Watch, before *outage) {
	if before == nil || e.site.DTLogFile == "" {
		return
	}
	if v, ok := e.set.View(w.Key); !ok || v.Status != watch.OK {
		return
	}
	interval := w.Interval
	if w.FailureInterval > 0 {
		interval = w.FailureInterval
	}
	first := before.first
	if first.IsZero() {
		first = now
	}
	e.monLogs.put(e.site.DTLogFile, fmt.Sprintf("%d %s %s %d %d %s %s\n",
		now.Unix(), w.Group, w.Service, first.Unix(), now.Unix()-first.Unix(),
		strconv.FormatFloat(interval.Seconds(), 'f', -1, 64), oneLine(before.summary)))
}

// logCall writes of an alert that is called.
// mon names a program by its whole path.
func (e *Engine) logCall(n *watch.Notice, alert alerts.Alert) {
	if e.site.HistoricFile == "" {
		return
	}
	program, arguments := call(n.Action.Name)
	if p, ok := alert.(interface{ Program() string }); ok {
		program = p.Program()
	}
	e.monLogs.put(e.site.HistoricFile, fmt.Sprintf("%s %s %s %d %s (%s) %s\n",
		n.Kind, n.Group, n.Service, n.At.Unix(), program, arguments, oneLine(n.Summary)))
}

// call is the name of an alert in mon's words: a program and its arguments. Of what
// is no program the kind stands for it.
func call(name string) (program, arguments string) {
	kind, rest, _ := strings.Cut(name, " ")
	if kind != "exec" || rest == "" {
		return kind, rest
	}
	program, arguments, _ = strings.Cut(rest, " ")
	return program, arguments
}

// oneLine keeps a text from making lines of its own.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, text)
}

const (
	// historicLine bounds what is read as a line of mon's history, historicSize what is
	// read of the file: its end.
	historicLine = 64 << 10
	historicSize = 16 << 20
)

// readHistoric reads mon's history back: the last keep lines that are not older than
// age; 0 is any age.
func readHistoric(path string, keep int, age time.Duration, now time.Time) ([]history.Entry, error) {
	info, err := os.Stat(path) // to open a pipe would wait for who writes to it
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	if before := info.Size() - historicSize; before > 0 {
		if _, err := f.Seek(before, io.SeekStart); err != nil {
			return nil, err
		}
	}
	return parseLines(f, keep, func(h history.Entry) bool { return age == 0 || now.Sub(h.At) <= age }), nil
}

// parseLines returns the last keep lines that are wanted; what a disk says in the
// middle is the end.
func parseLines(from io.Reader, keep int, wanted func(history.Entry) bool) []history.Entry {
	var out []history.Entry
	for lines := bufio.NewReaderSize(from, historicLine); ; {
		part, more, err := lines.ReadLine()
		line := string(part)
		for more && err == nil { // the rest of a line that is too long
			_, more, err = lines.ReadLine()
		}
		if h, ok := parseHistoric(line); ok && wanted(h) {
			out = append(out, h)
		}
		if len(out) > 2*keep {
			out = append(out[:0], out[len(out)-keep:]...)
		}
		if err != nil {
			return slices.Clone(out[max(len(out)-keep, 0):])
		}
	}
}

// monWords turns mon's word in its history into that of the environment.
var monWords = map[string]string{
	"alert": "failure", "upalert": "up", "startupalert": "startup", "ackalert": "ack", "disablealert": "disable",
	"trapalert": "trap", "traptimeoutalert": "traptimeout",
}

// parseHistoric reads a line; ok is false if it is none.
func parseHistoric(line string) (h history.Entry, ok bool) {
	words := strings.SplitN(line, " ", 6)
	if len(words) < 6 || monWords[words[0]] == "" {
		return h, false
	}
	epoch, err := strconv.ParseInt(words[3], 10, 64)
	if err != nil {
		return h, false
	}
	// Arguments may hold ")": the summary begins behind the first that a space follows.
	arguments, summary, found := strings.Cut(words[5], ") ")
	if !found {
		arguments = strings.TrimSuffix(arguments, ")")
	}
	name := words[4]
	if args := strings.TrimPrefix(arguments, "("); args != "" {
		name += " " + args
	}
	return history.Entry{
		At: time.Unix(epoch, 0), Kind: monWords[words[0]], Group: words[1], Service: words[2], Alert: name, Summary: watch.Text(summary),
	}, true
}

// historic is what mon's history holds, if there is one.
func (e *Engine) historic(site *config.Site) []history.Entry {
	if site.HistoricFile == "" {
		return nil
	}
	past, err := readHistoric(site.HistoricFile, site.HistLength, site.HistoricTime, e.now())
	if err != nil {
		e.log.WithError(err).Error("the alert history of mon cannot be read")
	}
	return past
}
