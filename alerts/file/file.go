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
// not mix. A record that did not fit on the disk is taken back, and tried again later.
//
// The file has to be a plain file. A symbolic link is refused, because whoever may
// write to its folder could lead a daemon that is root to any file; folders on the way
// may be links.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/monprog"
)

// Config is the table of a file alert.
type Config struct {
	File string `toml:"file" doc:"The file to append to; a relative path is below logdir; no default."`
}

func init() { alerts.Register("file", Config{}, build) }

// mode is for records that may name hosts and users: not for everybody.
const mode = 0o640

type appender struct {
	path string
	site alerts.Site
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
	return &appender{path: path, site: site}, nil
}

// Send implements [alerts.Alert].
func (a *appender) Send(ctx context.Context, e alerts.Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("file %s: %w", a.path, err)
	}
	f, err := open(a.path)
	if err != nil {
		return err
	}
	return errors.Join(add(f, a.path, record(e, a.site)), f.Close())
}

// open opens a plain file for appending. O_NONBLOCK keeps a pipe without a reader from
// holding up the daemon before it is recognised; plain files ignore it.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("file %s: is a symbolic link, which is not followed: name the file itself", path)
	}
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("file %s: is no plain file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// A target is an open file.
type target interface {
	Write(p []byte) (int, error)
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
}

// add appends a record whole, or takes back what there was room for: a reader would
// take half a record and the next one for a single one. If others have written after
// it, it stays.
func add(f target, path string, record []byte) error {
	before, err := f.Stat()
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	n, err := f.Write(record)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("file %s: %w", path, unwrapped(err))
	if n == 0 {
		return err
	}
	if now, statErr := f.Stat(); statErr != nil || now.Size() != before.Size()+int64(n) {
		return fmt.Errorf("%w; the first %d bytes of the record are in the file", err, n)
	}
	return errors.Join(err, f.Truncate(before.Size()))
}

// unwrapped is the cause of a [fs.PathError], which has the path a second time.
func unwrapped(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
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
