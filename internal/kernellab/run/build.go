//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/kernellab/plan"
)

const module = "github.com/monitord/monitord"

func (l *lab) path(name string) string { return filepath.Join(l.folder, name) }

// command is a program that gets time to clean up when the run is interrupted,
// and dies with the lab.
func command(ctx context.Context, out io.Writer, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// build compiles everything, without cgo: it must run where there are no
// libraries, and start fast.
func (l *lab) build(ctx context.Context) (plan.Plan, error) {
	// A test binary that hangs should say where, before it is killed.
	timeout := l.timeout * 9 / 10
	p := plan.Plan{Args: []string{"-test.v", "-test.count=1", "-test.paniconexit0", "-test.run=" + l.pattern, "-test.timeout=" + timeout.String()}}
	packages, err := l.list(ctx)
	if err != nil {
		return p, err
	}
	if err := l.compile(ctx, "build", "-o", l.path("guest"), module+"/internal/kernellab/guest"); err != nil {
		return p, err
	}
	if p.Env, err = l.environment(ctx); err != nil {
		return p, err
	}
	for i, pkg := range packages {
		pkg.Binary = l.path(fmt.Sprintf("%d-%s.test", i, filepath.Base(pkg.Folder)))
		if err := l.compile(ctx, "test", "-c", "-o", pkg.Binary, pkg.Path); err != nil {
			return p, err
		}
		if _, err := os.Stat(pkg.Binary); err != nil {
			return p, fmt.Errorf("%s has no tests", pkg.Path)
		}
		p.Packages = append(p.Packages, pkg)
	}
	return p, nil
}

// environment builds the monitord that the tests run, unless there is one given.
func (l *lab) environment(ctx context.Context) ([]string, error) {
	binary := os.Getenv(kernellab.BinaryVariable)
	if binary == "" {
		binary = l.path("monitord")
		if err := l.compile(ctx, "build", "-o", binary, module+"/cmd/monitord"); err != nil {
			return nil, err
		}
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%s: %w", kernellab.BinaryVariable, err)
	}
	return []string{kernellab.RequireVariable + "=1", kernellab.BinaryVariable + "=" + binary}, nil
}

// compile calls go without symbols for debuggers: in the machine each megabyte
// takes its time to load.
func (l *lab) compile(ctx context.Context, verb string, args ...string) error {
	cmd := command(ctx, os.Stderr, "go", append([]string{verb, "-trimpath", "-ldflags=-s -w"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s %s: %w", verb, args[len(args)-1], err)
	}
	return nil
}

var kernelTest = regexp.MustCompile(`(?m)^func TestKernel`)

// list finds the packages asked for, or those with kernel tests.
func (l *lab) list(ctx context.Context) ([]plan.Package, error) {
	patterns := l.packages
	if len(patterns) == 0 {
		patterns = []string{module + "/..."}
	}
	var out bytes.Buffer
	format := `{{.ImportPath}}{{"\t"}}{{.Dir}}{{range .TestGoFiles}}{{"\t"}}{{.}}{{end}}{{range .XTestGoFiles}}{{"\t"}}{{.}}{{end}}`
	if err := command(ctx, &out, "go", append([]string{"list", "-f", format}, patterns...)...).Run(); err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var found []plan.Package
	for line := range strings.Lines(out.String()) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		pkg := plan.Package{Path: fields[0], Folder: fields[1]}
		wanted, err := anyMatch(pkg.Folder, fields[2:])
		if err != nil {
			return nil, err
		}
		if wanted || len(l.packages) > 0 {
			found = append(found, pkg)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no package has a test named TestKernel…")
	}
	return found, nil
}

func anyMatch(folder string, files []string) (bool, error) {
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			return false, err
		}
		if kernelTest.Match(text) {
			return true, nil
		}
	}
	return false, nil
}
