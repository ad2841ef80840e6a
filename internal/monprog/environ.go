package monprog

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// longest is the longest argument or variable ("NAME=value") that Linux passes
// to a program: MAX_ARG_STRLEN, 32 pages, with the NUL at the end. A longer one
// makes execve(2) fail, so a monitor that once printed 200 kB could never be
// called again because of its own MON_LAST_OUTPUT; the value is cut instead.
const longest = 32*4096 - 1

// names are the variables of the contract. A watch's variable of such a name is
// dropped: mon sets its own later, and one that mon leaves unset says something.
var names = []string{
	"MON_ACK", "MON_ALERTTYPE", "MON_CFBASEDIR", "MON_DEPEND_STATUS", "MON_DESCRIPTION",
	"MON_FIRST_FAILURE", "MON_FIRST_SUCCESS", "MON_GROUP", "MON_LAST_FAILURE", "MON_LAST_OUTPUT",
	"MON_LAST_SUCCESS", "MON_LAST_SUMMARY", "MON_LOGDIR", "MON_OPSTATUS", "MON_RETVAL",
	"MON_SERVICE", "MON_STATEDIR", "MON_TRAP_INTENDED",
}

func isContract(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	_, found := slices.BinarySearch(names, name)
	return found
}

// An environ collects the variables of a call.
type environ []string

// newEnviron starts with the watch's own variables.
func newEnviron(own []string) environ {
	e := make(environ, 0, len(own)+len(names))
	for _, v := range own {
		if !isContract(v) {
			e = append(e, passable(v))
		}
	}
	return e
}

func (e *environ) set(name, value string) { *e = append(*e, passable(name+"="+value)) }

func (e *environ) setIf(condition bool, name, value string) {
	if condition {
		e.set(name, value)
	}
}

// folders are mon's statedir, logdir and cfbasedir.
func (e *environ) folders(state, log, config string) {
	e.set("MON_STATEDIR", state)
	e.set("MON_LOGDIR", log)
	e.set("MON_CFBASEDIR", config)
}

// epoch writes a time as mon does: seconds, "0" for never.
func epoch(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// passable cuts a string to what the kernel takes as an argument or variable. A
// NUL ends it, as it does in mon.
func passable(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s[:min(len(s), longest)]
}

func passableAll(args []string) []string {
	for i, a := range args {
		args[i] = passable(a)
	}
	return args
}
