package mail

import (
	"bufio"
	"context"
	"io"
	"io/fs"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/resourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sendmail writes a program; its folder is where it works.
func sendmail(t testing.TB, dir, text string) {
	t.Helper()
	path := filepath.Join(dir, "sendmail")
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncd "+dir+"\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// configured builds through the registry, as the daemon does.
func configured(dir string, change func(*Config)) (resources.Resource, error) {
	return resources.Build("mail", resources.Site{StateDir: dir, Hostname: "dr1"}, func(into any) error {
		c := into.(*Config)
		c.To, c.Subject, c.Sendmail = []string{"ops@example.com"}, "web", filepath.Join(dir, "sendmail")
		change(c)
		return nil
	})
}

func built(t testing.TB, dir string, change func(*Config)) resources.Resource {
	t.Helper()
	r, err := configured(dir, change)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func asIs(*Config) {}

func TestConformance(t *testing.T) {
	place := func(program string) func(testing.TB) func() resources.Resource {
		return func(t testing.TB) func() resources.Resource {
			dir := t.TempDir()
			if program != "" {
				sendmail(t, dir, program)
			}
			return func() resources.Resource { return built(t, dir, asIs) }
		}
	}
	for name, program := range map[string]string{"delivers": "cat >/dev/null", "fails": "exit 75", "missing": ""} {
		t.Run(name, func(t *testing.T) {
			resourcetest.Run(t, resourcetest.Subject{
				New: place(program), NeverFails: "a mail that is lost does not keep the group from starting", NeverWaits: "nothing waits for sendmail, see TestNothingWaitsForSendmail",
			})
		})
	}
}

// A mailbox is a sendmail that writes to a pipe what it got: who reads it waits for
// the mail.
type mailbox struct {
	pipe  *os.File
	lines *bufio.Reader
}

func newMailbox(t *testing.T, dir string) mailbox {
	t.Helper()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	// One write of less than PIPE_BUF bytes is not mixed with others.
	sendmail(t, dir, `{ echo "$@"; cat; echo .; } >in.$$; cat in.$$ >pipe`)
	// For writing too: the reader must not see an end between two mails.
	pipe, err := os.OpenFile(filepath.Join(dir, "pipe"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pipe.Close() })
	return mailbox{pipe, bufio.NewReader(pipe)}
}

// next returns the next mail's arguments and the mail.
func (b mailbox) next(t *testing.T) (args string, m *mail.Message) {
	t.Helper()
	if err := b.pipe.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for {
		line, err := b.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == ".\n" {
			break
		}
		text.WriteString(line)
	}
	args, letter, _ := strings.Cut(text.String(), "\n")
	m, err := mail.ReadMessage(strings.NewReader(letter))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, letter)
	}
	return args, m
}

func subject(t *testing.T, m *mail.Message) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Error(err)
	}
	return text
}

func do(t *testing.T, calls ...func(context.Context) error) {
	t.Helper()
	for i, call := range calls {
		if err := call(t.Context()); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// One takeover is one mail, whoever asks how often and across restarts.
func TestMails(t *testing.T) {
	dir := t.TempDir()
	box := newMailbox(t, dir)
	build := func() resources.Resource {
		return built(t, dir, func(c *Config) {
			c.To, c.Subject = []string{"ops@example.com, root", "Jörg B <j.b@example.com>"}, "Büro"
		})
	}
	r := build()
	do(t, r.Stop, r.Start, r.Start, build().Start)
	args, m := box.next(t)
	if want := "-i -f monitord@dr1 ops@example.com root j.b@example.com"; args != want {
		t.Errorf("arguments %q, want %q", args, want)
	}
	if got, want := subject(t, m), "Büro Takeover in progress on dr1"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	if got := m.Header.Get("To"); !strings.Contains(got, "<ops@example.com>, root, =?utf-8?q?J") {
		t.Errorf("to %q", got)
	}
	if at, err := m.Header.Date(); err != nil || time.Since(at) > time.Minute {
		t.Errorf("date %s, error %v", at, err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || !strings.Contains(string(body), "Büro Takeover in progress on dr1\n\nThe director dr1 takes over the group.\n") {
		t.Errorf("error %v, body:\n%s", err, body)
	}
	do(t, build().Stop, r.Stop)
	if _, m = box.next(t); subject(t, m) != "Büro Shutdown in progress on dr1" {
		t.Errorf("after the release %q", subject(t, m))
	}
	do(t, r.Start)
	if _, m = box.next(t); subject(t, m) != "Büro Takeover in progress on dr1" {
		t.Errorf("at the next takeover %q", subject(t, m))
	}
}

// A sendmail that hangs, as on a dead name server, holds nothing up.
func TestNothingWaitsForSendmail(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "begun"), 0o600); err != nil {
		t.Fatal(err)
	}
	sendmail(t, dir, `echo $$ >begun; exec sleep 30`)
	began := time.Now()
	do(t, built(t, dir, asIs).Start)
	if took := time.Since(began); took > handOverTime/2 {
		t.Errorf("start took %s", took)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "begun"))
	if err != nil {
		t.Fatal(err)
	}
	end(t, string(pid))
}

// end ends the process that a program wrote the number of.
func end(t *testing.T, text string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || pid <= 1 {
		t.Fatalf("process %q", text)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestBadKeys(t *testing.T) {
	tests := []struct {
		name, key string
		change    func(*Config)
	}{
		{"nobody", "to", func(c *Config) { c.To = nil }},
		{"nobody but a comma", "to", func(c *Config) { c.To = []string{","} }},
		{"no address", "to", func(c *Config) { c.To = []string{"a@b@c"} }},
		{"an option", "to", func(c *Config) { c.To = []string{"-oQ/tmp"} }},
		{"an option in an address", "to", func(c *Config) { c.To = []string{"<-oQ@example.com>"} }},
		{"a shell's command", "to", func(c *Config) { c.To = []string{"$(reboot)"} }},
		{"a sender", "from", func(c *Config) { c.From = "a b" }},
		{"a header in the subject", "subject", func(c *Config) { c.Subject = "x\nBcc: y@example.com" }},
		{"a long subject", "subject", func(c *Config) { c.Subject = strings.Repeat("x", 201) }},
		{"no path", "sendmail", func(c *Config) { c.Sendmail = "sendmail" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := configured(t.TempDir(), tt.change)
			blamed, ok := err.(*plugin.KeyError) //nolint:errorlint // build returns it bare, for the loader.
			if !ok || blamed.Key != tt.key {
				t.Errorf("error %v, want one that blames %s", err, tt.key)
			}
		})
	}
}

// With a state folder that cannot be written mails go out, and once.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	box := newMailbox(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "started"), nil, fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
	r := built(t, dir, asIs)
	do(t, r.Start, r.Start)
	_, m := box.next(t)
	if got := subject(t, m); !strings.Contains(got, "Takeover") {
		t.Errorf("subject %q", got)
	}
	do(t, r.Stop, r.Stop)
	_, m = box.next(t)
	if got := subject(t, m); !strings.Contains(got, "Shutdown") {
		t.Errorf("subject %q", got)
	}
}
