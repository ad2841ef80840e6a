//go:build linux

package clustertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// TestEndToEndReload: the active director reads a configuration with other servers and
// watches (SIGHUP). Nothing moves, and no request is lost.
func TestEndToEndReload(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	s.begins()
	s.eventually("the web is served", func() bool { return s.Outage(lab.HTTP, 0, 0).Answered["web3"] > 0 })
	began := netif.Boottime()
	changed := strings.NewReplacer(`, { host = "10.7.0.23" }`, "", `interval = "500ms"`, `interval = "400ms"`).Replace
	for _, node := range []string{"dr1", "dr2"} {
		n := s.node(node)
		text, err := os.ReadFile(n.Config())
		s.must(err)
		if changed(string(text)) == string(text) {
			t.Fatal("nothing was changed")
		}
		s.must(os.WriteFile(n.Config(), []byte(changed(string(text))), 0o600))
	}
	s.must(syscall.Kill(s.pid("dr1"), syscall.SIGHUP))
	s.eventually("web3 gets no more requests", func() bool {
		now := netif.Boottime()
		o := s.Outage(lab.HTTP, now-time.Second, 0)
		return o.Answered["web3"] == 0 && o.Answered["web1"] > 0
	})
	s.eventually("dr2 notices another configuration", func() bool { return s.differs("dr2", "dr1") })
	_, err := s.Run(t.Context(), "dr2", "reload", "--socket", s.node("dr2").Socket())
	s.must(err)
	s.eventually("they agree again", func() bool { return !s.differs("dr2", "dr1") && !s.differs("dr1", "dr2") })
	s.still(began, "dr1")
	s.outage(lab.Client, began, noise)
	if o := s.Outage(lab.HTTP, began, 0); o.Lost > 0 || o.Asked == 0 {
		t.Errorf("%d of %d requests were lost", o.Lost, o.Asked)
	}
	// What a reload cannot change.
	text, err := os.ReadFile(s.node("dr1").Config())
	s.must(err)
	s.must(os.WriteFile(s.node("dr1").Config(), []byte(strings.Replace(string(text), "priority = 200", "priority = 50", 1)), 0o600))
	if out, err := s.Run(t.Context(), "dr1", "reload", "--socket", s.node("dr1").Socket()); err == nil || !strings.Contains(err.Error(), "needs a restart") {
		t.Errorf("another priority is taken over by a reload: %v %s", err, out)
	}
	s.still(began, "dr1")
}

// differs tells whether a director says that another one's configuration is another.
func (s *site) differs(node, other string) bool {
	v, err := s.view(node)
	if err != nil {
		return false
	}
	for _, n := range v.Nodes {
		if n.Name == other {
			return n.Differs
		}
	}
	return false
}

// TestEndToEndSignals: SIGUSR2 leaves the address for the next process, SIGTERM hands
// it over.
func TestEndToEndSignals(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	s.begins()
	began := netif.Boottime()
	for range 3 {
		s.must(s.Restart(t.Context(), "dr1"))
		s.eventually("the next process holds it", func() bool { return s.role("dr1") == "active" })
		pass(1500 * time.Millisecond) // longer than the lease of the one before
	}
	s.still(began, "dr1")
	s.outage(lab.Client, began, noise)
	s.eventually("dr2 hears it", func() bool {
		v, err := s.view("dr2")
		return err == nil && v.Groups[0].Owner == "dr1"
	})
	stopped := netif.Boottime()
	s.stop("dr1")
	s.owned("dr2")
	s.served("dr2")
	if m := s.moves(stopped); len(m) != 2 || m[0].What != "address: none" {
		t.Errorf("dr1 gives, dr2 takes; not %v", m)
	}
	s.outage(lab.Client, stopped, 20*time.Millisecond+noise)
	if log := s.Log("dr1"); !strings.HasSuffix(strings.TrimSpace(log), "msg=ended") {
		t.Errorf("the end of dr1's log is not its end: %s", log)
	}
}

// TestEndToEndDiskFull: what a disk cannot take does not keep the address from people,
// not at the start, nor when it fills up later.
func TestEndToEndDiskFull(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	for _, node := range []string{"dr1", "dr2"} {
		s.must(s.Within(node, func() error {
			return unix.Mount("tmpfs", s.node(node).StateDir(), "tmpfs", 0, "size=16k,mode=0700")
		}))
	}
	s.fill("dr1")
	s.begins()
	s.logged("dr1", "no space left on device")
	s.fill("dr2")
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("dr2")
	s.served("dr2")
	s.logged("dr2", "no space left on device")
	// A start that remembers nothing, and nothing can be kept of.
	s.must(s.Start("dr1"))
	s.eventually("dr1 stands by", func() bool { return s.role("dr1") == "standby" })
	began := netif.Boottime()
	pass(time.Second)
	s.still(began, "dr2")
	s.switchover("dr1")
	s.owned("dr1")
	s.served("dr1")
	// dr2 may have kept the epoch that it took, before its disk was full; not the next one.
	s.logged("dr2", "the epoch cannot be saved: going on without")
	s.must(s.Kill9(t.Context(), "dr1"))
	s.owned("dr2")
	s.served("dr2")
}

// fill leaves no room in a node's state folder.
func (s *site) fill(node string) {
	s.t.Helper()
	path := filepath.Join(s.node(node).StateDir(), "filler")
	s.must(s.Within(node, func() error {
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		for err == nil {
			_, err = file.Write(make([]byte, 512))
		}
		if !errors.Is(err, unix.ENOSPC) {
			return err
		}
		return nil
	}))
}

