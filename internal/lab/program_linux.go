package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A program is a process on a node. Its output is appended to the node's log.
type program struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended, and was waited for
}

// start starts a program in a machine. The machine's thread is its parent, whose end
// is its own (prctl(2), PR_SET_PDEATHSIG).
func (s *space) start(path string, args, env []string, log string) (*program, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	p := &program{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", filepath.Base(path), s.name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	return p, nil
}

func (p *program) runs() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *program) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// wait waits for the end.
func (p *program) wait(ctx context.Context) error {
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process %d has not ended: %w", p.cmd.Process.Pid, ctx.Err())
	}
}

// killAll ends every process in the machines' network namespaces, whoever started it,
// and returns when none is left.
func killAll(spaces []*space) error {
	inside := map[string]bool{}
	for _, s := range spaces {
		var stat unix.Stat_t
		if err := unix.Fstat(int(s.net.Fd()), &stat); err != nil {
			return fmt.Errorf("namespace of %s: %w", s.name, err)
		}
		inside[fmt.Sprintf("net:[%d]", stat.Ino)] = true
	}
	for end := time.Now().Add(10 * time.Second); ; {
		left := processes(inside)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes %v on the lab's machines survive SIGKILL", left)
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
		}
		time.Sleep(time.Millisecond) // nobody tells when somebody else's child is gone
	}
}

// processes lists those in network namespaces. One that ends is not there any more,
// though it may not have been waited for.
func processes(namespaces map[string]bool) []int {
	var found []int
	all, _ := filepath.Glob("/proc/[0-9]*/ns/net") // the pattern is right
	for _, path := range all {
		target, err := os.Readlink(path)
		if err != nil || !namespaces[target] {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil && pid != os.Getpid() {
			found = append(found, pid)
		}
	}
	return found
}

// programs are those that run, or ran last, on each node.
type programs struct {
	mu     sync.Mutex // protects byNode
	byNode map[string]*program
}

var errNotRunning = errors.New("nothing runs there")

func (p *programs) on(node string) (*program, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if found := p.byNode[node]; found != nil && found.runs() {
		return found, nil
	}
	return nil, fmt.Errorf("%s: %w", node, errNotRunning)
}

func (p *programs) put(node string, started *program) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byNode[node] = started
}
