//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/monitord/monitord/internal/e2e/hosts"
)

// directorCF is the mon.cf of a director as guides print it: a group for each server,
// periods without braces, lines that were wrapped, and a gateway whose loss stops
// heartbeat. Of the programs that it names only the monitors are there.
const directorCF = `alertdir = %[1]s
mondir = %[1]s
statedir = %[1]s/state
logdir = %[1]s/log
randstart = 1s
#
# group definitions
#
hostgroup server1 10.144.43.175
hostgroup server2 10.144.43.142
# network gateway
hostgroup server3 10.144.43.254
watch server1
service webcache
interval 1s
monitor http.monitor -p 8080 -t 10
allow_empty_group
period wd
alert lvs.alert -P tcp -V 10.144.43.185:8080 -R 10.144.43.175 -W 5 -F dr
alertevery 1h
alertafter 2
upalert lvs.alert -P tcp -V 10.144.43.185:8080 -R 10.144.43.175
-W 5 -F dr -u 1
watch server2
service webcache
interval 1s
monitor http.monitor -p 8080 -t 10
period wd
alert lvs.alert -P tcp -V 10.144.43.185:8080 -R 10.144.43.142 -W 3 -F dr
alertafter 2
numalerts 1
upalert lvs.alert -P tcp -V 10.144.43.185:8080 -R 10.144.43.142
-W 3 -F dr -u 1
watch server3
service ping
interval 1s
monitor ping.monitor 10.144.43.254
period wd
alertafter 6
alert heartbeat.alert
upalert heartbeat.alert -u
`

// aMonitor fails for the hosts that somebody says are down.
const aMonitor = `#!/bin/sh
failed=
for host; do test -e "%s/down.$host" && failed="$failed$host "; done
test -z "$failed" || { echo "$failed"; exit 1; }
`

// A director runs its mon.cf as it is: lines of lvs.alert take servers out of the
// kernel's table and put them back, as often as they die, though no such program is
// there.
func TestKernelMonCF(t *testing.T) {
	x := newLAN(t, "10.144.43.10/24", "10.144.43.186/24", "10.144.43.175/24", "10.144.43.142/24")
	x.director.Take("10.144.43.185")
	folder, err := os.MkdirTemp("", "monitord-") //nolint:usetesting // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil { //nolint:gosec // programs
			t.Fatal(err)
		}
		return path
	}
	cf := file("mon.cf", fmt.Sprintf(directorCF, folder))
	for _, name := range []string{"http.monitor", "ping.monitor"} {
		file(name, fmt.Sprintf(aMonitor, folder))
	}
	daemon := x.director.Command(t.Context(), hosts.Binary(t), "run", "-c", cf, "--socket", filepath.Join(folder, "socket"))
	var log strings.Builder // which is whole when the daemon has ended
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := daemon.Wait(); err != nil {
			t.Errorf("monitord ended: %v", err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	const (
		service = "-A -t 10.144.43.185:8080 -s wlc"
		server1 = "-a -t 10.144.43.185:8080 -r 10.144.43.175:8080 -g -w 5"
		server2 = "-a -t 10.144.43.185:8080 -r 10.144.43.142:8080 -g -w 3"
	)
	x.await(t, service, server1, server2) // they are in until they fail
	for range 2 {                         // more often than numalerts, and within alertevery
		down := file("down.10.144.43.142", "")
		x.await(t, service, server1)
		if err := os.Remove(down); err != nil {
			t.Fatal(err)
		}
		x.await(t, service, server1, server2)
	}
	file("down.10.144.43.254", "") // the gateway's watch takes nobody out
	file("down.10.144.43.175", "")
	x.await(t, service, server2)
}
