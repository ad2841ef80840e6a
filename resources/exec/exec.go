// Package exec is the resource kind "exec": a program that starts and stops
// something, as init systems and cluster managers call theirs. Their scripts run
// unmodified.
//
//	[[group.resource]]
//	type = "exec"
//	program = "httpd"
//
// The key class says how the program is called, and how its status is read. The
// names are Pacemaker's.
//
//	lsb         PROGRAM ARGS... start|stop|status
//	heartbeat   PROGRAM ARGS... start|stop|status
//	ocf         PROGRAM start|stop|monitor, with the parameters in the environment
//
// start is called unless the status is that it runs already. stop is called in any
// case; one that fails has succeeded if the status says that nothing runs: many
// init scripts cannot stop what is stopped.
//
// # Status
//
// lsb: by the exit status (LSB 5.0, 22.2): 0 is running; 1, 2 and 3 are stopped.
//
// heartbeat: by what is printed on standard output, in the order of heartbeat's
// ResourceManager: "not ... running" is stopped; then "running", or "OK" in
// capitals, is running. Of what else is printed heartbeat thought that it is
// stopped; here it must say so, by words such as "stopped", "down" or "unused", or
// by an exit status of 1, 2, 3 or 7.
//
// ocf: by the exit status (OCF Resource Agent API 1.1, 5.2): 0, 8 (promoted), 190 and
// 191 (degraded) are running; 7 is stopped; 1 and 9 are failed.
//
// All else is an error, and so is a program that prints its usage: that one does
// not know the question. For programs such as heartbeat's MailTo and Delay, which
// do something once and have nothing that runs, write status = false: then what
// counts is what was done last, also across a restart of the daemon. Two such
// resources with the same program and arguments are taken for one.
//
// # Where programs are looked for
//
// A program with a slash is that file. Any other is looked for in the folders of
// the key path, by default /etc/ha.d/resource.d, then /etc/init.d, as by heartbeat;
// with class = "lsb" only in those not named resource.d. Agents are
// OCF_ROOT/resource.d/PROVIDER/TYPE, for program = "ocf:PROVIDER:TYPE",
// "PROVIDER:TYPE", or "TYPE" with class = "ocf", whose provider is heartbeat.
//
// Run by root, a program is refused that somebody else could have written: the
// file and the folders above it must belong to root.
//
// # Output
//
// What start prints is in the log folder, exec-PROGRAM-ID.log, emptied at each
// start. A service that goes on writing there, since its script did not close its
// output, is not hindered by that.
package exec

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/monitord/monitord/internal/started"
	"github.com/monitord/monitord/resources"
)

// Config is the configuration of the kind.
type Config struct {
	Program  string            `toml:"program" doc:"The program: a path, a name looked up in path, or an agent as \"ocf:PROVIDER:TYPE\"; no default."`
	Class    string            `toml:"class" doc:"How it is called and its status read: \"lsb\", \"heartbeat\" or \"ocf\"; default \"heartbeat\" for a file in a folder resource.d, \"ocf\" for one a level deeper, \"lsb\" for any other."`
	Args     []string          `toml:"args" doc:"Arguments before start, stop or status, each passed as it is, without a shell; not for ocf; default none."`
	Params   map[string]string `toml:"params" doc:"An OCF agent's parameters, passed as OCF_RESKEY_NAME; default none."`
	Instance string            `toml:"instance" doc:"An OCF agent's OCF_RESOURCE_INSTANCE, different for each resource of one type; default made of the type and the parameters."`
	Status   bool              `toml:"status" doc:"Ask the program for its status; false for one that has none, such as MailTo; default true."`
	Path     []string          `toml:"path" doc:"Folders in which programs without a path are looked for, in this order; default \"/etc/ha.d/resource.d\", \"/etc/init.d\"."`
	OCFRoot  string            `toml:"ocf_root" doc:"Folder above the OCF agents' resource.d; default \"/usr/lib/ocf\"."`
}

