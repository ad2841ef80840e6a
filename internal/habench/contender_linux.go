package habench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/lab"
)

// A Contender is a program that two directors run, in one of its settings.
type Contender struct {
	Name string
	// Own: it is monitord, whose promises are kept.
	Own bool
	// after is for how long it is watched since a fault was undone.
	after time.Duration
	// traces are files in a node's folder that one leaves which was killed, and that
	// keep the next from starting: the process that they name may be a zombie still.
	traces   []string
	settings lab.Settings
	// signal reaches all processes of it that matter.
	signal func(ctx context.Context, l *lab.Lab, node string, s syscall.Signal) error
}

// Monitord is the program in that file, on two directors and, if wanted, a witness. The
// configuration is the lab's own.
func Monitord(binary string, witness bool) Contender {
	c := Contender{Name: "monitord", Own: true, after: 3 * time.Second, settings: lab.Settings{Binary: binary, Witness: witness}, signal: signalProgram}
	if witness {
		c.Name = "monitord, witness"
	}
	return c
}

// signalProgram signals the daemon alone.
func signalProgram(ctx context.Context, l *lab.Lab, node string, s syscall.Signal) error {
	switch s {
	case syscall.SIGKILL:
		return l.Kill9(ctx, node)
	case syscall.SIGSTOP:
		return l.Freeze(node, 0)
	default:
		return l.Resume(node)
	}
}

// Keepalived is Debian's, unpacked in a folder: VRRPv3 with advertisements every 0.1 s,
// or else what it does by default, VRRPv2 every second. Like monitord by default, a
// director that returns doesn't take the address back (nopreempt).
func Keepalived(tree string, fast bool) Contender {
	version, pace, name := 2, "1", "keepalived 1 s"
	if fast {
		version, pace, name = 3, "0.1", "keepalived VRRPv3 0.1 s"
	}
	file := func(n lab.Node, name string) string { return filepath.Join(n.Folder, name) }
	return Contender{Name: name, after: 6 * time.Second, signal: signalAll, traces: []string{"pid", "vrrp.pid"}, settings: lab.Settings{
		Binary: filepath.Join(tree, "usr/sbin/keepalived"),
		Args: func(n lab.Node) []string {
			return []string{
				"--dont-fork", "--log-console", "--vrrp", "--use-file", n.Config(),
				"--pid", file(n, "pid"), "--vrrp_pid", file(n, "vrrp.pid"),
			}
		},
		Env: []string{"LD_LIBRARY_PATH=" + libraries(tree)},
		Config: func(n lab.Node) string {
			priority := map[string]int{"dr1": 200, "dr2": 100}[n.Name]
			return fmt.Sprintf(`global_defs {
	router_id %s
	vrrp_version %d
}
vrrp_instance web {
	state BACKUP
	nopreempt
	interface eth0
	virtual_router_id 51
	priority %d
	advert_int %s
	virtual_ipaddress {
		10.7.0.100/32 dev eth0
	}
}
`, n.Name, version, priority, pace)
		},
	}}
}

func libraries(tree string) string {
	found, _ := filepath.Glob(filepath.Join(tree, "usr/lib/*-linux-gnu*")) // the pattern is right
	more, _ := filepath.Glob(filepath.Join(tree, "lib/*-linux-gnu*"))
	return strings.Join(append(found, more...), ":")
}

// signalAll signals every process on a node: keepalived is two, of which the one that
// matters is not the one that was started.
func signalAll(_ context.Context, l *lab.Lab, node string, s syscall.Signal) error {
	all, err := processes(l, node)
	for _, pid := range all {
		err = errors.Join(err, syscall.Kill(pid, s))
	}
	return err
}

// processes lists those in a node's network.
func processes(l *lab.Lab, node string) ([]int, error) {
	var network string
	err := l.Within(node, func() (err error) {
		network, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, err
	}
	var found []int
	all, err := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, path := range all {
		pid, bad := strconv.Atoi(strings.Split(path, "/")[2])
		// One that has ended meanwhile has no network.
		if target, gone := os.Readlink(path); bad == nil && gone == nil && target == network && pid != os.Getpid() {
			found = append(found, pid)
		}
	}
	return found, err
}
