package redis

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/dialogue/dialoguetest"
	"github.com/monitord/monitord/monitors"
)

// debianRedis runs Debian's server on a free port of loopback until the end of the
// test, and returns its entry.
func debianRedis(t *testing.T, root string, args ...string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entry := free.Addr().String()
	_ = free.Close() // The server wants a number.
	_, port, _ := net.SplitHostPort(entry)
	ctx, stop := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, filepath.Join(root, "usr/bin/redis-server"),
		append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir()}, args...)...)
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = server.Wait() // killed
	})
	var log strings.Builder
	for lines := bufio.NewScanner(output); lines.Scan(); log.WriteString(lines.Text() + "\n") {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			return entry // The little that it says after that fits into the pipe.
		}
	}
	t.Fatalf("the server ended:\n%s", log.String())
	return ""
}

// TestDebianRedis asks the real thing.
func TestDebianRedis(t *testing.T) {
	root := debian.Tree(t, "redis-server", "redis-tools")
	debian.Setenv(t, root)
	open := debianRedis(t, root)
	locked := debianRedis(t, root, "--requirepass", "s3cret")
	host, port, _ := net.SplitHostPort(dialtest.Refused(t, "127.0.0.1"))
	orphan := debianRedis(t, root, "--replicaof", host+" "+port, "--replica-serve-stale-data", "no")
	password := func(c *config) { c.Password = "s3cret" }
	for _, c := range []struct {
		name, entry string
		change      func(*config)
		want        monitors.Verdict
		reason      string
	}{
		{"open", open, nil, monitors.Up, ""},
		{"master", open, func(c *config) { c.Role = "master" }, monitors.Up, ""},
		{"no slave", open, func(c *config) { c.Role = "slave" }, monitors.Down, `the role is "master", wanted slave`},
		{"no password needed", open, password, monitors.Down, `AUTH sent, but the answer is "-ERR AUTH <password> called without any password configured`},
		{"password", locked, password, monitors.Up, ""},
		{"user", locked, func(c *config) { password(c); c.User = "default" }, monitors.Up, ""},
		{"wrong password", locked, func(c *config) { c.Password = "other" }, monitors.Down, "-WRONGPASS"},
		{"password wanted", locked, nil, monitors.Unknown, "-NOAUTH"},
		{"without its master", orphan, nil, monitors.Down, `PING sent, but the answer is "-MASTERDOWN`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialoguetest.VerifyAs(t, mustBuild(t, c.change), c.entry, c.want, c.reason)
		})
	}
}
