//go:build linux

package hosts

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Command is a program that runs in a host. It has a process group of its own,
// all of which is killed when the test ends.
type Command struct {
	*exec.Cmd

	host *Host
	wait func() error
}

// Command prepares a program; its fields may be set until Start. When ctx ends
// it is killed.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Command {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	c := &Command{Cmd: cmd, host: h, wait: func() error { return errNotStarted }}
	cmd.Cancel = func() error { return c.Signal(syscall.SIGKILL) }
	return c
}

// Start starts the program in its host.
func (c *Command) Start() error {
	if err := c.host.Do(c.Cmd.Start); err != nil {
		return err
	}
	c.wait = sync.OnceValue(c.Cmd.Wait)
	c.host.network.t.Cleanup(func() {
		_ = c.Signal(syscall.SIGKILL)
		_ = c.wait()
	})
	return nil
}

// Wait waits for the program's end; it may be called more than once.
func (c *Command) Wait() error { return c.wait() }

// Run starts the program and waits for its end.
func (c *Command) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns what it wrote on its standard output. The
// error has what it wrote on the other.
func (c *Command) Output() (string, error) {
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %s: %w: %s", c.host.Name, strings.Join(c.Args, " "), err, strings.TrimSpace(complaints.String()))
	}
	return out.String(), nil
}

// Signal sends a signal to the program and what it started.
func (c *Command) Signal(s syscall.Signal) error { return syscall.Kill(-c.Process.Pid, s) }

// Output runs a program that must succeed and returns its standard output.
func (h *Host) Output(name string, args ...string) string {
	h.network.t.Helper()
	out, err := h.Command(h.network.t.Context(), name, args...).Output()
	if err != nil {
		h.network.t.Fatal(err)
	}
	return out
}
