//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/internal/e2e/hosts"
	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/timeup"
	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/resourcetest"
	"github.com/monitord/monitord/resources/systemd"
)

// A manager is a systemd of its own, process 1 of a namespace of processes in a host, with
// only the units of the test.
type manager struct {
	host      *hosts.Host
	process   int    // as seen from here
	folder    string // with the units, as *.service and so on
	systemctl string // a program that speaks to this systemd
}

// boot makes process 1 a systemd: in a container, as it understands the word. It has a
// control group of its own, of version 2, whose name is the first argument; the second is
// systemd, the third the folder with its units. What it may write is not the machine's.
const boot = `
mount --make-rprivate /
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/$1
echo 0 >/sys/fs/cgroup/$1/cgroup.procs
umount /sys/fs/cgroup
exec unshare --cgroup sh -ec '
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
mount --bind /proc/sys/fs /proc/sys/fs
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/units
mount --bind "$2" /run/units
for folder in /tmp /var/tmp /var/lib; do mount -t tmpfs tmpfs $folder; done
mount --rbind /dev /dev
mount --bind /dev/null /dev/console
for folder in /proc/sys/fs /dev /; do mount -o remount,bind,ro $folder; done
exec env container=lab SYSTEMD_UNIT_PATH=/run/units SYSTEMD_GENERATOR_PATH=/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/none \
	"$1" --system --unit=lab.target --log-target=null --show-status=no --default-standard-output=null' sh "$2" "$3"
`

// unboot removes the control groups of a systemd that has ended.
const unboot = `
mount --make-rprivate /
mount -t cgroup2 cgroup2 /sys/fs/cgroup
find /sys/fs/cgroup/$1 -depth -type d -exec rmdir {} +
`

// programOfSystemd is the machine's own, else that of Debian's package, whose systemctl is
// in PATH then.
func programOfSystemd(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(kernellab.SystemdPath); err == nil {
		return kernellab.SystemdPath
	}
	root := debian.Tree(t, "systemd")
	debian.Setenv(t, root)
	for _, pattern := range []string{"lib/*-linux-gnu/systemd", "usr/lib/*-linux-gnu/systemd"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("LD_LIBRARY_PATH", strings.Join(append(found, os.Getenv("LD_LIBRARY_PATH")), ":"))
	}
	return filepath.Join(root, kernellab.SystemdPath)
}

// theirs are the units that others need: what a service depends on by default.
func theirs() map[string]string {
	units := map[string]string{"lab.target": "[Unit]\nDefaultDependencies=no\n"}
	for _, name := range []string{"sysinit.target", "basic.target", "shutdown.target"} {
		units[name] = "[Unit]\nDefaultDependencies=no\n"
	}
	return units
}

// bootSystemd starts one in a host, for the time of the test. The units are by name.
func bootSystemd(t *testing.T, h *hosts.Host, units map[string]string) *manager {
	t.Helper()
	m := &manager{host: h, folder: t.TempDir()}
	for _, set := range []map[string]string{theirs(), units} {
		for name, text := range set {
			m.write(t, name, text)
		}
	}
	group := fmt.Sprintf("monitord-%d", os.Getpid())
	cmd := h.Command(context.Background(), "/bin/sh", "-ec", boot, "sh", group, programOfSystemd(t), m.folder)
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // with it end all processes of the namespace
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("systemd said:\n%s", said.String())
		}
		clean := h.Command(context.Background(), "/bin/sh", "-ec", unboot, "sh", group)
		clean.SysProcAttr.Cloneflags = unix.CLONE_NEWNS
		if _, err := clean.Output(); err != nil {
			t.Error(err)
		}
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.process = cmd.Process.Pid
	m.writeSystemctl(t)
	hosts.Eventually(t, patience, func() error {
		_, err := m.ask("is-active", "lab.target")
		return err
	})
	return m
}

