// Package systemd is the resource kind "systemd": a unit that runs on the active
// director only.
//
//	resource = [{ type = "systemd", unit = "haproxy" }]
//
// The unit must not be started at boot ("systemctl disable"), else it runs on both
// directors. A service of Type=oneshot needs RemainAfterExit=yes: without it there
// is no telling whether it was started.
//
// Each call waits for systemd's job to end. A job that conflicts with one of ours
// is replaced by it, systemctl's own default: who owns the group decides. While the
// machine shuts down nothing can be started, since those jobs cannot be replaced.
//
// A unit that is starting, stopping or has failed is reported as failed, one that
// is reloading as running. A unit that does not exist is an error, to Stop alone it
// is as good as stopped.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/runcmd"
	"github.com/monitord/monitord/resources"
)

// Config is the configuration of the kind.
type Config struct {
	Unit      string `toml:"unit" doc:"Name of the unit; \".service\" is added to a name without a kind; no default."`
	Systemctl string `toml:"systemctl" doc:"The program that speaks to systemd; default \"/usr/bin/systemctl\"."`
}

func init() {
	resources.Register("systemd", Config{Systemctl: "/usr/bin/systemctl"}, build)
}

// longestUnit is UNIT_NAME_MAX.
const longestUnit = 255

func build(c Config, _ resources.Site) (resources.Resource, error) {
	const want = "write a name that \"systemctl list-unit-files\" shows, such as \"haproxy.service\""
	switch {
	case c.Unit == "":
		return nil, resources.BadKey("unit", "missing: %s", want)
	case strings.ContainsFunc(c.Unit, notOfUnits) || c.Unit[0] == '-' || c.Unit[0] == '.' || len(c.Unit) > longestUnit:
		// systemctl would take it for a pattern, a path or an option.
		return nil, resources.BadKey("unit", "%q is no unit: %s", c.Unit, want)
	case strings.Contains(c.Unit, "@.") || strings.HasSuffix(c.Unit, "@"):
		return nil, resources.BadKey("unit", "%q is a template: write an instance of it, such as \"name@instance.service\"", c.Unit)
	case !filepath.IsAbs(c.Systemctl):
		return nil, resources.BadKey("systemctl", "%q is not the path of a program: write it from the root, such as \"/usr/bin/systemctl\"", c.Systemctl)
	}
	name := c.Unit
	if !slices.Contains(kinds(), filepath.Ext(name)) {
		name += ".service" // systemctl does the same.
	}
	return &Unit{name: name, systemctl: c.Systemctl, lastCall: lastCall}, nil
}

// notOfUnits is what systemd.unit(5) does not allow in the name of a unit.
func notOfUnits(r rune) bool {
	switch {
	case '0' <= r && r <= '9', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z':
		return false
	}
	return !strings.ContainsRune(`:-_.\@`, r)
}

// kinds are the units that can be started and stopped.
func kinds() []string {
	return []string{".service", ".socket", ".target", ".timer", ".path", ".mount", ".automount", ".swap", ".slice", ".scope"}
}

// A Unit is the resource.
type Unit struct {
	name, systemctl string
	lastCall        time.Duration
}

const (
	// grace is how long systemctl may take to obey SIGTERM when its time is up.
	grace = 250 * time.Millisecond
	// lastCall is how long it may take to hand a job over when the time of the call
	// is up already.
	lastCall = 500 * time.Millisecond
	// sayingLength is how many characters of its output are put into an error.
	sayingLength = 300
)

// Start starts the unit and verifies that it is active. One that is not gets
// stopped again, in the background if time is up.
func (u *Unit) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start %s: %w", u.name, err)
	}
	err := u.do(ctx, "start")
	if err == nil {
		err = u.active(ctx)
	}
	if err != nil && !errors.Is(err, errMissing) {
		return errors.Join(err, u.undo(ctx))
	}
	return err
}

func (u *Unit) active(ctx context.Context) error {
	now, err := u.show(ctx)
	switch {
	case err != nil:
		return err
	case now.status() == resources.Running:
		return nil
	case now.ActiveState == "inactive" && now.Result == "success":
		return fmt.Errorf("start %s: it has ended already; for a service of Type=oneshot set RemainAfterExit=yes", u.name)
	}
	return fmt.Errorf("start %s: it is %s", u.name, now)
}

// undo takes a start back. It clears a failure too: nothing of it is left.
func (u *Unit) undo(ctx context.Context) error {
	var options []string
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), u.lastCall)
		defer cancel()
		options = []string{"--no-block"}
	}
	return errors.Join(u.do(ctx, "stop", options...), u.clear(ctx))
}

// Stop stops the unit and verifies that nothing of it is left.
func (u *Unit) Stop(ctx context.Context) error {
	if err := u.do(ctx, "stop"); err != nil {
		if now, failed := u.show(ctx); failed == nil && now.missing() {
			return nil
		}
		return err
	}
	if err := u.clear(ctx); err != nil {
		return err
	}
	now, err := u.show(ctx)
	if err == nil && now.status() != resources.Stopped {
		err = fmt.Errorf("stop %s: it is %s", u.name, now)
	}
	return err
}

// clear makes a failed unit an inactive one.
func (u *Unit) clear(ctx context.Context) error {
	now, err := u.show(ctx)
	if err != nil || now.ActiveState != "failed" {
		return err
	}
	return u.do(ctx, "reset-failed")
}

// Status asks systemd.
func (u *Unit) Status(ctx context.Context) (resources.Status, error) {
	now, err := u.show(ctx)
	if err == nil && now.missing() {
		err = u.missing()
	}
	if err != nil {
		return resources.Stopped, err
	}
	return now.status(), nil
}

var errMissing = errors.New("there is no such unit")

func (u *Unit) missing() error {
	return fmt.Errorf("%s: %w; \"systemctl list-unit-files\" lists those that there are", u.name, errMissing)
}

// do hands over a job and waits for its end.
func (u *Unit) do(ctx context.Context, verb string, options ...string) error {
	ended, err := u.run(ctx, slices.Concat([]string{"--no-ask-password", verb}, options, []string{"--", u.name})...)
	switch {
	case err != nil:
		return err
	case ended.TimedOut:
		return fmt.Errorf("%s %s did not end in time: %w", verb, u.name, ctx.Err())
	case ended.Exit == 0:
		return nil
	case ended.Exit == notLoaded:
		return u.missing()
	}
	why := ""
	if now, err := u.show(ctx); err == nil {
		why = ", it is " + now.String()
	}
	return fmt.Errorf("%s %s: systemctl: %s%s%s", verb, u.name, ended, why, said(ended))
}

// notLoaded is systemctl(1)'s exit status for a unit that is not there, after the
// LSB's "program is not installed".
const notLoaded = 5

func (u *Unit) run(ctx context.Context, args ...string) (runcmd.Result, error) {
	return runcmd.Run(ctx, runcmd.Command{
		Path: u.systemctl, Args: append([]string{u.systemctl}, args...), Grace: grace, SeparateStderr: true,
		Env: append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER="),
	})
}

// said is what systemctl printed, as the end of an error's line; empty if it
// printed nothing.
func said(r runcmd.Result) string {
	text := monprog.Line(string(r.Output)+" "+string(r.Stderr), sayingLength)
	if text == "" {
		return ""
	}
	return ": " + text
}