// hanging makes a resource that dr1 cannot stop while there is the file that it returns.
// In its stop it notes beside that file whether the machine still has the address.
func (s *site) hanging() (hang string) {
	s.t.Helper()
	folder := s.node("dr1").Folder
	s.must(writeProgram(filepath.Join(folder, "service"), fmt.Sprintf(`#!/bin/sh
# On every director there is one of its own.
here=%[1]s/service-$(uname -n)
case $1 in
start) touch $here ;;
stop)
	if [ -e %[1]s/hang ] && [ $(uname -n) != dr2 ]; then
		if grep -q -F %[2]s /proc/net/fib_trie; then echo there; else echo gone; fi >>%[1]s/address
		sleep 1000
	fi
	rm -f $here ;;
status) [ -e $here ] || exit 3 ;;
esac
`, folder, "10.7.0.100")))
	return filepath.Join(folder, "hang")
}

// withService puts it before table and address, so that it stops after them.
func withService(t *testing.T) edit {
	t.Helper()
	return func(n lab.Node, text string) string {
		path := filepath.Join(filepath.Dir(n.Folder), "dr1", "service")
		service := fmt.Sprintf("  [[group.resource]]\n  type = \"exec\"\n  program = %q\n  class = \"lsb\"\n  stop_timeout = \"500ms\"\n", path)
		// The check of the configuration wants the program.
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), writeProgram(path, "#!/bin/sh\n")); err != nil {
			t.Error(err)
		}
		return replaced(t, "  [[group.resource]]\n  type = \"lvs\"", service+"  [[group.resource]]\n  type = \"lvs\"")(n, text)
	}
}

// TestEndToEndHangingStop: a resource that hangs in its stop. The address is gone at
// once; the group is in fault, people are told, and nobody else starts it until it has
// stopped.
func TestEndToEndHangingStop(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{}, withService(t))
	hang := s.hanging()
	s.begins()
	s.must(os.WriteFile(hang, nil, 0o600))
	ordered := netif.Boottime()
	go func() {
		_, _ = s.Run(t.Context(), "dr1", "switchover", "--socket", s.node("dr1").Socket(), "web", "dr2")
	}()
	s.owned("")
	s.logged("dr1", "it does not stop: somebody has to help")
	if gone := s.moves(ordered)[0].At - ordered; gone > time.Second {
		t.Errorf("the address was given up after %s", gone)
	}
	if at, err := os.ReadFile(filepath.Join(filepath.Dir(hang), "address")); err != nil || !strings.HasPrefix(string(at), "gone\n") {
		t.Errorf("when the service was asked to stop the address was %q (%v), want it gone before", at, err)
	}
	s.eventually("dr1 is in fault", func() bool { return s.role("dr1") == "fault" })
	pass(time.Second)
	s.still(s.moves(ordered)[0].At, "")
	s.must(os.Remove(hang))
	s.settles()
}

// TestEndToEndHangingStopFenced: the same with a power switch, which is asked then.
func TestEndToEndHangingStopFenced(t *testing.T) {
	t.Parallel()
	var pid, off string
	s := open(t, lab.Settings{}, withService(t), func(n lab.Node, text string) string {
		folder := filepath.Dir(n.Folder)
		pid, off = filepath.Join(folder, "pid"), filepath.Join(folder, "off")
		program := filepath.Join(folder, "power")
		script := fmt.Sprintf("#!/bin/sh\ncase $1 in\noff) echo $2 >>%[2]s; kill -9 $(cat %[1]s) ;;\nstatus) kill -0 $(cat %[1]s) 2>/dev/null && echo on || echo off ;;\nesac\n", pid, off)
		if err := writeProgram(program, script); err != nil {
			t.Error(err)
		}
		return replaced(t, "[fence]\n", fmt.Sprintf("[fence]\nstonith = { program = %q }\n", program))(n, text)
	})
	hang := s.hanging()
	s.begins()
	s.must(os.WriteFile(hang, nil, 0o600))
	s.must(os.WriteFile(pid, fmt.Appendln(nil, s.pid("dr1")), 0o600))
	go func() {
		_, _ = s.Run(t.Context(), "dr1", "switchover", "--socket", s.node("dr1").Socket(), "web", "dr2")
	}()
	s.owned("")
	gone := netif.Boottime()
	s.owned("dr2")
	s.served("dr2")
	asked, err := os.ReadFile(off)
	s.must(err)
	if string(asked) != "dr1\n" {
		t.Errorf("the power switch was asked to turn off %q, want dr1, once", asked)
	}
	if m := s.moves(gone); len(m) != 1 {
		t.Errorf("dr2 took it, and no more; not %v", m)
	}
	s.logged("dr2", "was fenced")
	s.eventually("dr2 is active", func() bool { return s.role("dr2") == "active" })
}

// busyFor is how long all cores are busy.
const busyFor = "MONITORD_BUSY"

// TestEndToEndBusy: endless loops on all cores, two each, are no reason to move: for a
// minute, or as long as MONITORD_BUSY says. Nothing else runs beside it.
func TestEndToEndBusy(t *testing.T) {
	long := time.Minute
	if text := os.Getenv(busyFor); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, lab.Settings{})
	s.begins()
	began := netif.Boottime()
	for range 2 * runtime.NumCPU() {
		c := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		s.must(c.Start())
		defer func() {
			_ = c.Process.Kill()
			_ = c.Wait() // it was killed
		}()
	}
	pass(long)
	s.still(began, "dr1")
	v, err := s.view("dr1")
	s.must(err)
	t.Logf("longest gap of dr1's loop %gs, %d too long; %s; outage %s", v.LongestGap, v.Gaps, v.Isolation, s.Outage(lab.Client, began, 0))
	for _, e := range v.Events {
		if e.Kind == director.Transition.String() && e.From == "active" {
			t.Errorf("dr1 gave up: %+v", e)
		}
	}
}
