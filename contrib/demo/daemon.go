package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// endTimeout is how long the daemon may take to end; then it is killed.
const endTimeout = 10 * time.Second

// A daemon is a running "monitord run" in a process group of its own, so that a
// Ctrl-C on the terminal reaches the demo alone, which then ends the daemon.
type daemon struct {
	binary, socket, log string
	cmd                 *exec.Cmd
	// ctx is done when the process has ended, by itself or not; its cause says how.
	ctx context.Context
}

// startDaemon starts it with its output in the file log.
func startDaemon(binary, config, socket, log string, env []string) (*daemon, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("log of the daemon: %w", err)
	}
	defer func() { _ = file.Close() }() // the process has its own
	d := &daemon{binary: binary, socket: socket, log: log}
	d.cmd = exec.Command(binary, "run", "-c", config)
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = file, file
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(d.cmd.SysProcAttr)
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	ctx, ended := context.WithCancelCause(context.Background())
	d.ctx = ctx
	go func() {
		err := d.cmd.Wait()
		if err == nil {
			err = errEnded
		}
		ended(fmt.Errorf("the daemon ended: %w", err))
	}()
	return d, nil
}

// errEnded is the good end.
var errEnded = errors.New("exit status 0")

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// stop ends the daemon as an operator would, and returns when it is gone. The
// error says that it had to be killed, or that it did not end well.
func (d *daemon) stop() error {
	if d.ctx.Err() != nil {
		return cleanly(context.Cause(d.ctx))
	}
	_ = syscall.Kill(d.pid(), syscall.SIGTERM) // it may be gone by now, which is seen below
	select {
	case <-d.ctx.Done():
		return cleanly(context.Cause(d.ctx))
	case <-time.After(endTimeout):
	}
	_ = syscall.Kill(-d.pid(), syscall.SIGKILL)
	<-d.ctx.Done()
	return fmt.Errorf("the daemon did not end within %s of SIGTERM and was killed", endTimeout)
}

func cleanly(end error) error {
	if errors.Is(end, errEnded) {
		return nil
	}
	return end
}

// A status is the part of "monitord status --json" that the demo looks at.
type status struct {
	Virtuals []struct {
		Name    string         `json:"name"`
		Servers []serverStatus `json:"servers"`
	} `json:"virtual_services"`
}

type serverStatus struct {
	Target string    `json:"target"`
	In     bool      `json:"in"`
	Since  time.Time `json:"since"`
}

// server asks the daemon about one real server, as people and scripts do.
func (d *daemon) server(ctx context.Context, address string) (serverStatus, error) {
	text, err := d.status(ctx, "--json")
	if err != nil {
		return serverStatus{}, err
	}
	var s status
	if err := json.Unmarshal(text, &s); err != nil {
		return serverStatus{}, fmt.Errorf("monitord status --json: %w", err)
	}
	for _, v := range s.Virtuals {
		for _, server := range v.Servers {
			if server.Target == address {
				return server, nil
			}
		}
	}
	return serverStatus{}, fmt.Errorf("monitord status --json does not know the real server %s", address)
}

// status runs "monitord status".
func (d *daemon) status(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, d.binary, append([]string{"status", "--socket", d.socket}, args...)...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("monitord status: %w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	return text, nil
}

// portTaken reports whether the daemon could not have the virtual service's
// address.
func (d *daemon) portTaken() bool {
	text, err := os.ReadFile(d.log)
	return err == nil && bytes.Contains(text, []byte(syscall.EADDRINUSE.Error()))
}
