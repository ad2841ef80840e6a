package monprog

import (
	"slices"

	"github.com/monitord/monitord/monitors"
)

// Monitor is the call of a monitor. With hosts the request's hosts follow the
// user's arguments, each of them an argument; without (mon's ";;" at the end of
// the line) the user's arguments are all.
//
//	MON_GROUP, MON_SERVICE                         always
//	MON_STATEDIR, MON_LOGDIR, MON_CFBASEDIR        always
//	MON_LAST_FAILURE, MON_LAST_SUCCESS             always; "0" if never, and the former after a success
//	MON_FIRST_FAILURE                              after the first event; "0" after a success
//	MON_LAST_SUMMARY, MON_LAST_OUTPUT              after the first event
//	MON_DEPEND_STATUS                              "0" or "1", once a dependency was evaluated
//	MON_DESCRIPTION                                if the watch has one
//
// Times are seconds since 1970. mon's MON_FIRST_SUCCESS is left out: it is empty
// in the few calls that have it.
func (p Program) Monitor(r monitors.Request, site monitors.Site, hosts bool) Invocation {
	args := slices.Concat([]string{p.Path}, p.Args)
	if hosts {
		args = append(args, r.Hosts...)
	}
	known := r.Events > 0 || r.Runs > 0
	env := newEnviron(r.Env)
	env.set("MON_GROUP", r.Group)
	env.set("MON_SERVICE", r.Service)
	env.setIf(known || r.LastSummary != "", "MON_LAST_SUMMARY", r.LastSummary)
	env.setIf(known || r.LastOutput != "", "MON_LAST_OUTPUT", r.LastOutput)
	env.set("MON_LAST_FAILURE", epoch(r.LastFailure))
	env.setIf(known || !r.FirstFailure.IsZero(), "MON_FIRST_FAILURE", epoch(r.FirstFailure))
	if r.DependStatus != nil {
		env.set("MON_DEPEND_STATUS", map[bool]string{false: "0", true: "1"}[*r.DependStatus])
	}
	env.set("MON_LAST_SUCCESS", epoch(r.LastSuccess))
	env.setIf(r.Description != "", "MON_DESCRIPTION", r.Description)
	env.folders(site.StateDir, site.LogDir, site.ConfigDir)
	return Invocation{Args: passableAll(args), Env: env}
}
