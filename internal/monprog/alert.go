package monprog

import (
	"slices"
	"strconv"
	"strings"

	"github.com/monitord/monitord/alerts"
)

// Alert is the call of an alert:
//
//	PROGRAM -s SERVICE -g GROUP -h "HOST HOST" -t EPOCH [-u|-a|-D|-T|-O] ARGS...
//
// The hosts are the enabled ones of the group. The flag is -u for a recovery
// (also one told by a trap), -a for an acknowledgement, -D for a disable, -T for
// a trap, -O for a trap that did not come; none otherwise, as for a test of the
// ordinary alerts.
//
//	MON_GROUP, MON_SERVICE, MON_OPSTATUS           always; the status is a number
//	MON_ALERTTYPE                                  failure, up, startup, ack, disable, trap, traptimeout, test
//	MON_STATEDIR, MON_LOGDIR, MON_CFBASEDIR        always
//	MON_LAST_FAILURE, MON_LAST_SUCCESS             always; "0" if never, and the former after a success
//	MON_FIRST_SUCCESS                              always empty
//	MON_RETVAL                                     the exit status; not for an acknowledgement
//	MON_LAST_SUMMARY                               of the failure, once there was an event
//	MON_FIRST_FAILURE                              once there was an event; "0" if there is no outage
//	MON_LAST_OUTPUT                                of the event before this one
//	MON_ACK                                        "user: comment" while acknowledged
//	MON_DESCRIPTION, MON_TRAP_INTENDED             if there is one
//
// The standard input is the event's output byte for byte, of an acknowledgement
// its "user: comment".
func (p Program) Alert(e alerts.Event, site alerts.Site) Invocation {
	args := []string{
		p.Path, "-s", e.Service, "-g", e.Group, "-h", hostWord(e.Hosts), "-t", epoch(e.Time),
	}
	if f := flag(told(e)); f != "" {
		args = append(args, f)
	}
	return Invocation{
		Args:  passableAll(slices.Concat(args, p.Args)),
		Env:   alertEnviron(e, site),
		Stdin: stdin(e),
	}
}

// told is the kind that the program is told of: a test says what it tries out.
func told(e alerts.Event) alerts.Kind {
	if e.Kind == alerts.Test {
		return e.Testing
	}
	return e.Kind
}

func flag(k alerts.Kind) string {
	switch k {
	case alerts.Up:
		return "-u"
	case alerts.Ack:
		return "-a"
	case alerts.Disable:
		return "-D"
	case alerts.Trap:
		return "-T"
	case alerts.TrapTimeout:
		return "-O"
	case alerts.Failure, alerts.Startup, alerts.Test, alerts.State, alerts.Digest:
	}
	return ""
}

// alertType is the word in MON_ALERTTYPE. Only the test of the ordinary alerts
// calls itself one.
func alertType(e alerts.Event) string {
	if e.Kind == alerts.Test && e.Testing == alerts.Failure {
		return alerts.Test.String()
	}
	return told(e).String()
}

func alertEnviron(e alerts.Event, site alerts.Site) []string {
	earlier := earlierEvents(e)
	// A failure has put down its summary and its time before it is told of; a
	// recovery is told of first, and put down afterwards.
	known := earlier > 0 || e.Events > 0 && e.Kind.Failing()
	env := newEnviron(e.Env)
	env.setIf(known || e.Summary != "", "MON_LAST_SUMMARY", e.Summary)
	env.setIf(earlier > 0 || e.Previous != "", "MON_LAST_OUTPUT", e.Previous)
	env.set("MON_LAST_FAILURE", epoch(e.LastFailure))
	env.setIf(known || !e.FirstFailure.IsZero(), "MON_FIRST_FAILURE", epoch(e.FirstFailure))
	env.set("MON_FIRST_SUCCESS", "")
	env.set("MON_LAST_SUCCESS", epoch(e.LastSuccess))
	env.setIf(e.Description != "", "MON_DESCRIPTION", e.Description)
	env.set("MON_GROUP", e.Group)
	env.set("MON_SERVICE", e.Service)
	if e.Exit != nil {
		env.set("MON_RETVAL", strconv.Itoa(*e.Exit))
	}
	env.set("MON_OPSTATUS", strconv.Itoa(e.Status))
	env.setIf(e.Ack != "", "MON_ACK", e.Ack)
	env.set("MON_ALERTTYPE", alertType(e))
	env.folders(site.StateDir, site.LogDir, site.ConfigDir)
	env.setIf(e.TrapIntended != "", "MON_TRAP_INTENDED", e.TrapIntended)
	return env
}

// earlierEvents counts the results and traps before this event; those kinds that
// are no result themselves have all of them before.
func earlierEvents(e alerts.Event) int {
	if e.Kind.Failing() || e.Kind == alerts.Up || e.Kind == alerts.State {
		return max(e.Events-1, 0)
	}
	return e.Events
}

// hostWord lists the enabled hosts in one argument. Names beyond what the kernel
// takes in one argument are left out, whole ones: some 9,000 hosts fit.
func hostWord(hosts []alerts.Host) string {
	var word strings.Builder
	for _, h := range hosts {
		if h.Disabled {
			continue
		}
		if word.Len()+1+len(h.Name) > longest {
			break
		}
		if word.Len() > 0 {
			word.WriteByte(' ')
		}
		word.WriteString(h.Name)
	}
	return word.String()
}

// stdin is never nil: an alert without a text reads an empty pipe, as in mon.
func stdin(e alerts.Event) []byte {
	if e.Kind == alerts.Ack {
		return []byte(e.Ack)
	}
	return append([]byte{}, e.Output...)
}
