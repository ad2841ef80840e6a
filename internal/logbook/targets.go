package logbook

import (
	"bytes"
	"context"
	"os"
	"time"

	"github.com/monitord/monitord/internal/logfile"
	"github.com/monitord/monitord/internal/syslog"
)

// A file is a log file of one's own.
type file struct {
	path string
	open *os.File // nil: not open
}

// File is the target that appends to a file, made with mode 0640. When the file was
// moved away or removed, as logrotate does, a new one is made: nobody needs to be told.
// The error is that of opening it the first time.
func File(path string) (Target, error) {
	open, err := logfile.Open(path)
	if err != nil {
		return nil, err
	}
	return &file{path: path, open: open}, nil
}

// Write implements [Target].
func (f *file) Write(line []byte) (int, error) {
	if f.open == nil || logfile.Moved(f.open, f.path) {
		if err := f.reopen(); err != nil {
			return 0, err
		}
	}
	return len(line), logfile.Append(f.open, line)
}

func (f *file) reopen() error {
	open, err := logfile.Open(f.path)
	if err != nil {
		return err
	}
	if f.open != nil {
		_ = f.open.Close() // it was written without a buffer
	}
	f.open = open
	return nil
}

// Close implements [Target].
func (f *file) Close() error {
	if f.open == nil {
		return nil
	}
	return f.open.Close()
}

const (
	// syslogPatience bounds one line to a syslog that does not read.
	syslogPatience = time.Second
	// syslogPause is how long one that failed is left alone.
	syslogPause = time.Second
)

// A local is the syslog of this machine.
type local struct {
	path     string
	facility syslog.Facility
	app      string
	now      func() time.Time
	conn     *syslog.Conn // nil: none
	retry    time.Time    // when to try again
	failed   error        // why not to try before
}

// Syslog is the target that takes lines to the socket of this machine's syslog at path.
// A line may begin with its severity as "<6>", see sd-daemon(3). While syslog is away
// the target refuses lines, and looks for it again each second.
func Syslog(path string, f syslog.Facility, app string) Target {
	return &local{path: path, facility: f, app: app, now: time.Now}
}

// Write implements [Target].
func (l *local) Write(line []byte) (int, error) {
	if l.failed != nil && l.now().Before(l.retry) {
		return 0, l.failed
	}
	err := l.send(line)
	if err != nil && l.conn != nil {
		// syslog was started anew: the next one listens at the same place.
		l.drop()
		err = l.send(line)
	}
	l.failed = err
	if err != nil {
		l.drop()
		l.retry = l.now().Add(syslogPause)
		return 0, err
	}
	return len(line), nil
}

func (l *local) send(line []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), syslogPatience)
	defer cancel()
	if l.conn == nil {
		conn, err := syslog.DialLocal(ctx, l.path)
		if err != nil {
			return err
		}
		l.conn = conn
	}
	severity, text := Severity(line)
	return l.conn.Send(ctx, syslog.Local(syslog.Message{
		Facility: l.facility, Severity: severity, Time: l.now(), App: l.app, PID: os.Getpid(), Text: string(text),
	}, syslog.StreamLimit))
}

func (l *local) drop() {
	if l.conn != nil {
		_ = l.conn.Close() // it failed already
		l.conn = nil
	}
}

// Close implements [Target].
func (l *local) Close() error {
	if l.conn == nil {
		return nil
	}
	return l.conn.Close()
}

// Severity takes the severity from the front of a line, Info if there is none.
func Severity(line []byte) (syslog.Severity, []byte) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) >= 3 && line[0] == '<' && line[1] >= '0' && line[1] <= '7' && line[2] == '>' {
		return syslog.Severity(line[1] - '0'), line[3:]
	}
	return syslog.Info, line
}
