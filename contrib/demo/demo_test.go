package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asDemo makes the test's own binary be the demo: so it is one with the race
// detector if the test is.
const asDemo = "MONITORD_TEST_AS_DEMO"

func TestMain(m *testing.M) {
	if os.Getenv(asDemo) == "1" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// endToEnd skips what builds and runs whole programs.
func endToEnd(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it builds monitord and plays the demo with it")
	}
}

// monitord builds the daemon. The go command's cache makes all but the first call
// quick.
func monitord(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "monitord")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/monitord")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// A play is a running demo.
type play struct {
	t      *testing.T
	cmd    *exec.Cmd
	input  io.WriteCloser
	output io.Closer
	lines  chan string
	folder string
	// text is what was printed so far; complaint is the standard error, whole once
	// the demo has ended.
	text, complaint bytes.Buffer
}

// start runs the demo in the top folder, as make does.
func start(t *testing.T, env []string, args ...string) *play {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &play{t: t, cmd: exec.Command(self, args...), lines: make(chan string), folder: t.TempDir()}
	p.cmd.Dir = "../.."
	p.cmd.Env = append(append(os.Environ(), asDemo+"=1", "TMPDIR="+p.folder, "STAY="), env...)
	p.cmd.Stderr = &p.complaint
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.output = out
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // for a test that failed before its end
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case p.lines <- s.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	return p
}

// until reads lines until one contains a text, and returns that.
func (p *play) until(text string) string {
	p.t.Helper()
	for line := range p.lines {
		fmt.Fprintln(&p.text, line)
		if strings.Contains(line, text) {
			return line
		}
	}
	_ = p.cmd.Wait()
	p.t.Fatalf("the demo never said %q:\n%s%s", text, &p.text, &p.complaint)
	return ""
}

// end reads the rest and returns the exit status.
func (p *play) end() int {
	p.t.Helper()
	for line := range p.lines {
		fmt.Fprintln(&p.text, line)
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *play) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
}

// pids are those of the daemons that were started.
func (p *play) pids() []int {
	p.t.Helper()
	var all []int
	for _, m := range regexp.MustCompile(`\(pid (\d+)\)`).FindAllStringSubmatch(p.text.String(), -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, pid)
	}
	if len(all) == 0 {
		p.t.Fatalf("the demo named no pid:\n%s", &p.text)
	}
	return all
}

// nothingRuns checks that no process and no listener is left.
func (p *play) nothingRuns() {
	p.t.Helper()
	for _, pid := range p.pids() {
		if err := syscall.Kill(-pid, 0); !errors.Is(err, syscall.ESRCH) {
			p.t.Errorf("the daemon's process group %d is still there: %v", pid, err)
		}
	}
	p.nothingListens()
}

