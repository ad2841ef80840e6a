package contrib_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/alerts"
	alertexec "github.com/monitord/monitord/alerts/exec"
	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/runcmd"
	"github.com/monitord/monitord/monitors"
	monitorexec "github.com/monitord/monitord/monitors/exec"
)

// pluginsPage is docs/plugins.md.
func pluginsPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// TestPluginsPageVariables wants every variable that programs get to be on the page.
func TestPluginsPageVariables(t *testing.T) {
	page := pluginsPage(t)
	now, down := time.Now(), false
	program := monprog.Program{Path: "/p"}
	request := monitors.Request{
		Group: "g", Service: "s", Description: "d", Runs: 2, Events: 2, LastSummary: "x", LastOutput: "x",
		FirstFailure: now, LastFailure: now, LastSuccess: now, DependStatus: &down,
	}
	event := alerts.Event{
		Kind: alerts.TrapTimeout, Group: "g", Service: "s", Description: "d", Summary: "x", Previous: "x", Exit: new(1), Events: 2,
		FirstFailure: now, LastFailure: now, LastSuccess: now, Ack: "a: b", TrapIntended: "g:s", Time: now,
	}
	found := 0
	for who, env := range map[string][]string{
		"monitor": program.Monitor(request, monitors.Site{}, true).Env,
		"alert":   program.Alert(event, alerts.Site{}).Env,
	} {
		for _, variable := range env {
			name, _, _ := strings.Cut(variable, "=")
			found++
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("the page lacks %s of a %s's environment", name, who)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d variables", found)
	}
	for kind := alerts.Failure; kind <= alerts.Test; kind++ {
		if !strings.Contains(page, "`"+kind.String()+"`") {
			t.Errorf("the page lacks the alert type %s", kind)
		}
	}
}

// TestPluginsPageLimits compares the limits on the page with those in the code.
func TestPluginsPageLimits(t *testing.T) {
	page := pluginsPage(t)
	monitor := monitors.Defaults("exec").(*monitorexec.Config)
	alert := alerts.Defaults("exec").(*alertexec.Config)
	for _, want := range []string{
		fmt.Sprintf("%d MiB of output is kept, the rest dropped", runcmd.DefaultMaxOutput>>20),
		fmt.Sprintf("`timeout`, default %.0fs; no other end", monitor.Timeout.Std().Seconds()),
		fmt.Sprintf("`timeout`, default %.0fs, at most 2 minutes", alert.Timeout.Std().Seconds()),
		fmt.Sprintf("SIGTERM to its whole process group, %d ms later SIGKILL; what it leaves", runcmd.DefaultGrace.Milliseconds()),
		fmt.Sprintf("with its output open is ended %.0f s after it", runcmd.DefaultLinger.Seconds()),
		fmt.Sprintf("%d bytes for an argument or a variable", longestArgument()),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// longestArgument is what a program is given of an endless one.
func longestArgument() int {
	call := monprog.Program{Path: "/p", Args: []string{strings.Repeat("x", 1<<20)}}.Alert(alerts.Event{}, alerts.Site{})
	return len(call.Args[len(call.Args)-1])
}
