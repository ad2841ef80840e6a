package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/logbook"
	"github.com/monitord/monitord/internal/syslog"
)

// logPatience is how long the end of the daemon waits for a log that nobody takes.
const logPatience = time.Second

// A daemonLog is the log of a daemon: nobody who writes into it waits.
type daemonLog struct {
	*logrus.Logger
	book *logbook.Book
	errs io.Writer
	// file and syslog are where it goes now; neither: standard error.
	file, syslog string
}

// newDaemonLog logs to standard error until it is configured.
func newDaemonLog(errs io.Writer) *daemonLog {
	l := &daemonLog{Logger: newLogger(errs), errs: errs}
	l.book = logbook.New(errs, logbook.Events{
		Lost: func(n int) {
			l.WithField("lost", n).Warn("lines of the log are missing here: nobody took them for a while")
		},
		Refused: func(err error) {
			l.WithError(err).Error("the log cannot be written where it should; it goes to standard error meanwhile")
		},
		Taken: func() { l.Info("the log is written where it should be again") },
	})
	l.SetOutput(l.book)
	// What libraries say by themselves is for who looks for a fault, and must not
	// block either.
	stdlog.SetFlags(0)
	stdlog.SetOutput(libraries{l.Logger})
	return l
}

// libraries takes the lines of the standard library's log.
type libraries struct{ log *logrus.Logger }

func (l libraries) Write(line []byte) (int, error) {
	l.log.WithField("part", "library").Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}

// configure sets level, format and target. The error is that of a file which cannot be
// opened; nothing has changed then.
func (l *daemonLog) configure(c config.Log) error {
	if c.File != l.file || c.Syslog != l.syslog {
		target, err := l.open(c)
		if err != nil {
			return err
		}
		defer l.book.Use(target)
		l.file, l.syslog = c.File, c.Syslog
	}
	configureLog(l.Logger, l.errs, c)
	return nil
}

func (l *daemonLog) open(c config.Log) (logbook.Target, error) {
	switch {
	case c.File != "":
		target, err := logbook.File(c.File)
		if err != nil {
			return nil, fmt.Errorf("file: %w", err)
		}
		return target, nil
	case c.Syslog != "":
		facility, err := syslog.ParseFacility(c.Syslog)
		if err != nil {
			return nil, fmt.Errorf("syslog: %w", err)
		}
		return logbook.Syslog(syslog.LocalSocket, facility, "monitord"), nil
	}
	return logbook.StandardError(l.errs), nil
}

// close writes what waits, for as long as that is taken.
func (l *daemonLog) close() {
	ctx, cancel := context.WithTimeout(context.Background(), logPatience)
	defer cancel()
	_ = l.book.Close(ctx) // there is nobody to tell that nobody reads
	stdlog.SetOutput(io.Discard)
}

func newLogger(out io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(out)
	configureLog(log, out, config.Log{})
	return log
}

// configureLog sets level and format.
func configureLog(log *logrus.Logger, out io.Writer, l config.Log) {
	level, err := logrus.ParseLevel(l.Level)
	if err != nil {
		level = logrus.InfoLevel // the configuration has checked it; this is the empty one
	}
	log.SetLevel(level)
	log.SetFormatter(formatter(out, l))
}

// formatter is the format for a target. "auto" is text for people on a terminal, what
// the journal reads if standard error leads there, and logfmt otherwise.
func formatter(out io.Writer, l config.Log) logrus.Formatter {
	standard := l.File == "" && l.Syslog == ""
	file, isFile := out.(*os.File)
	onTerminal := standard && isFile && term.IsTerminal(int(file.Fd()))
	logfmt := &logrus.TextFormatter{DisableColors: true, FullTimestamp: true}
	untimed := &logrus.TextFormatter{DisableColors: true, DisableTimestamp: true}
	switch {
	case l.Syslog != "" && l.Format == "json":
		return &withSeverity{&logrus.JSONFormatter{}}
	case l.Syslog != "":
		return &withSeverity{untimed}
	case l.Format == "json":
		return &logrus.JSONFormatter{}
	case l.Format == "journal", l.Format != "text" && l.Format != "logfmt" && standard && isFile && leadsToJournal(file, os.Getenv("JOURNAL_STREAM")):
		return &withSeverity{untimed}
	case l.Format == "text", l.Format != "logfmt" && onTerminal:
		return &logrus.TextFormatter{ForceColors: onTerminal, DisableColors: !onTerminal, FullTimestamp: true, TimestampFormat: "15:04:05.000"}
	}
	return logfmt
}

// leadsToJournal reports whether a file is the stream that systemd names in
// JOURNAL_STREAM: device and inode (systemd.exec(5)).
func leadsToJournal(file *os.File, stream string) bool {
	var stat unix.Stat_t
	if stream == "" || unix.Fstat(int(file.Fd()), &stat) != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// withSeverity puts the severity in front of a line, as sd-daemon(3) has it: the
// journal and our own way to syslog read it from there.
type withSeverity struct{ logrus.Formatter }

// Format implements [logrus.Formatter].
func (f *withSeverity) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.Formatter.Format(e)
	if err != nil {
		return nil, err
	}
	severity := syslog.Info
	switch e.Level {
	case logrus.PanicLevel, logrus.FatalLevel:
		severity = syslog.Critical
	case logrus.ErrorLevel:
		severity = syslog.Error
	case logrus.WarnLevel:
		severity = syslog.Warning
	case logrus.InfoLevel:
	case logrus.DebugLevel, logrus.TraceLevel:
		severity = syslog.Debug
	}
	return append(fmt.Appendf(nil, "<%d>", int(severity)), bytes.Clone(line)...), nil
}
