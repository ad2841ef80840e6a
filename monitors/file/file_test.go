package file

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(t testing.TB, change func(*config), paths ...string) config {
	t.Helper()
	c, ok := monitors.Defaults("file").(*config)
	if !ok {
		t.Fatal("the kind is not registered with its config")
	}
	c.Path = paths
	if change != nil {
		change(c)
	}
	return *c
}

func mustBuild(t testing.TB, c config) monitors.Monitor {
	t.Helper()
	m, err := build(c, monitors.Site{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// check looks at paths for one host.
func check(t *testing.T, change func(*config), paths ...string) monitors.HostResult {
	t.Helper()
	r, err := mustBuild(t, configured(t, change, paths...)).Check(t.Context(), monitors.Request{Hosts: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Hosts[0]
}

func verify(t *testing.T, got monitors.HostResult, want monitors.Verdict, reason string) {
	t.Helper()
	if got.Verdict != want || !strings.Contains(got.Reason, reason) || (reason == "") != (got.Reason == "") {
		t.Errorf("got %s, %q, want %s, %q", got.Verdict, got.Reason, want, reason)
	}
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

// blocked is an examination that hangs for a path with "silent" in it, as the
// kernel does for one on a lost server, until the test ends.
func blocked(t testing.TB) func(context.Context, string) error {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(_ context.Context, path string) error {
		switch filepath.Base(path) {
		case "up":
			return nil
		case "down":
			return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		<-end
		return nil
	}
}

// TestConformance: each host has a file of its own, or none.
func TestConformance(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "up"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	host := func(name string) func(testing.TB) string { return func(testing.TB) string { return name } }
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor { return mustBuild(t, configured(t, nil, dir+"/{host}")) },
		Up:  host("up"), Down: host("down"),
		NeverSilent: "what a dead file system holds is the kernel's to end, see TestConformanceSilent",
	})
}

// TestConformanceSilent: a file system that does not answer ends no run late. The
// looks that it holds are the kernel's to end, so here each test ends its own.
func TestConformanceSilent(t *testing.T) { synctest.Test(t, conformanceSilent) }

func conformanceSilent(t *testing.T) {
	c := configured(t, nil, "/{host}")
	m := newMonitor(c, blocked(t))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r, err := m.Check(ctx, monitors.Request{Hosts: []string{"silent", "up", "silent", "down"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []monitors.Verdict{monitors.Unknown, monitors.Up, monitors.Unknown, monitors.Down}
	for i, h := range r.Hosts {
		if h.Verdict != want[i] {
			t.Errorf("%s is %s (%s), want %s", h.Host, h.Verdict, h.Reason, want[i])
		}
	}
}

// TestLostServer: the timeout makes it down, and one look is left behind, however
// many runs there are.
func TestLostServer(t *testing.T) { synctest.Test(t, lostServer) }

func lostServer(t *testing.T) {
	begun, end := make(chan string, 10), make(chan struct{})
	c := configured(t, func(c *config) { c.Timeout = monitors.Duration(50 * time.Millisecond) }, "/nfs/a", "/nfs/b")
	var once sync.Once
	release := func() { once.Do(func() { close(end) }) }
	defer release()
	m := newMonitor(c, func(ctx context.Context, path string) error {
		begun <- path
		<-end
		return ctx.Err()
	})
	for range 3 {
		r, err := m.Check(t.Context(), monitors.Request{Hosts: []string{"localhost"}})
		if err != nil {
			t.Fatal(err)
		}
		verify(t, r.Hosts[0], monitors.Down, "/nfs/a: the file system gave no answer within the timeout")
	}
	if len(begun) != 1 {
		t.Fatalf("%d looks were begun, want 1", len(begun))
	}
	// The look that is over says nothing about a run that came later: it looks anew.
	release()
	m.each = monitors.EachHost(1, time.Minute, m.host)
	r, err := m.Check(t.Context(), monitors.Request{Hosts: []string{"localhost"}})
	if err != nil || r.Hosts[0].Verdict != monitors.Up {
		t.Errorf("when the server is back: %+v, %v", r, err)
	}
}

func TestPanic(t *testing.T) {
	m := newMonitor(configured(t, nil, "/x"), func(context.Context, string) error { panic("oops") })
	r, err := m.Check(t.Context(), monitors.Request{Hosts: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	verify(t, r.Hosts[0], monitors.Unknown, "oops")
}

func TestPaths(t *testing.T) {
	text := write(t, "text", "state: OK\nname: a\n")
	dir := filepath.Dir(text)
	old := write(t, "old", "x")
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	ahead := write(t, "ahead", "x")
	if err := os.Chtimes(ahead, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	link, dangling, loop := filepath.Join(dir, "link"), filepath.Join(dir, "dangling"), filepath.Join(dir, "loop")
	for name, to := range map[string]string{link: text, dangling: "no\x1bwhere", loop: loop} {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	huge := write(t, "huge", "beginning\n")
	if err := os.Truncate(huge, 1<<40); err != nil { // sparse
		t.Fatal(err)
	}
	hours := func(n int) monitors.Duration { return monitors.Duration(n * int(time.Hour)) }
	const up, down, unknown = monitors.Up, monitors.Down, monitors.Unknown
	for _, c := range []struct {
		name, path string
		change     func(*config)
		want       monitors.Verdict
		reason     string
	}{
		{"file", text, nil, up, ""},
		{"folder", dir, nil, up, ""},
		{"pipe", pipe, nil, up, ""},
		{"link", link, nil, up, ""},
		{"missing", dir + "/none", nil, down, "/none: no such file or directory"},
		{"below a file", text + "/none", nil, down, "not a directory"},
		{"dangling link", dangling, nil, down, `is a symbolic link to "no where", which is not there`},
		{"link to itself", loop, nil, down, "too many levels of symbolic links"},
		{"name too long", dir + "/" + strings.Repeat("x", 5000), nil, down, "file name too long"},

		{"absent", dir + "/none", func(c *config) { c.Absent = true }, up, ""},
		{"absent below a file", text + "/none", func(c *config) { c.Absent = true }, up, ""},
		{"not absent", text, func(c *config) { c.Absent = true }, down, "is there, a file of 2"},
		{"dangling link not absent", dangling, func(c *config) { c.Absent = true }, down, "is there, a symbolic link of 2"},

		{"young enough", text, func(c *config) { c.MaxAge = hours(1) }, up, ""},
		{"too old", old, func(c *config) { c.MaxAge = hours(26) }, down, "48h0m0s ago; wanted: at most 26h0m0s ago"},
		{"ahead", ahead, func(c *config) { c.MaxAge = hours(26) }, down, "ahead: its age cannot be told"},
		{"old enough", old, func(c *config) { c.MinAge = hours(26) }, up, ""},
		{"too young", text, func(c *config) { c.MinAge = hours(26) }, down, "wanted: at least 26h0m0s ago"},

		{"large enough", text, func(c *config) { c.MinSize = "18" }, up, ""},
		{"too small", text, func(c *config) { c.MinSize = "19 B" }, down, "has 18 bytes, wanted at least 19 B"},
		{"small enough", text, func(c *config) { c.MaxSize = "18" }, up, ""},
		{"too large", huge, func(c *config) { c.MaxSize = "10GB" }, down, "has 1099511627776 bytes, wanted at most 10GB"},
		{"size of a folder", dir, func(c *config) { c.MinSize = "1" }, down, "is a folder, and only a plain file has a size"},
		{"empty", write(t, "empty", ""), func(c *config) { c.MaxSize = "0" }, up, ""},

		{"mode", text, func(c *config) { c.Mode = "0640" }, up, ""},
		{"another mode", text, func(c *config) { c.Mode = "4600" }, down, "has mode 0640, wanted 4600"},
		{"owner", text, func(c *config) { c.Owner, c.Group = fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getgid()) }, up, ""},
		{"another owner", text, func(c *config) { c.Owner = "4294967294" }, down, "wanted 4294967294"},
		{"another group", text, func(c *config) { c.Group = "4294967294" }, down, "belongs to group"},
		{"owner by name", "/", func(c *config) { c.Owner, c.Group = "root", "root" }, up, ""},

		{"content", text, func(c *config) { c.Content = "(?m)^state: OK$" }, up, ""},
		{"other content", text, func(c *config) { c.Content = "FAILED" }, down, `has no match of "FAILED" in its 18 bytes`},
		{"content absent", text, func(c *config) { c.ContentAbsent = "FAILED" }, up, ""},
		{"content not absent", text, func(c *config) { c.ContentAbsent = "state.*" }, down, `holds "state: OK", a match of "state.*" that must not be there`},
		{"content of a folder", dir, func(c *config) { c.Content = "x" }, down, "is a folder, and only a plain file has content"},
		{"content of a pipe", pipe, func(c *config) { c.Content = "x" }, down, "is a named pipe, and only a plain file has content"},
		{"content of a device", "/dev/zero", func(c *config) { c.Content = "x" }, down, "is a device, and only"},
		{"huge", huge, func(c *config) { c.Content, c.MaxBytes = "^beg", 10 }, up, ""},
		{"huge without", huge, func(c *config) { c.Content, c.MaxBytes = "end", 10 }, down, `no match of "end" in its first 10 bytes`},
		{"huge, absent", huge, func(c *config) { c.ContentAbsent, c.MaxBytes = "end", 10 }, unknown, "longer than the first 10 bytes that were looked at"},
		{"huge, digest", huge, func(c *config) { c.Digest = "sha256:" + strings.Repeat("0", 64) }, unknown, "set max_bytes higher"},
		{"digest", text, func(c *config) { c.Digest = fmt.Sprintf("sha256:%X", sha256.Sum256([]byte("state: OK\nname: a\n"))) }, up, ""},
		{
			"another digest", text,
			func(c *config) { c.Digest = "SHA256:fe55a1c2cc10f4f8b6a67a2b0c1f71b2f34bfd2e5a4c8bc0a3b9fb9ba8a2ee4f" },
			down, "has the digest sha256:",
		},

		{"a mount point", "/proc", func(c *config) { c.Mounted = true }, up, ""},
		{"no mount point", dir, func(c *config) { c.Mounted = true }, down, "is no mount point"},
		{"free space", dir, func(c *config) { c.MinFree = "1" }, up, ""},
		{"too little free space", dir, func(c *config) { c.MinFree = "4000000TiB" }, down, ", wanted 4000000TiB"},
		{"less than all is free", dir, func(c *config) { c.MinFree = "100%" }, down, ", wanted 100%"},
		{"no blocks", "/proc", func(c *config) { c.MinFree = "10%" }, unknown, "has no blocks"},
		{"free inodes", dir, func(c *config) { c.MinFreeInodes = "1" }, up, ""},
	} {
		t.Run(c.name, func(t *testing.T) { verify(t, check(t, c.change, c.path), c.want, c.reason) })
	}
}

// TestReopened: what has become a pipe after the first look is not waited for.
func TestReopened(t *testing.T) {
	text := write(t, "text", "x")
	info, err := os.Stat(text)
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	w := &wish{content: regexp.MustCompile("x"), config: config{MaxBytes: 1}}
	if err := w.judgeContent(t.Context(), pipe, info); err == nil || !strings.Contains(err.Error(), "has become a named pipe") {
		t.Errorf("got %v", err)
	}
}

// TestSeveral: one bad path is a verdict, whatever could not be looked at.
func TestSeveral(t *testing.T) {
	text := write(t, "text", "x")
	verify(t, check(t, nil, text, "/"), monitors.Up, "")
	verify(t, check(t, nil, text, "/none", "/neither"), monitors.Down, "/none: no such file or directory; /neither: no such")
	noBlocks := func(c *config) { c.MinFree = "1" }
	verify(t, check(t, noBlocks, "/proc", "/none"), monitors.Down, "/none: no such file")
	verify(t, check(t, noBlocks, "/proc", text), monitors.Unknown, "/proc is on a file system that has no blocks")
}

// TestLabels: what is found about this machine is the verdict on every host.
func TestLabels(t *testing.T) {
	r, err := mustBuild(t, configured(t, nil, "/none")).Check(t.Context(), monitors.Request{Hosts: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Exit != 1 || !strings.HasPrefix(string(r.Output), "a b\n") || len(r.Hosts) != 2 || r.Hosts[1].Host != "b" {
		t.Errorf("got %+v, %q", r, r.Output)
	}
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct {
		text            string
		free, all, unit uint64
		exceeds         bool
	}{
		{"10%", 10, 100, 4096, false},
		{"10.5%", 10, 100, 4096, true},
		{"40kB", 10, 100, 4096, false},
		{"41kB", 10, 100, 4096, true},
		{"0%", 0, 100, 4096, false},
		{"1", 0, 1 << 60, 1, true},
	} {
		a, err := parseAmount(c.text, parseSize)
		if err != nil || a.exceeds(c.free, c.all, c.unit) != c.exceeds {
			t.Errorf("%s of %d/%d: got %+v, %v, want exceeds %t", c.text, c.free, c.all, a, err, c.exceeds)
		}
	}
	for text, want := range map[string]int64{"0": 0, "12": 12, "1.5kB": 1500, "1 KiB": 1024, "2MiB": 2 << 20, "3TB": 3e12} {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "B", "1k", "1 kb", "-1", "NaN", "Inf", "1e40", "1KBi", "ten"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
	for want, bytes := range map[string]uint64{"5 bytes": 5, "1.0 KiB": 1024, "2.5 GiB": 5 << 29, "5000.0 TiB": 5000 << 40} {
		if got := size(bytes); got != want {
			t.Errorf("%d: got %s, want %s", bytes, got, want)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"path", func(c *config) { c.Path = nil }, "is missing"},
		{"path", func(c *config) { c.Path = []string{"etc/passwd"} }, "no absolute path"},
		{"path", func(c *config) { c.Path = []string{"/a\x00b"} }, "no absolute path"},
		{"timeout", func(c *config) { c.Timeout = 0 }, "write a duration"},
		{"limit", func(c *config) { c.Limit = 0 }, "write 1 or more"},
		{"max_bytes", func(c *config) { c.MaxBytes = 1 << 30 }, "1 to 104857600"},
		{"min_age", func(c *config) { c.MinAge, c.MaxAge = 2, 1 }, "no file is both"},
		{"min_size", func(c *config) { c.MinSize = "big" }, "is no size"},
		{"max_size", func(c *config) { c.MaxSize = "10M" }, "MiB"},
		{"min_size", func(c *config) { c.MinSize, c.MaxSize = "2", "1" }, "no file is both"},
		{"owner", func(c *config) { c.Owner = "nobody-of-this-name" }, "no user of this machine"},
		{"group", func(c *config) { c.Group = "-1" }, "no group of this machine"},
		{"mode", func(c *config) { c.Mode = "rw-r--r--" }, "in octal"},
		{"mode", func(c *config) { c.Mode = "10000" }, "in octal"},
		{"content", func(c *config) { c.Content = "(" }, "RE2"},
		{"content_absent", func(c *config) { c.ContentAbsent = "(" }, "RE2"},
		{"digest", func(c *config) { c.Digest = "md5:00" }, "64 hexadecimal digits"},
		{"min_free", func(c *config) { c.MinFree = "101%" }, "percentage"},
		{"min_free", func(c *config) { c.MinFree = "NaN%" }, "percentage"},
		{"min_free_inodes", func(c *config) { c.MinFreeInodes = "5GiB" }, "percentage"},
		{"max_age", func(c *config) { c.Absent, c.MaxAge = true, 1 }, "must be absent"},
		{"min_free", func(c *config) { c.Absent, c.MinFree = true, "1%" }, "must be absent"},
	} {
		_, err := build(configured(t, c.change, "/"), monitors.Site{})
		var key *plugin.KeyError
		if !errors.As(err, &key) || key.Key != c.key || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want key %s and %q", err, c.key, c.text)
		}
	}
}