// writeSystemctl makes the program that speaks to this systemd.
func (m *manager) writeSystemctl(t *testing.T) {
	t.Helper()
	m.systemctl = filepath.Join(t.TempDir(), "systemctl")
	text := fmt.Sprintf("#!/bin/sh\nexec nsenter --mount --pid --target %d systemctl \"$@\"\n", m.process)
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(m.systemctl, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// write writes a unit, or what changes one.
func (m *manager) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(m.folder, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// ask calls systemctl as a person would.
func (m *manager) ask(args ...string) (string, error) {
	out, err := exec.Command(m.systemctl, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), err
}

// unit is the resource, built as the daemon builds it.
func (m *manager) unit(t testing.TB, name string) resources.Resource {
	t.Helper()
	r, err := resources.Build("systemd", resources.Site{}, func(into any) error {
		*into.(*systemd.Config) = systemd.Config{Unit: name, Systemctl: m.systemctl}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// services are as people have them: instances of each are a place of their own.
func services() map[string]string {
	return map[string]string{
		"web@.service":     "[Service]\nExecStart=/bin/sleep infinity\n",
		"broken@.service":  "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/false\n",
		"blocked@.service": "[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n",
		// It ends as soon as it was started, again and again.
		"crashing@.service": "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1h\n",
		"oneshot@.service":  "[Service]\nType=oneshot\nExecStart=/bin/true\n",
		// It does not end, and is killed in the end: the unit has failed then.
		"deaf@.service": "[Service]\nType=exec\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1000; done'\nTimeoutStopSec=1s\n",
		// Its end never comes.
		"stubborn@.service": "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sh -c 'echo >/run/units/hangs; sleep infinity'\nTimeoutStopSec=infinity\n",
		"refusing@.service": "[Unit]\nRefuseManualStop=yes\n[Service]\nExecStart=/bin/sleep infinity\n",
	}
}

// A resource of the kind "systemd" keeps its contract with a real systemd.
func TestEndToEndSystemd(t *testing.T) {
	m := bootSystemd(t, hosts.New(t).Host("dr1"), services())
	places := 0
	in := func(name string) func(testing.TB) func() resources.Resource {
		return func(t testing.TB) func() resources.Resource {
			places++
			place := fmt.Sprintf("%s@%d", name, places)
			return func() resources.Resource { return m.unit(t, place) }
		}
	}
	t.Run("conformance", func(t *testing.T) {
		resourcetest.Run(t, resourcetest.Subject{New: in("web"), Broken: in("broken"), Blocked: in("blocked")})
	})
	t.Run("it says why", func(t *testing.T) { m.refuses(t) })
	t.Run("stop is killed", func(t *testing.T) {
		r := m.unit(t, "deaf@1")
		if err := errors.Join(r.Start(t.Context()), r.Stop(t.Context())); err != nil {
			t.Error(err)
		}
		m.is(t, r, resources.Stopped)
	})
	t.Run("stop hangs", func(t *testing.T) {
		r := m.unit(t, "stubborn@1")
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := r.Stop(timeup.AtWord(t, filepath.Join(m.folder, "hangs")))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stop stubborn@1.service did not end in time") {
			t.Errorf("error %v", err)
		}
		m.is(t, r, resources.Failed) // on its way
	})
}

// refuses goes through what cannot be started or stopped.
func (m *manager) refuses(t *testing.T) {
	for unit, want := range map[string]string{
		"nowhere":    "nowhere.service: there is no such unit",
		"broken@x":   "start broken@x.service: systemctl: exit status 1, it is failed, result exit-code: Job for broken@x.service failed",
		"crashing@x": "start crashing@x.service: it is activating (auto-restart), result exit-code",
		"oneshot@x":  "RemainAfterExit=yes",
	} {
		r := m.unit(t, unit)
		if err := r.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("start: error %v, want %q in it", err, want)
		}
		if err := r.Stop(t.Context()); err != nil {
			t.Errorf("stop %s: %v", unit, err)
		}
		if unit != "nowhere" {
			m.is(t, r, resources.Stopped)
		}
	}
	r := m.unit(t, "refusing@x")
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "Operation refused") {
		t.Errorf("stop: error %v", err)
	}
	m.is(t, r, resources.Running)
	_, err := m.unit(t, "nowhere").Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "there is no such unit") {
		t.Errorf("status: error %v", err)
	}
}

// is compares a resource's status.
func (m *manager) is(t *testing.T, r resources.Resource, want resources.Status) {
	t.Helper()
	if got, err := r.Status(t.Context()); err != nil || got != want {
		t.Errorf("%s, error %v; want %s", got, err, want)
	}
}
