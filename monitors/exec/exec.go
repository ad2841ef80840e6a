// Package exec is the monitor "exec": a program of one's own, called as mon calls
// its monitors. Those of mon run unmodified.
//
// The program gets the hosts as arguments after its own (see hosts), /dev/null as
// its standard input, and the environment that mon(8) names: MON_GROUP,
// MON_SERVICE, MON_LAST_SUMMARY and so on, and the watch's own variables. It says
// by exit status 0 that all is well. On any other status the first line of its
// output, standard error included, names the hosts that failed, separated by
// blanks; the rest is text for people, and a line that begins with a host's name
// becomes the reason for that host. A first line that names no host of the group
// condemns the only host of a group of one; of a larger group it says nothing
// about the hosts: with scope = "group" the group has failed as a whole, with
// scope = "host" nothing is concluded.
//
// Not a verdict, but "could not test", are: a program that cannot be started, one
// that is still running after the timeout, one that a signal killed, and one
// that names no host and exits with 126 or 127, by which shells and env(1) say
// that a command could not be run or was not found.
//
// With compat = "mon" three of these are mon's verdicts instead: a program killed
// by a signal has succeeded, one that cannot be started has failed with exit
// status 1 and no output, and 126 and 127 are failures like others.
//
// To root, a program is refused that others could have written or replaced: it and
// each folder on the way to it must belong to root, and be writable by nobody else.
// That is asked again before each run; a run that is refused could not test.
//
// The program runs in a process group of its own, which is ended as a whole:
// SIGTERM, half a second later SIGKILL. Output beyond 1 MiB is dropped, and a line
// at the end says so.
//
//	monitor = { type = "exec", program = "tcp.monitor", args = ["-p", "25"], timeout = "20s" }
package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/runcmd"
	"github.com/monitord/monitord/monitors"
)

// Config is the table of an exec monitor.
type Config struct {
	Program string            `toml:"program" doc:"The program: a path with a slash, or a name looked up in mondir; no default."`
	Args    []string          `toml:"args" doc:"Arguments before the hosts, each passed as it is, without a shell; default none."`
	Hosts   bool              `toml:"hosts" doc:"Append the hosts to the arguments; false is mon's \";;\" at the end of the line; default true."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long the program may run before it is ended and the result is unknown; mon had no limit; default 60s."`
}

func init() {
	monitors.Register("exec", Config{Hosts: true, Timeout: monitors.Duration(time.Minute)}, build)
}

// A Monitor is a built monitor.
type Monitor struct {
	config  Config
	program monprog.Program
	site    monitors.Site
}

func build(c Config, site monitors.Site) (monitors.Monitor, error) {
	path, err := monprog.Lookup(c.Program, site.Path)
	if err == nil {
		err = monprog.Trusted(path)
	}
	if err != nil {
		return nil, monitors.BadKey("program", "%w", err)
	}
	for _, arg := range c.Args {
		if strings.ContainsRune(arg, '\x00') {
			return nil, monitors.BadKey("args", "%q holds a NUL, which no argument can", arg)
		}
	}
	if c.Timeout <= 0 {
		return nil, monitors.BadKey("timeout", "%s is no time to run in: write a duration above zero, like \"60s\"", c.Timeout)
	}
	return &Monitor{config: c, program: monprog.Program{Path: path, Args: c.Args}, site: site}, nil
}

// Program is the path of the program's file.
func (m *Monitor) Program() string { return m.program.Path }

// Invocation is the call that Check makes for a request.
func (m *Monitor) Invocation(r monitors.Request) monprog.Invocation {
	return m.program.Monitor(r, m.site, m.config.Hosts)
}

// Check implements [monitors.Monitor].
func (m *Monitor) Check(ctx context.Context, r monitors.Request) (monitors.Result, error) {
	run, cancel := context.WithTimeout(ctx, m.config.Timeout.Std())
	defer cancel()
	if err := monprog.Trusted(m.program.Path); errors.Is(err, monprog.ErrUntrusted) { // since the configuration was read
		return monitors.Result{}, err
	}
	call := m.Invocation(r)
	ended, err := runcmd.Run(run, runcmd.Command{Path: m.program.Path, Args: call.Args, Env: call.Environ(os.Environ())})
	switch {
	case err != nil && m.site.Compat && notStarted(err):
		return verdicts(r.Hosts, 1, nil), nil
	case err != nil:
		return monitors.Result{}, err
	case ended.TimedOut:
		return monitors.Result{}, m.unfinished(ctx, run)
	}
	if ended.Signal != 0 && !m.site.Compat {
		return monitors.Result{}, fmt.Errorf("%s: %s", m.program.Path, ended)
	}
	return m.Judge(r.Hosts, max(ended.Exit, 0), withNotice(ended))
}

// Judge is what Check makes of the exit status and the output of a program that was
// asked about these hosts; it runs nothing.
func (m *Monitor) Judge(hosts []string, exit int, output []byte) (monitors.Result, error) {
	if !m.site.Compat && notRun(exit) && len(named(hosts, summary(output))) == 0 {
		return monitors.Result{}, fmt.Errorf("%s: exit status %d, which says that a command could not be run: %s",
			m.program.Path, exit, oneLine(summary(output)))
	}
	return verdicts(hosts, exit, output), nil
}

// unfinished tells the program's own time limit from the end of the run.
func (m *Monitor) unfinished(ctx, run context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s was stopped at the end of the run: %w", m.program.Path, err)
	}
	return fmt.Errorf("%s did not end within %s: %w", m.program.Path, m.config.Timeout, run.Err())
}

// notStarted tells a program that cannot be executed from a run that was over
// before it began.
func notStarted(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) ||
		errors.Is(err, syscall.ENOEXEC) || errors.Is(err, syscall.E2BIG)
}

// notRun are the statuses of POSIX shells, env(1) and others for a command that
// is not executable or not found.
func notRun(exit int) bool { return exit == 126 || exit == 127 }

// withNotice says at the end of an output that it was cut.
func withNotice(r runcmd.Result) []byte {
	if r.Dropped == 0 {
		return r.Output
	}
	notice := fmt.Sprintf("\n[output cut: %d bytes more were dropped]\n", r.Dropped)
	return append(bytes.TrimSuffix(r.Output, []byte("\n")), notice...)
}
