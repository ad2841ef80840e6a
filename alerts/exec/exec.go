// Package exec is the alert "exec": a program of one's own, called as mon calls
// its alerts. Those of mon run unmodified.
//
//	PROGRAM -s SERVICE -g GROUP -h "HOST HOST" -t EPOCH [-u|-a|-D|-T|-O] ARGS...
//
// The flags are -u for a recovery, -a for an acknowledgement, -D for a disable, -T
// for a trap and -O for a trap that did not come. The standard input is the
// monitor's output, the environment what mon(8) names: MON_ALERTTYPE,
// MON_LAST_SUMMARY, MON_RETVAL and so on, and the watch's own variables.
//
// Unlike mon this alert waits for the program, and for what it started in the
// background as long as that holds its output, both up to the timeout; then the
// whole process group is ended. An exit status other than 0 is
// reported, with what the program printed, but the alert is not repeated:
// scripts written for mon, which ignored it, end in any status after the mail has
// gone out. It is repeated if the program could not be started, was killed or
// did not end in time.
//
// To root, a program is refused that others could have written or replaced, when the
// configuration is read and before each call: see the monitor "exec".
//
//	[[watch.period.alert]]
//	type = "exec"
//	program = "file.alert"
//	args = ["-d", "/var/log/mon", "alerts"]
//
// # Scripts of keepalived
//
// With style = "keepalived" the program is called as keepalived calls its notify
// scripts (keepalived.conf(5)): its own arguments, then four more.
//
//	PROGRAM ARGS... INSTANCE GROUP MASTER|BACKUP|FAULT|STOP PRIORITY
//
// The name is the group's. That is for the alerts of a [[group]] of resources, whose
// transitions these are; nothing else has such a state. The environment is as above.
package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/runcmd"
)

// sayingLength is how many characters of a program's output are put into an error.
const sayingLength = 300

// Config is the table of an exec alert.
type Config struct {
	Program string          `toml:"program" doc:"The program: a path with a slash, or a name looked up in alertdir; no default."`
	Args    []string        `toml:"args" doc:"Arguments after mon's own, each passed as it is, without a shell; default none."`
	Timeout alerts.Duration `toml:"timeout" doc:"How long the program may run before it is ended and tried again; mon had no limit; default 60s."`
	Style   string          `toml:"style" doc:"How it is called: \"mon\", or \"keepalived\" for a notify script of that, in alerts of a [[group]]; default \"mon\"."`
}

func init() {
	alerts.Register("exec", Config{Timeout: alerts.Duration(time.Minute), Style: styleMon}, build)
}

// The styles of calling a program.
const (
	styleMon        = "mon"
	styleKeepalived = "keepalived"
)

// An Alert is a built alert.
type Alert struct {
	program monprog.Program
	timeout time.Duration
	site    alerts.Site
	notify  bool // style = "keepalived"
}

func build(c Config, site alerts.Site) (alerts.Alert, error) {
	path, err := monprog.Lookup(c.Program, site.Path)
	if err == nil {
		err = monprog.Trusted(path)
	}
	if err != nil {
		return nil, alerts.BadKey("program", "%w", err)
	}
	for _, arg := range c.Args {
		if strings.ContainsRune(arg, '\x00') {
			return nil, alerts.BadKey("args", "%q holds a NUL, which no argument can", arg)
		}
	}
	if c.Timeout <= 0 {
		return nil, alerts.BadKey("timeout", "%s is no time to run in: write a duration above zero, like \"60s\"", c.Timeout)
	}
	if c.Style != styleMon && c.Style != styleKeepalived {
		return nil, alerts.BadKey("style", "%q is not accepted: write \"%s\" or \"%s\"", c.Style, styleMon, styleKeepalived)
	}
	return &Alert{program: monprog.Program{Path: path, Args: c.Args}, timeout: c.Timeout.Std(), site: site, notify: c.Style == styleKeepalived}, nil
}

// Program is the path of the program's file.
func (a *Alert) Program() string { return a.program.Path }

// Invocation is the call that Send makes for an event.
func (a *Alert) Invocation(e alerts.Event) monprog.Invocation {
	call := a.program.Alert(e, a.site)
	if a.notify {
		// A sync group's scripts get GROUP and no priority; one that moves by itself,
		// with all its addresses, is an instance.
		call.Args = slices.Concat([]string{a.program.Path}, a.program.Args, []string{"INSTANCE", e.Group, variable(e, "MONITORD_STATE"), variable(e, "MONITORD_PRIORITY")})
	}
	return call
}

// variable is one of the event's own variables, "" if it has none of that name.
func variable(e alerts.Event, name string) string {
	for _, v := range e.Env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// Send implements [alerts.Alert]. An exit status other than 0 is an error with
// [alerts.ErrDelivered] in its chain.
func (a *Alert) Send(ctx context.Context, e alerts.Event) error {
	run, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if a.notify && variable(e, "MONITORD_STATE") == "" {
		return fmt.Errorf("%w: %s was not called: a notify script of keepalived is told of a group's transitions, and this is none", alerts.ErrDelivered, a.program.Path)
	}
	if err := monprog.Trusted(a.program.Path); errors.Is(err, monprog.ErrUntrusted) { // since the configuration was read
		return err
	}
	call := a.Invocation(e)
	ended, err := runcmd.Run(run, runcmd.Command{
		Path: a.program.Path, Args: call.Args, Env: call.Environ(os.Environ()), Stdin: call.Stdin,
		MaxOutput: 4 * sayingLength, Linger: a.timeout,
	})
	switch {
	case err != nil:
		return err
	case ended.TimedOut && ctx.Err() != nil:
		return fmt.Errorf("%s was stopped: %w", a.program.Path, ctx.Err())
	case ended.TimedOut:
		return fmt.Errorf("%s did not end within %s: %w", a.program.Path, a.timeout, run.Err())
	case ended.Signal != 0:
		return fmt.Errorf("%s: %s%s", a.program.Path, ended, said(ended.Output))
	case ended.Exit != 0:
		return fmt.Errorf("%w: %s: %s%s", alerts.ErrDelivered, a.program.Path, ended, said(ended.Output))
	}
	return nil
}

// said is the beginning of what a program printed, as the end of an error's
// line; empty if it printed nothing.
func said(output []byte) string {
	text := monprog.Line(string(output), sayingLength)
	if text == "" {
		return ""
	}
	return ": " + text
}
