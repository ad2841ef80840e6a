// Package contrib_test tries, as outsiders would, what docs/plugins.md and the module in
// plugins say about plugins of one's own.
package contrib_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "bring main.go, go.mod and go.sum of contrib/plugins up to date")

// TestOutsideModule builds the module in plugins, runs its tests, and uses its three
// kinds.
func TestOutsideModule(t *testing.T) {
	isCopy(t)
	if *update {
		golang(t, "plugins", "vet", "-mod=mod", "./...")
	}
	golang(t, "plugins", "vet", "-mod=readonly", "./...")
	golang(t, "plugins", "test", "-mod=readonly", "./...")
	program := filepath.Join(t.TempDir(), "director")
	golang(t, "plugins", "build", "-mod=readonly", "-o", program, ".")
	if out := run(t, program, "check", "-c", "plugins/director.toml"); !strings.Contains(out, "ok, 1 watch") {
		t.Errorf("check: %s", out)
	}
	if out := run(t, program, "reference", "monitor", "clock"); !strings.Contains(out, "offset (duration, default 1s)") {
		t.Errorf("reference: %s", out)
	}
	values := make(chan string, 8)
	folder := shortTempDir(t)
	link := filepath.Join(folder, "link")
	text, err := os.ReadFile("plugins/director.toml")
	if err != nil {
		t.Fatal(err)
	}
	config := configuration(t, folder, strings.NewReplacer(
		`time = ["192.0.2.1"]`, fmt.Sprintf("time = [%q]", clock(t)), "192.0.2.9", zabbix(t, values), "/etc/cron.d/shop", link,
	).Replace(string(text)))
	if out := run(t, program, "test", "monitor", "time:clock", "-c", config); !strings.Contains(out, "1 of 1 up") {
		t.Errorf("test monitor: %s", out)
	}
	run(t, program, "test", "alert", "time:clock", "-c", config)
	if got := <-values; !strings.Contains(got, `"key":"time.down","value":"0"`) {
		t.Errorf("the server got %s", got)
	}
	holds(t, program, config, link)
}

