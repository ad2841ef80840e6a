// Package file is the alert "file": it appends a record to a file, in the format of
// mon's file.alert, byte for byte.
//
//	alert   = [{ type = "file", file = "alerts.log" }]
//	upalert = [{ type = "file", file = "alerts.log" }]
//
// A record is what file.alert of Debian's package mon writes:
//
//	failure web http 1709208060 (Thu Feb 29 12:01:00) web2
//	DESCR=the shop
//	OPSTATUS=0
//	web2: connection refused
//	.
//
// The first line is the kind of the event, group, service, the time in seconds and
// in words (of the daemon's time zone), and the summary; the second the description;
// the third mon's number of the state, 0 failed, 1 ok, 7 untested. Then comes what the
// monitor printed after its first line. A dot ends the record; as with file.alert it
// ends the last line if the monitor left that without an end.
//
// A relative path is below logdir, as -d usually said in mon.cf. The folder must be
// there. A file that is not is made with mode 0640. Each event opens the file anew, so
// that one which was moved away by logrotate is followed by a new one, and is written
// with a single write at the end of the file (O_APPEND): records of several watches do
// not mix. A record that did not fit on the disk is taken back, and tried again later; one that a
// file system does not take, like that of a lost NFS server, may be there twice then.
//
// The file has to be a plain file. A symbolic link is refused, because whoever may
// write to its folder could lead a daemon that is root to any file; folders on the way
// may be links.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/logfile"
	"github.com/monitord/monitord/internal/monprog"
)

// Config is the table of a file alert.
type Config struct {
	File string `toml:"file" doc:"The file to append to; a relative path is below logdir; no default."`
}

func init() { alerts.Register("file", Config{}, build) }

// appender is the alert. No call to the kernel about a file can be broken off: a record
// on its way to a lost NFS server stays behind when its time is over, and the next one
// waits for it.
type appender struct {
	path  string
	site  alerts.Site
	write func(path string, record []byte) error

	mu      sync.Mutex
	running *writing // protected by mu; nil for none
}

// A writing is a record on its way.
type writing struct {
	record []byte
	done   chan struct{}
	err    error // valid when done is closed
}

func build(c Config, site alerts.Site) (alerts.Alert, error) {
	if c.File == "" || strings.ContainsRune(c.File, 0) || strings.HasSuffix(c.File, "/") {
		return nil, alerts.BadKey("file", `%q names no file: write a path, like "alerts.log" or "/var/log/monitord/alerts.log"`, c.File)
	}
	path := c.File
	if !filepath.IsAbs(path) {
		path = filepath.Join(site.LogDir, path)
	}
	path = filepath.Clean(path)
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, alerts.BadKey("file", "there is no folder %s: make it, or write the path of a file in one that is there", folder)
	case err == nil && !info.IsDir():
		return nil, alerts.BadKey("file", "%s is no folder: write the path of a file in one", folder)
	}
	// A folder that the user of a mere check may not look at is the daemon's to open.
	return &appender{path: path, site: site, write: write}, nil
}

// Recorder implements [alerts.Recorder].
func (*appender) Recorder() {}

// Send implements [alerts.Alert].
func (a *appender) Send(ctx context.Context, e alerts.Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("file %s: %w", a.path, err)
	}
	text := record(e, a.site)
	for {
		w := a.join(text)
		select {
		case <-w.done:
		case <-ctx.Done():
			return fmt.Errorf("file %s: the file system gives no answer: %w", a.path, ctx.Err())
		}
		if bytes.Equal(w.record, text) { // else it was an older one
			return w.err
		}
	}
}

// join returns the writing that is going on, or begins one of a record.
func (a *appender) join(record []byte) *writing {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running != nil {
		return a.running
	}
	w := &writing{record: record, done: make(chan struct{})}
	a.running = w
	go func() {
		w.err = a.guarded(record)
		a.mu.Lock()
		a.running = nil
		a.mu.Unlock()
		close(w.done)
	}()
	return w
}

// guarded makes an error of a panic, which would end the daemon in a goroutine.
func (a *appender) guarded(record []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("file %s: writing to it panicked: %v", a.path, p)
		}
	}()
	return a.write(a.path, record)
}

func write(path string, record []byte) error {
	f, err := logfile.Open(path)
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	if err := errors.Join(logfile.Append(f, record), f.Close()); err != nil {
		return fmt.Errorf("file: %w", err)
	}
	return nil
}

// record is what file.alert makes of the call that mon's contract gives it.
func record(e alerts.Event, site alerts.Site) []byte {
	call := monprog.Program{Path: "file.alert"}.Alert(e, site)
	environ := func(name string) string {
		for _, v := range call.Env {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}
	option := func(name string) string {
		for i := 1; i+1 < len(call.Args); i += 2 {
			if call.Args[i] == name {
				return call.Args[i+1]
			}
		}
		return ""
	}
	summary, rest, _ := strings.Cut(string(call.Stdin), "\n")
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s %s %s (%s) %s\n", environ("MON_ALERTTYPE"), option("-g"), option("-s"), option("-t"),
		e.Time.Local().Format("Mon Jan 2 15:04:05"), summary)
	fmt.Fprintf(&out, "DESCR=%s\nOPSTATUS=%s\n%s.\n", environ("MON_DESCRIPTION"), environ("MON_OPSTATUS"), rest)
	return []byte(out.String())
}