// nothingListens waits until no address of the play answers: the sockets of a
// process that was killed are closed a moment after it is dead.
func (p *play) nothingListens() {
	p.t.Helper()
	addresses := regexp.MustCompile(`127\.0\.0\.\d+:\d+`).FindAllString(p.text.String(), -1)
	if len(addresses) < 5 {
		p.t.Errorf("the demo named %d addresses only: %v", len(addresses), addresses)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, a := range addresses {
		for {
			conn, err := net.Dial("tcp", a)
			if err != nil {
				break
			}
			_ = conn.Close()
			if time.Now().After(deadline) {
				p.t.Errorf("somebody still listens at %s", a)
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}

// folders are what the demo left.
func (p *play) folders() []string {
	p.t.Helper()
	left, err := filepath.Glob(filepath.Join(p.folder, "*"))
	if err != nil {
		p.t.Fatal(err)
	}
	return left
}

func TestEndToEndDemo(t *testing.T) {
	endToEnd(t)
	p := start(t, nil, "-monitord", monitord(t), "-config", "etc/demo.toml")
	if got := p.end(); got != 0 {
		t.Fatalf("exit status %d, want 0:\n%s%s", got, &p.text, &p.complaint)
	}
	rest := p.text.String()
	for _, want := range []string{
		`all three serve through the virtual service`,
		`web2 dies`,
		`web2 is out of the pool\n +\d+ ms after its death`,
		`mail: DOWN web:http: 127\.0\.0\.102:\d+ .*\n +\d+ ms after its death, to operator@example.org`,
		`no more request is sent to web2`,
		`monitord status\n\n    monitord `,
		`web:http +FAILED +\d+s +2/3 up +127\.0\.0\.102`,
		`127\.0\.0\.102:\d+ +1 +out`,
		`web2 returns`,
		`web2 is back in the pool and serves\n +put in \d+ ms after its return.*\n +\d+ ms after its return`,
		`mail: UP web:http: 127\.0\.0\.102:\d+ `,
		`In-Reply-To <`,
		`requests +web1 +web2 +web3 +errors +ms +phase\n`,
		` \d+ +\d+ +\d+ +\d+ +0 +\d+ +all three serve\n`,
		` \d+ +\d+ +0 +\d+ +0 +\d+ +web2 is out\n`,
		` \d+ +\d+ +[1-9]\d* +\d+ +0 +\d+ +all three serve again\n`,
		`seen  the daemon ends when told to`,
	} {
		at := regexp.MustCompile(want).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("no %q in its place:\n%s", want, &p.text)
		}
		rest = rest[at[1]:]
	}
	if strings.Contains(p.text.String(), "\x1b") {
		t.Error("colours, though the output is no terminal")
	}
	p.nothingRuns()
	if left := p.folders(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// without writes a copy of etc/demo.toml without what a regular expression finds.
func without(t *testing.T, what string) string {
	t.Helper()
	text, err := os.ReadFile("../../etc/demo.toml")
	if err != nil {
		t.Fatal(err)
	}
	changed := regexp.MustCompile(what).ReplaceAll(text, nil)
	if bytes.Equal(changed, text) {
		t.Fatalf("etc/demo.toml has no %q", what)
	}
	file := filepath.Join(t.TempDir(), "demo.toml")
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEndToEndSaysWhatIsMissing(t *testing.T) {
	endToEnd(t)
	for _, tt := range []struct {
		name, without, missing string
	}{
		{"no mail at the return", `(?s)  upalert = .*?\n  \]\n`, "the UP mail arrives in the same thread: not seen within 5s"},
		{"a pool that nobody follows", `(?m)^    \{ type = "ipvs".*\n`, "all three web servers serve through the virtual service: not seen within 5s"},
		{"a daemon that does not start", `name      = "shop"`, "all three web servers serve through the virtual service: the daemon ended: exit status 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, nil, "-monitord", monitord(t), "-config", without(t, tt.without), "-patience", "5s")
			if got := p.end(); got != 1 {
				t.Errorf("exit status %d, want 1:\n%s", got, &p.text)
			}
			if got := p.complaint.String(); !strings.Contains(got, "demo: missing: "+tt.missing) {
				t.Errorf("standard error %q does not say %q", got, tt.missing)
			}
			for _, want := range []string{"MISSING: ", "the end of the daemon's log"} {
				if !strings.Contains(p.text.String(), want) {
					t.Errorf("the demo did not say %q:\n%s", want, &p.text)
				}
			}
			p.nothingRuns()
			if left := p.folders(); len(left) != 1 {
				t.Errorf("left behind: %v, want the one folder with the log", left)
			}
		})
	}
}

func TestEndToEndInterrupt(t *testing.T) {
	endToEnd(t)
	p := start(t, nil, "-monitord", monitord(t))
	p.until("web2 dies")
	p.interrupt()
	if got := p.end(); got != 1 {
		t.Errorf("exit status %d, want 1", got)
	}
	if got := p.complaint.String(); !strings.Contains(got, "interrupted") {
		t.Errorf("standard error %q does not say that it was interrupted", got)
	}
	p.nothingRuns()
}

// TestEndToEndReaderGoesAway is "make demo | head".
func TestEndToEndReaderGoesAway(t *testing.T) {
	endToEnd(t)
	p := start(t, nil, "-monitord", monitord(t))
	p.until("the virtual service is")
	if err := p.output.Close(); err != nil {
		t.Fatal(err)
	}
	if got := p.end(); got != 0 {
		t.Errorf("exit status %d, want 0:\n%s", got, &p.complaint)
	}
	p.nothingRuns()
	if left := p.folders(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEndToEndStay(t *testing.T) {
	endToEnd(t)
	binary := monitord(t)
	p := start(t, []string{"STAY=1"}, "-monitord", binary)
	p.until("It all goes on until Ctrl-C")
	command := strings.Fields(p.until(" status --socket "))
	p.until("Mails are shown")
	p.say("3")
	p.until("web3 is stopped")
	p.until("mail: DOWN web:http: 127.0.0.103:")

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	status, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil || !strings.Contains(string(status), "2 of 3 up") {
		t.Errorf("%q: %v\n%s", command, err, status)
	}
	p.say("3")
	p.until("web3 runs again")
	p.until("mail: UP web:http: 127.0.0.103:")
	p.interrupt()
	if got := p.end(); got != 0 {
		t.Errorf("exit status %d, want 0:\n%s%s", got, &p.text, &p.complaint)
	}
	p.nothingRuns()
	if left := p.folders(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func (p *play) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.input, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// TestEndToEndTakenPort has the daemon be told, the first time, an address at which
// somebody else listens.
func TestEndToEndTakenPort(t *testing.T) {
	endToEnd(t)
	taken, err := net.Listen("tcp", "127.0.0.104:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	folder := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = run ] && mkdir '%s/once' 2>/dev/null; then DEMO_VIRTUAL='%s'; fi\nexec '%s' \"$@\"\n",
		folder, taken.Addr(), monitord(t))
	wrapper := filepath.Join(folder, "monitord")
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "-monitord", wrapper)
	p.until("once more")
	p.until("all three serve through the virtual service")
	p.interrupt()
	p.end()
	if got := len(p.pids()); got != 2 {
		t.Errorf("%d daemons were started, want 2", got)
	}
	p.nothingRuns()
}

func TestAnsweredBy(t *testing.T) {
	webs := []*web{{name: "web1"}, {name: "web2"}}
	one, two, lost := request{by: "web1"}, request{by: "web2"}, request{err: errors.New("refused")}
	for _, tt := range []struct {
		name     string
		requests []request
		want     bool
	}{
		{"nothing yet", nil, false},
		{"one of two", []request{one, one}, false},
		{"both", []request{one, two}, true},
		{"both after an error", []request{lost, two, one}, true},
		{"an error between", []request{one, lost, two}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := answeredBy(webs)(tt.requests); got != tt.want {
				t.Errorf("answeredBy = %v, want %v", got, tt.want)
			}
		})
	}
}