// isCopy wants main.go to be a copy of monitord's with three imports more.
func isCopy(t *testing.T) {
	t.Helper()
	theirs, err := os.ReadFile("../cmd/monitord/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(theirs), "package main\n")
	standard, imports, ok := strings.Cut(code, "\t_ \"")
	if !ok {
		t.Fatal("cmd/monitord/main.go imports no plugin")
	}
	want := `// Director is monitord with three kinds of one's own: a copy of cmd/monitord/main.go
// with three imports more.
package main
` + standard + `	_ "example.org/director/clock"
	_ "example.org/director/link"
	_ "example.org/director/zabbix"

	_ "` + imports
	if *update {
		write(t, "plugins/main.go", want, 0o644)
	}
	got, err := os.ReadFile("plugins/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("contrib/plugins/main.go is no copy of cmd/monitord/main.go any more: run go test ./contrib -run Outside -update")
	}
}

// TestPluginsPage copies the examples of docs/plugins.md as a newcomer does: the
// programs into their folders, the Go files into a module.
func TestPluginsPage(t *testing.T) {
	programs, code, ok := strings.Cut(pluginsPage(t), "\n# Go\n")
	if !ok {
		t.Fatal("the page has no part about Go")
	}
	t.Run("programs", func(t *testing.T) {
		monitord := filepath.Join(t.TempDir(), "monitord")
		golang(t, "..", "build", "-o", monitord, "./cmd/monitord")
		folder := shortTempDir(t)
		n := 0
		for _, b := range blocks(programs, "sh") {
			path := namedBefore(t, b)
			write(t, filepath.Join(folder, path), b.text, 0o700)
			n++
		}
		if n != 3 {
			t.Errorf("%d programs, want 3", n)
		}
		config := strings.ReplaceAll(only(t, blocks(programs, "toml")), "/etc/monitord", filepath.Join(folder, "etc/monitord"))
		plays(t, monitord, folder, config)
	})
	t.Run("Go", func(t *testing.T) {
		module := t.TempDir()
		for _, b := range blocks(code, "go") {
			name, ok := strings.CutPrefix(strings.SplitN(b.text, "\n", 2)[0], "// ")
			if !ok || !strings.HasSuffix(name, ".go") {
				t.Fatalf("a block of Go does not begin with its file's name:\n%s", b.text)
			}
			write(t, filepath.Join(module, name), b.text, 0o600)
		}
		mainModule(t, module)
		golang(t, module, "vet", "-mod=readonly", "./...")
		golang(t, module, "test", "-mod=readonly", "./...")
		program := filepath.Join(module, "director")
		golang(t, module, "build", "-mod=readonly", "-o", program, ".")
		plays(t, program, shortTempDir(t), only(t, blocks(code, "toml")))
	})
}

// mainModule makes the module's go.mod, with what is in this working copy.
func mainModule(t *testing.T, module string) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile("plugins/go.sum")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("plugins/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(module, "go.mod"), strings.Replace(string(text), "=> ../..", "=> "+root, 1), 0o600)
	write(t, filepath.Join(module, "go.sum"), string(sum), 0o600)
}

// plays goes through what the page promises of either of its configurations.
func plays(t *testing.T, program, folder, config string) {
	t.Helper()
	flags, notes, active := filepath.Join(folder, "flags"), filepath.Join(folder, "notes"), filepath.Join(folder, "active")
	write(t, filepath.Join(flags, "web2"), "taken out\n", 0o600)
	file := configuration(t, folder, strings.NewReplacer("/var/lib/flags", flags, "/var/lib/notes", notes, "/var/lib/active", active).Replace(config))

	out, errs, exit := try(t, program, "test", "monitor", "web:flag", "-c", file)
	if exit != 1 || !regexp.MustCompile(`(?m)^web1 +up\b`).MatchString(out) || !regexp.MustCompile(`(?m)^web2 +down\b`).MatchString(out) {
		t.Errorf("test monitor: exit %d, %s%s", exit, out, errs)
	}
	run(t, program, "test", "alert", "web:flag", "-c", file)
	if text, err := os.ReadFile(notes); err != nil || !strings.HasPrefix(string(text), "test web:flag: ") {
		t.Errorf("the note is %q, %v", text, err)
	}
	holds(t, program, file, active)
}

// holds runs the daemon until it holds its group, and ends it.
func holds(t *testing.T, program, config, active string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program, "run", "-c", config)
	output, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout = c.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	for lines := bufio.NewScanner(io.TeeReader(output, &said)); lines.Scan(); {
		if strings.Contains(lines.Text(), "role=active") {
			break
		}
	}
	if _, err := os.Lstat(active); err != nil {
		t.Errorf("the group is held, and: %v", err)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(&said, output)
	if err := c.Wait(); err != nil {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(active); err == nil {
		t.Error("the daemon has ended, and its resource is still there")
	}
	if t.Failed() {
		t.Log(said.String())
	}
}

// A block is one of a language, with the text before it.
type block struct{ before, text string }

func blocks(page, language string) []block {
	var all []block
	for {
		before, rest, ok := strings.Cut(page, "\n```"+language+"\n")
		if !ok {
			return all
		}
		text, after, _ := strings.Cut(rest, "\n```\n")
		all = append(all, block{before, text + "\n"})
		page = "\n" + after
	}
}

// namedBefore is the path that stands right before a block.
func namedBefore(t *testing.T, b block) string {
	t.Helper()
	m := regexp.MustCompile("`(/[^`]+)`:\n$").FindStringSubmatch(b.before)
	if m == nil {
		t.Fatalf("no path stands before this program:\n%s", b.text)
	}
	return m[1]
}

func only(t *testing.T, all []block) string {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("%d configurations, want 1", len(all))
	}
	return all[0].text
}

// configuration writes one whose own files are in the folder too.
func configuration(t *testing.T, folder, text string) string {
	t.Helper()
	file := filepath.Join(folder, "monitord.toml")
	write(t, file, fmt.Sprintf("statedir = %q\nlogdir = %q\nsocket = %q\n%s", folder, folder, filepath.Join(folder, "socket"), text), 0o600)
	return file
}

// shortTempDir is one for a socket, whose path has room for 107 bytes (unix(7)).
func shortTempDir(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "monitord") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// golang runs the go command in a folder.
func golang(t *testing.T, folder string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = folder
	out, err := c.CombinedOutput()
	if err == nil {
		return
	}
	hint := ""
	if strings.Contains(string(out), "go.sum") || strings.Contains(string(out), "go: updates to go.mod needed") {
		hint = "\nafter a change of go.mod: go test ./contrib -run Outside -update"
	}
	t.Fatalf("go %s in %s: %v\n%s%s", strings.Join(args, " "), folder, err, out, hint)
}

// run runs a command that has to succeed.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, errs, exit := try(t, program, args...)
	if exit != 0 {
		t.Errorf("%s: exit %d\n%s%s", strings.Join(args, " "), exit, out, errs)
	}
	return out
}

func try(t *testing.T, program string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, program, args...)
	c.Stdout, c.Stderr = &out, &errs
	var failed *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// clock is an NTP server that has this machine's time.
func clock(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for {
			p := make([]byte, 48)
			n, from, err := conn.ReadFrom(p)
			if err != nil || n != len(p) {
				return
			}
			p[0], p[1] = 4<<3|4, 2 // a server's answer, stratum 2
			copy(p[24:32], p[40:])
			now := time.Now()
			for _, at := range []int{32, 40} {
				binary.BigEndian.PutUint32(p[at:], uint32(now.Unix()+2_208_988_800)) //nolint:gosec // wraps in 2036, as it should
				binary.BigEndian.PutUint32(p[at+4:], uint32(int64(now.Nanosecond())<<32/int64(time.Second)))
			}
			_, _ = conn.WriteTo(p, from)
		}
	}()
	return conn.LocalAddr().String()
}

// zabbix is a server that is content with everything.
func zabbix(t *testing.T, got chan<- string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			text := make([]byte, 4096)
			n, _ := conn.Read(text)
			got <- string(text[:n])
			const answer = `{"response":"success","info":"processed: 1; failed: 0"}`
			_, _ = conn.Write(binary.LittleEndian.AppendUint64([]byte("ZBXD\x01"), uint64(len(answer))))
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}
