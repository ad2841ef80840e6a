package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/config"
)

func TestFormats(t *testing.T) {
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = pipe.Close(), other.Close() }()
	var stat unix.Stat_t
	if err := unix.Fstat(int(other.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	journal := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	for _, c := range []struct {
		name, stream string
		config       config.Log
		want         string // T is a time
	}{
		{"auto", "", config.Log{Format: "auto"}, "time=\"T\" level=warning msg=\"two words\" a=b\n"},
		{"auto of another journal", "1:2", config.Log{Format: "auto"}, "time=\"T\" level=warning msg=\"two words\" a=b\n"},
		{"auto of the journal", journal, config.Log{Format: "auto"}, "<4>level=warning msg=\"two words\" a=b\n"},
		{"logfmt to the journal", journal, config.Log{Format: "logfmt"}, "time=\"T\" level=warning msg=\"two words\" a=b\n"},
		{"journal", "", config.Log{Format: "journal"}, "<4>level=warning msg=\"two words\" a=b\n"},
		{"json", journal, config.Log{Format: "json"}, `{"a":"b","level":"warning","msg":"two words","time":"T"}` + "\n"},
		{"a file", journal, config.Log{Format: "auto", File: "/x"}, "time=\"T\" level=warning msg=\"two words\" a=b\n"},
		{"syslog", "", config.Log{Format: "auto", Syslog: "daemon"}, "<4>level=warning msg=\"two words\" a=b\n"},
		{"json for syslog", "", config.Log{Format: "json", Syslog: "daemon"}, `<4>{"a":"b","level":"warning","msg":"two words","time":"T"}` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("JOURNAL_STREAM", c.stream)
			e := logrus.NewEntry(logrus.New()).WithField("a", "b")
			e.Level, e.Message = logrus.WarnLevel, "two words"
			line, err := formatter(other, c.config).Format(e)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Replace(string(line), "0001-01-01T00:00:00Z", "T", 1); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A file that cannot be opened leaves the log as it is.
func TestLogThatCannotBeOpened(t *testing.T) {
	folder := t.TempDir()
	var errs bytes.Buffer
	l := newDaemonLog(&errs)
	path := filepath.Join(folder, "log")
	if err := l.configure(config.Log{Level: "debug", File: path}); err != nil {
		t.Fatal(err)
	}
	if err := l.configure(config.Log{Level: "error", File: filepath.Join(folder, "nowhere", "log")}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got %v", err)
	}
	l.Debug("still here")
	l.close()
	if got, err := os.ReadFile(path); err != nil || !strings.Contains(string(got), "still here") || errs.Len() > 0 {
		t.Errorf("the file: %q, %v; standard error: %q", got, err, errs.String())
	}
}
