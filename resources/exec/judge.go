package exec

import (
	"regexp"
	"slices"

	"github.com/monitord/monitord/internal/runcmd"
	"github.com/monitord/monitord/resources"
)

// A class is a convention of calling programs.
type class int

const (
	lsb class = iota
	heartbeat
	ocf
)

func (c class) String() string { return [...]string{"lsb", "heartbeat", "ocf"}[c] }

// question is the action that asks for the status.
func (c class) question() string {
	if c == ocf {
		return "monitor"
	}
	return "status"
}

// judge reads the status from how the question was answered. If it cannot be told
// it says why not.
func (c class) judge(r runcmd.Result) (s resources.Status, why string) {
	switch {
	case r.Exit == 126 || r.Exit == 127: // by shells and env(1)
		return 0, "a command could not be run"
	case c == ocf:
		return judgeOCF(r.Exit)
	case r.Exit != 0 && (usage.Match(r.Output) || usage.Match(r.Stderr)):
		return 0, "it does not know the question; if it has no status, set status = false"
	case c == heartbeat:
		return judgeText(r)
	}
	return judgeLSB(r.Exit)
}

var usage = regexp.MustCompile(`(?im)^\s*\*?\s*usage\b`)

// judgeLSB is LSB 5.0, 22.2: 1 and 2 are dead with a pid or lock file left.
func judgeLSB(exit int) (resources.Status, string) {
	switch exit {
	case 0:
		return resources.Running, ""
	case 1, 2, 3:
		return resources.Stopped, ""
	case 4:
		return 0, "it does not know whether it runs"
	}
	return 0, "no status of an init script"
}

// The patterns of we_own_resource in heartbeat's ResourceManager, in its order. As
// in the shell's, anything may stand between "not" and "running", line ends too.
var (
	notRunning = regexp.MustCompile(`(?s)[Nn][Oo][Tt] .*[Rr]unning`)
	running    = regexp.MustCompile(`[Rr]unning|OK`)
	stopped    = regexp.MustCompile(`(?i)\b(stopped|down|dead|inactive|unused|unloaded|unmounted|released)\b`)
)

func judgeText(r runcmd.Result) (resources.Status, string) {
	switch {
	case notRunning.Match(r.Output):
		return resources.Stopped, ""
	case running.Match(r.Output):
		return resources.Running, ""
	case stopped.Match(r.Output) || slices.Contains([]int{1, 2, 3, 7}, r.Exit):
		return resources.Stopped, ""
	}
	return 0, "it says neither that it is running nor that it is stopped"
}

// judgeOCF is OCF Resource Agent API 1.1, 5.2, with the numbers of "degraded" that
// Pacemaker added.
func judgeOCF(exit int) (resources.Status, string) {
	switch exit {
	case 0, 8, 190, 191:
		return resources.Running, ""
	case 7:
		return resources.Stopped, ""
	case 1, 9:
		return resources.Failed, ""
	}
	if meaning := ocfError(exit); meaning != "" {
		return 0, meaning
	}
	return 0, "no status of an OCF agent"
}

// ocfError says in words what start, stop and monitor may end with.
func ocfError(exit int) string {
	switch exit {
	case 2:
		return "OCF_ERR_ARGS, a parameter does not fit this machine"
	case 3:
		return "OCF_ERR_UNIMPLEMENTED, the agent does not know this action"
	case 4:
		return "OCF_ERR_PERM, the agent lacks permission"
	case 5:
		return "OCF_ERR_INSTALLED, what the agent needs is not installed"
	case 6:
		return "OCF_ERR_CONFIGURED, a parameter is wrong or missing"
	}
	return ""
}