func init() {
	resources.Register("exec", Config{Status: true, OCFRoot: "/usr/lib/ocf"}, build)
}

// A Program is the resource.
type Program struct {
	path  string
	class class
	args  []string
	// env is what the class sets on top of the daemon's own environment.
	env []string
	// log is the file for what start prints, "" for none.
	log string
	// mark stands for the status of a program that has none; else nil.
	mark *started.Mark
}

func build(c Config, site resources.Site) (resources.Resource, error) {
	path, class, err := c.locate()
	if err != nil {
		return nil, err
	}
	if err := c.fits(class); err != nil {
		return nil, err
	}
	p := &Program{path: path, class: class, args: c.Args, log: c.logFile(path, site)}
	switch class {
	case lsb:
	case heartbeat:
		p.env = heartbeatEnv(site)
	case ocf:
		p.env = c.ocfEnv(path)
	}
	if !c.Status {
		p.mark = started.New(site.StateDir, append([]string{"exec", path}, c.Args...)...)
	}
	return p, nil
}

// lastStop is how long a program may take to undo a start that was cancelled, after
// its time was up.
const lastStop = 500 * time.Millisecond

// Start runs the program's start, and its stop if that failed.
func (p *Program) Start(ctx context.Context) error {
	early, cancel := leavingTime(ctx)
	defer cancel()
	// As heartbeat did: a status that cannot be told does not keep it from starting.
	if s, err := p.Status(early); err == nil && s == resources.Running {
		return nil
	}
	ended, err := p.call(early, "start")
	if err != nil {
		return err // It did not run.
	}
	if err := p.complaint("start", ended); err != nil {
		return errors.Join(err, p.undo(ctx))
	}
	if p.mark != nil {
		p.mark.Set()
	}
	return nil
}

// leavingTime leaves a quarter of the time that there is to stop what did not
// start.
func leavingTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/4))
}

func (p *Program) undo(ctx context.Context) error {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastStop)
		defer cancel()
	}
	if err := p.stop(ctx); err != nil {
		return fmt.Errorf("and what the start left behind: %w", err)
	}
	return nil
}

// Stop runs the program's stop. One without a status is called only if it was
// started: a MailTo that never told of a takeover tells of no end of it.
func (p *Program) Stop(ctx context.Context) error {
	if p.mark != nil {
		if set, err := p.mark.IsSet(); err == nil && !set {
			return nil
		}
	}
	if err := p.stop(ctx); err != nil {
		return err
	}
	if p.mark != nil {
		p.mark.Clear()
	}
	return nil
}

func (p *Program) stop(ctx context.Context) error {
	ended, err := p.call(ctx, "stop")
	if err != nil {
		return err
	}
	complaint := p.complaint("stop", ended)
	if complaint == nil || p.mark != nil || ended.TimedOut {
		return complaint
	}
	s, err := p.Status(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("%w; and its status is not known: %w", complaint, err)
	case s == resources.Stopped:
		return nil
	}
	return fmt.Errorf("%w; it is %s", complaint, s)
}

// Status asks the program.
func (p *Program) Status(ctx context.Context) (resources.Status, error) {
	if p.mark != nil {
		return p.remembered()
	}
	action := p.class.question()
	ended, err := p.call(ctx, action)
	switch {
	case err != nil:
		return resources.Stopped, err
	case ended.TimedOut || ended.Signal != 0:
		return resources.Stopped, p.complaint(action, ended)
	}
	s, why := p.class.judge(ended)
	if why != "" {
		return resources.Stopped, fmt.Errorf("%s %s: %s: %s%s", p.path, action, why, ended, said(ended))
	}
	return s, nil
}

func (p *Program) remembered() (resources.Status, error) {
	set, err := p.mark.IsSet()
	switch {
	case err != nil:
		return resources.Stopped, fmt.Errorf("%s: %w", p.path, err)
	case set:
		return resources.Running, nil
	}
	return resources.Stopped, nil
}
