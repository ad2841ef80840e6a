package runcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Run starts a program and waits for its end. The error is non-nil only if the
// program was not run at all (it wraps fs.ErrNotExist, fs.ErrPermission,
// syscall.ENOEXEC, or the context's error), or if it cannot be killed; however
// else a program ended is in the [Result].
func Run(ctx context.Context, c Command) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("run %s: %w", c.Path, err)
	}
	p, err := start(c.withDefaults())
	if err != nil {
		return Result{}, fmt.Errorf("run %s: %w", c.Path, explain(c.Path, err))
	}
	return p.wait(ctx)
}

// A process is a running program and its pipes.
type process struct {
	Command
	cmd    *exec.Cmd
	begun  time.Time
	ours   []*os.File // our ends of the pipes
	theirs []*os.File // the program's ends, open until the start only

	out, errs *capture      // errs is nil if stderr goes with out
	fed       chan struct{} // closed when the standard input was written; nil without one
	exited    chan struct{} // closed when the leader has ended, before it is reaped
	drained   chan struct{} // closed when nobody holds the output pipes any more
}

func start(c Command) (*process, error) {
	p := &process{
		Command: c,
		cmd: &exec.Cmd{
			Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir,
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		},
		exited: make(chan struct{}), drained: make(chan struct{}),
	}
	stdin, stdout, stderr, err := p.connect()
	if err == nil {
		p.begun = time.Now()
		err = p.cmd.Start()
	}
	closeAll(p.theirs)
	if err != nil {
		closeAll(p.ours)
		return nil, err
	}
	// The daemon of a cluster prefers its own threads, and what it starts inherits that.
	_ = syscall.Setpriority(syscall.PRIO_PGRP, p.cmd.Process.Pid, 0) // It may have ended.
	p.watch(stdin, stdout, stderr)
	return p, nil
}

// connect makes the pipes and returns our ends; those that are not wanted are
// nil.
func (p *process) connect() (stdin, stdout, stderr *os.File, err error) {
	if stdout, p.cmd.Stdout, err = p.outputPipe(); err != nil {
		return nil, nil, nil, err
	}
	p.cmd.Stderr = p.cmd.Stdout
	if p.SeparateStderr {
		if stderr, p.cmd.Stderr, err = p.outputPipe(); err != nil {
			return nil, nil, nil, err
		}
	}
	if p.Stdin != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, nil, err
		}
		p.ours, p.theirs = append(p.ours, w), append(p.theirs, r)
		stdin, p.cmd.Stdin = w, r
	}
	return stdin, stdout, stderr, nil
}

func (p *process) outputPipe() (ours *os.File, theirs *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	p.ours, p.theirs = append(p.ours, r), append(p.theirs, w)
	return r, w, nil
}

// watch starts what reads and waits; all of it has ended when wait returns.
func (p *process) watch(stdin, stdout, stderr *os.File) {
	p.out = newCapture(stdout, p.MaxOutput)
	if stderr != nil {
		p.errs = newCapture(stderr, p.MaxOutput)
	}
	if stdin != nil {
		p.fed = feed(stdin, p.Stdin)
	}
	go func() {
		defer close(p.drained)
		<-p.out.done
		if p.errs != nil {
			<-p.errs.done
		}
	}()
	go func() {
		defer close(p.exited)
		awaitExit(p.cmd.Process.Pid)
	}()
}

// wait sees the program to its end:
//
//	running ──exit──▶ draining ──pipes closed──▶ reaped
//	   │                 │ linger over, or ctx ended
//	   │ ctx ended       ▼
//	   └─TERM,KILL─▶  TERM,KILL the rest ──────▶ reaped
func (p *process) wait(ctx context.Context) (Result, error) {
	var r Result
	select {
	case <-p.exited:
	case <-ctx.Done():
		r.TimedOut = true
		if !p.endGroup(p.exited) && !p.dies() {
			return p.abandon(r)
		}
	}
	r.Took = time.Since(p.begun)
	p.drain(ctx, &r)
	p.release()
	_ = p.cmd.Wait() // reaps; the status is read below
	status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	r.Exit = status.ExitStatus()
	if status.Signaled() {
		r.Signal = status.Signal()
	}
	r.Output, r.Dropped = p.out.kept, p.out.dropped
	if p.errs != nil {
		r.Stderr, r.Dropped = p.errs.kept, r.Dropped+p.errs.dropped
	}
	return r, nil
}

// drain waits until the pipes are closed and ends those of the group that hold
// them for too long. What a finished program left running without the pipe (a
// daemon) is left alone, but not what a program did that ran out of time.
func (p *process) drain(ctx context.Context, r *Result) {
	linger := time.NewTimer(p.Linger)
	defer linger.Stop()
	if !r.TimedOut {
		select {
		case <-p.drained:
			return
		case <-linger.C:
		case <-ctx.Done():
		}
		r.Leftover = true
	}
	p.endGroup(p.drained)
	p.signal(syscall.SIGKILL)
}

// endGroup asks the group to end, then kills it. It reports whether what was
// waited for happened.
func (p *process) endGroup(happened <-chan struct{}) bool {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		p.signal(sig)
		timer := time.NewTimer(p.Grace)
		select {
		case <-happened:
			timer.Stop()
			return true
		case <-timer.C:
		}
	}
	return false
}

// unscheduled is how long a killed process may take that waits for nothing but the
// processor.
const unscheduled = time.Minute

// dies waits for a leader that was killed some time ago. On a machine that is busy
// with others neither its death nor our hearing of it is a matter of the grace; it
// reports false if the process hangs in the kernel.
func (p *process) dies() bool {
	end := time.NewTimer(unscheduled)
	defer end.Stop()
	look := time.NewTicker(p.Grace)
	defer look.Stop()
	for {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid)); err != nil || hangs(stat) {
			return false
		}
		select {
		case <-p.exited:
			return true
		case <-end.C:
			return false
		case <-look.C:
		}
	}
}

// hangs tells from /proc/PID/stat (proc_pid_stat(5)) whether a process sleeps where
// no signal reaches it. Its name, in brackets, may be anything.
func hangs(stat []byte) bool {
	_, rest, found := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return found && bytes.HasPrefix(rest, []byte("D"))
}

// signal reaches every process of the group. The leader is not reaped yet, so
// the number is still the group's; an error means that nobody is left, or runs
// as another user.
func (p *process) signal(sig syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, sig) }

// release ends the reading and writing of the pipes, whoever still holds the
// other ends: a process that left the group can be outlived only.
func (p *process) release() {
	past := time.Unix(1, 0)
	for _, f := range p.ours {
		_ = f.SetDeadline(past)
	}
	<-p.drained
	if p.fed != nil {
		<-p.fed
	}
	closeAll(p.ours)
}

// abandon is for a process that survives SIGKILL because it hangs in the kernel
// (a dead NFS server). It is reaped whenever it ends.
func (p *process) abandon(r Result) (Result, error) {
	p.release()
	go func() {
		<-p.exited
		_ = p.cmd.Wait()
	}()
	r.Took, r.Exit = time.Since(p.begun), -1
	return r, fmt.Errorf("run %s: process %d hangs in the kernel and cannot be killed", p.Path, p.cmd.Process.Pid)
}

// explain tells apart the two things execve(2) calls ENOENT.
func explain(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(path); statErr == nil {
			return fmt.Errorf("the interpreter that it names (#! line, or the dynamic loader) is missing: %w", err)
		}
	}
	if errors.Is(err, syscall.ENOEXEC) {
		return fmt.Errorf("neither a program for this machine nor a script with a #! line: %w", err)
	}
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // a pipe closed twice is no harm
	}
}
