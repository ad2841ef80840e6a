package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/takeover"
)

// aView is what dr2 knows after dr1, which held the group, has died.
func aView() daemon.ClusterView {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	return daemon.ClusterView{
		View: takeover.View{
			Self: "dr2", Connected: true, Gateways: []string{"10.7.0.1"},
			Nodes: []takeover.NodeView{
				{Name: "dr1", State: "dead", Silent: 12.345, Gateway: true, Stale: true, Differs: true},
				{Name: "dr2", State: "alive", Self: true, Gateway: true},
				{Name: "web1", State: "alive", Silent: 0.0123, Witness: true, Maintenance: true},
				{Name: "web2", State: "unheard", Witness: true},
			},
			Groups: []takeover.GroupView{
				{Name: "web", Addresses: []string{"10.7.0.100"}, Owner: "dr2", Epoch: 7, Nodes: []takeover.ClaimView{
					{Node: "dr1", Role: "dead", Since: -1, Why: "it was active when it was last heard", Stale: true},
					{Node: "dr2", Role: "active", Since: 61.5, Why: "the kernel holds the address", Refusal: "failback is off"},
				}},
				{Name: "mail", Epoch: 3},
			},
		},
		Links: []daemon.LinkView{
			{Node: "dr1", Name: "link 1", State: "down", Heard: 12.345},
			{Node: "web1", Name: "gateway", State: "up", Heard: 0.0002, Latency: 0.00031},
			{Node: "web2", Name: "link 1", State: "down", Heard: -1},
		},
		Guards: []daemon.GuardView{
			{Name: "lease", Configured: true, Live: true},
			{Name: "wire", Configured: true, Live: true},
			{Name: "relay", Configured: true, Detail: "no heartbeat comes through the gateway"},
			{Name: "stonith"},
			{Name: "watchdog"},
		},
		Events: []daemon.ClusterEvent{
			{Time: at, Kind: "transition", Group: "web", From: "acquiring", To: "active", Reason: "the kernel holds the address", Without: 0.1151},
			{Time: at, Kind: "refusal", Group: "mail", Reason: "no majority of the voters is heard"},
		},
		Problems: []string{"gateway 10.7.0.1: operation not permitted"},
	}
}

// TestClusterForPeople: what people read of the cluster. A node that is gone, and what it
// was, is never shown as if it were so now.
func TestClusterForPeople(t *testing.T) {
	var out strings.Builder
	printClusterView(&out, aView())
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{
		"this is dr2, gateway 10.7.0.1 answers",
		"dr1 dead 12s ago (answered) ANOTHER CONFIGURATION, stale",
		"dr2 alive - answers this node",
		"web1 alive 12ms ago LOST witness, maintenance",
		"web2 unheard never - witness",
		"link 1 dr1 down 12s ago -",
		"gateway web1 up 200µs ago 310µs",
		"link 1 web2 down never -",
		"guards: lease, wire",
		"relay DOES NOT WORK: no heartbeat comes through the gateway",
		"not configured: stonith, watchdog",
		"web 10.7.0.100 held by dr2, epoch 7",
		"dr1 dead (stale) - it was active when it was last heard",
		"dr2 active 1m1s the kernel holds the address; stays so: failback is off",
		"mail HELD BY NOBODY that is heard, epoch 3",
		"2026-03-02 12:00:00.000 web: acquiring to active, the kernel holds the address; nobody held it for 115ms",
		"2026-03-02 12:00:00.000 mail: stays so, no majority of the voters is heard",
		"problem: gateway 10.7.0.1: operation not permitted",
	} {
		found := 0
		for _, line := range lines {
			if line == want {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d lines are %q, want one:\n%s", found, want, &out)
		}
	}
}

// TestHasIt: that a node is in maintenance is its own word, and not one from before it was
// silent.
func TestHasIt(t *testing.T) {
	v := daemon.ClusterView{View: takeover.View{Nodes: []takeover.NodeView{
		{Name: "dr1", State: "alive", Maintenance: true}, {Name: "dr2", State: "dead", Stale: true, Maintenance: true}, {Name: "dr3", Self: true},
	}}}
	for name, want := range map[string][2]bool{"dr1": {true, false}, "dr2": {false, false}, "dr3": {true, true}, "dr9": {false, false}} {
		for i, command := range []string{"maintenance on", "maintenance off"} {
			if got := hasIt(v, control.Command{Command: command, Node: name}); got != want[i] {
				t.Errorf("%s of %s: %t, want %t", command, name, got, want[i])
			}
		}
	}
}

// TestRepeat: --watch shows it again each second, on a cleared screen, until it is
// interrupted or there is nobody to ask.
func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, asJSON := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			var out strings.Builder
			began, shown := time.Now(), 0
			show := func() error {
				if shown++; shown == 3 {
					cancel()
				}
				return nil
			}
			if err := repeat(ctx, &out, asJSON, show); err != nil || shown != 3 {
				t.Errorf("shown %d times, %v", shown, err)
			}
			if took := time.Since(began); took != 2*time.Second {
				t.Errorf("three times took %s", took)
			}
			if clears := strings.Count(out.String(), "\x1b[2J"); clears != map[bool]int{false: 3}[asJSON] {
				t.Errorf("the screen was cleared %d times (JSON: %t)", clears, asJSON)
			}
		}
		broken := errors.New("no daemon")
		if err := repeat(t.Context(), &strings.Builder{}, false, func() error { return broken }); !errors.Is(err, broken) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestMaintenanceMisspelt(t *testing.T) {
	for _, args := range [][]string{{"maintenance"}, {"maintenance", "dr2"}, {"maintenance", "of", "dr2"}, {"maintenance", "on", "dr1", "dr2"}} {
		if out, errs, exit := command(args...); exit != 2 || !strings.Contains(errs, "maintenance --help") {
			t.Errorf("%q: exit %d: %s%s", args, exit, out, errs)
		}
	}
}
