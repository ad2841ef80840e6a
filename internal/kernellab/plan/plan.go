//go:build linux

// Package plan is what the kernel lab's runner asks of the place where the tests
// run, and how it is done there: natively and in the machine alike.
package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// File is the name of the plan in the folder of a run.
const File = "plan.json"

// A Plan is a list of test binaries and what they find around them.
type Plan struct {
	Packages []Package
	Args     []string // for every test binary: -test.v and so on
	Env      []string // for every test binary, beside what the place itself sets

	// The rest is for the machine only: natively it is empty.
	Modules string            // the folder that is to be /lib/modules/VERSION
	Links   map[string]string // symbolic links by path: what the root of the machine lacks
}

// A Package is one test binary.
type Package struct {
	Path   string // import path, for people
	Folder string // where "go test" would run it
	Binary string
}

// Read reads the plan of a run.
func Read(folder string) (Plan, error) {
	var p Plan
	text, err := os.ReadFile(filepath.Join(folder, File))
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("%s: %w", filepath.Join(folder, File), err)
	}
	return p, nil
}

// Write writes the plan of a run.
func (p Plan) Write(folder string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, File), text, 0o644)
}

// Run runs every package in network and mount namespaces of its own, with its
// output on out as of "go test -v", and returns an error that names those that
// failed. enter is the program, with arguments, that makes the namespaces fit to
// live in and then executes what follows.
func (p Plan) Run(ctx context.Context, enter []string, out io.Writer) error {
	var failed []error
	for _, pkg := range p.Packages {
		start := time.Now()
		err := p.runPackage(ctx, pkg, enter, out)
		took := time.Since(start).Seconds()
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", pkg.Path, err))
			_, _ = fmt.Fprintf(out, "FAIL\t%s\t%.3fs\n", pkg.Path, took)
			continue
		}
		_, _ = fmt.Fprintf(out, "ok  \t%s\t%.3fs\n", pkg.Path, took)
	}
	return errors.Join(failed...)
}

// A test that left a process behind which holds its output has this long until
// the package is called ended.
const linger = 2 * time.Second

func (p Plan) runPackage(ctx context.Context, pkg Package, enter []string, out io.Writer) error {
	args := append(append(append([]string{}, enter...), pkg.Binary), p.Args...)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	results := &counter{to: out}
	cmd.Dir, cmd.Stdout, cmd.Stderr = pkg.Folder, results, results
	cmd.Env = append(append(os.Environ(), p.Env...), "PWD="+pkg.Folder)
	cmd.WaitDelay = linger
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Setpgid:    true, Pdeathsig: syscall.SIGKILL,
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if cmd.Process != nil {
		// What it left behind in its group must not outlive it.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if err == nil && results.ran == 0 {
		err = errors.New("no test ran")
	}
	return err
}

// A counter passes output on and counts the tests that ran to their end, as
// "go test -v" tells of them; one that was skipped has not run.
type counter struct {
	to   io.Writer
	line []byte // so far
	ran  int
}

func (c *counter) Write(b []byte) (int, error) {
	for _, part := range bytes.SplitAfter(b, []byte("\n")) {
		c.line = append(c.line, part...)
		if !bytes.HasSuffix(part, []byte("\n")) {
			continue
		}
		if bytes.HasPrefix(c.line, []byte("--- PASS")) || bytes.HasPrefix(c.line, []byte("--- FAIL")) {
			c.ran++
		}
		c.line = c.line[:0]
	}
	return c.to.Write(b)
}
