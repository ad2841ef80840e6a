package systemd

import (
	"context"
	"fmt"
	"strings"

	"github.com/monitord/monitord/resources"
)

// A state is what systemd says of a unit: org.freedesktop.systemd1(5).
type state struct {
	LoadState, ActiveState, SubState, Result string
}

func (u *Unit) show(ctx context.Context) (state, error) {
	ended, err := u.run(ctx, "show", "--property=LoadState,ActiveState,SubState,Result", "--", u.name)
	switch {
	case err != nil:
		return state{}, err
	case ended.TimedOut:
		return state{}, fmt.Errorf("status of %s: systemd did not answer in time: %w", u.name, ctx.Err())
	case ended.Exit != 0 || ended.Signal != 0:
		return state{}, fmt.Errorf("status of %s: systemctl: %s%s", u.name, ended, said(ended))
	}
	now := parse(string(ended.Output))
	if !now.known() {
		return state{}, fmt.Errorf("status of %s: not understood%s", u.name, said(ended))
	}
	return now, nil
}

func parse(output string) (s state) {
	into := map[string]*string{
		"LoadState": &s.LoadState, "ActiveState": &s.ActiveState, "SubState": &s.SubState, "Result": &s.Result,
	}
	for line := range strings.Lines(output) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if field := into[name]; field != nil {
			*field = value
		}
	}
	return s
}

// known tells the states of systemd 256 from those that are invented later.
func (s state) known() bool {
	switch s.ActiveState {
	case "active", "reloading", "refreshing", "inactive", "failed", "activating", "deactivating", "maintenance":
		return true
	}
	return false
}

// status: what is on its way is partly there, and "failed" is what stop and
// reset-failed have to clear. A unit between two restarts is activating.
func (s state) status() resources.Status {
	switch s.ActiveState {
	case "active", "reloading", "refreshing":
		return resources.Running
	case "inactive":
		return resources.Stopped
	}
	return resources.Failed
}

// missing reports whether there is no such unit; one whose file was removed while
// it ran is there until it stops.
func (s state) missing() bool { return s.LoadState == "not-found" && s.ActiveState == "inactive" }

func (s state) String() string {
	text := s.ActiveState
	if s.SubState != "" && s.SubState != s.ActiveState {
		text += " (" + s.SubState + ")"
	}
	if s.LoadState != "loaded" && s.LoadState != "" {
		text += ", its file is " + s.LoadState
	}
	if s.Result != "success" && s.Result != "" {
		text += ", result " + s.Result
	}
	return text
}
