package director_test

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// An arrow is a way from one role to another.
type arrow struct{ from, to string }

// diagram reads the arrows from the package comment.
func diagram(t *testing.T) map[arrow]bool {
	t.Helper()
	source, err := os.ReadFile("director.go")
	if err != nil {
		t.Fatal(err)
	}
	arrows := map[arrow]bool{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(\w+) +-> (\w+) `).FindAllStringSubmatch(string(source), -1) {
		arrows[arrow{m[1], m[2]}] = true
	}
	if len(arrows) < 10 {
		t.Fatalf("the diagram has only %d arrows", len(arrows))
	}
	return arrows
}

// TestArrows walks each arrow of the diagram, on one of the nodes of a pair, and
// looks at the reason that is told for it.
func TestArrows(t *testing.T) {
	up := "start a;start b;wait 500ms;"
	tests := []struct {
		from, to string
		do       string
		node     string
		why      director.Code
	}{
		{"init", "standby", "start a", "a", director.ReasonClean},
		{"init", "active", up + "kill a;wait 200ms;start a", "a", director.ReasonAdopted},
		{"init", "maintenance", up + "operator b maintenance-on;sigterm b;wait 500ms;start b", "b", director.ReasonClean},
		{"init", "fault", "stop-fails a;start a;wait 5s", "a", director.ReasonStopFailed},
		{"standby", "acquiring", up + "crash a;wait 1s", "b", director.ReasonOwnerDead},
		{"standby", "acquiring", up + "sigterm a;wait 1s", "b", director.ReasonReleased},
		{"standby", "acquiring", up, "a", director.ReasonNoOwner},
		{"standby", "maintenance", up + "operator b maintenance-on", "b", director.ReasonMaintenanceOn},
		{"acquiring", "active", up, "a", director.ReasonLeaseSet},
		{"acquiring", "standby", up + "freeze a;wait 400ms;resume a;wait 1s", "b", director.ReasonOwnerAlive},
		{"acquiring", "releasing", up + "start-fails b;crash a;wait 1s", "b", director.ReasonStartFailed},
		{"acquiring", "releasing", up + "slow b 1s;crash a;wait 500ms;cut b gw;wait 1s", "b", director.ReasonNoGateway},
		{"active", "releasing", up + "cut a b;cut a gw;wait 1s", "a", director.ReasonCutOff},
		{"active", "releasing", up + "cut a gw;wait 2s", "a", director.ReasonGatewayLost},
		{"active", "releasing", up + "freeze a;wait 2s;resume a", "a", director.ReasonLeaseLost},
		{"active", "releasing", up + "no-relay;oneway a b;wait 1s", "a", director.ReasonYield},
		{"active", "releasing", up + "no-relay;cut a b;wait 1s;heal;wait 1s", "a", director.ReasonClaimLost},
		{"active", "releasing", up + "operator a switchover web b", "a", director.ReasonSwitchover},
		{"active", "releasing", up + "operator a maintenance-on", "a", director.ReasonMaintenance},
		{"active", "releasing", up + "require a web bad 0", "a", director.ReasonRequire},
		{"active", "releasing", up + "sigterm a", "a", director.ReasonShutdown},
		{"active", "releasing", up + "cut a b;cut a gw;freeze a;wait 300ms;resume a;wait 1s", "a", director.ReasonUnproved},
		{"releasing", "standby", up + "operator a switchover web b;wait 1s", "a", director.ReasonStopped},
		{"releasing", "fault", up + "stop-fails a;operator a switchover web b;wait 5s", "a", director.ReasonStopFailed},
		{"releasing", "fault", "start-fails a;" + up, "a", director.ReasonStartFailed},
		{"releasing", "maintenance", up + "operator a maintenance-on;wait 1s", "a", director.ReasonMaintenance},
		{"fault", "standby", "start-fails a;" + up + "wait 20s", "a", director.ReasonPauseOver},
		{"fault", "standby", "stop-fails a;start a;wait 5s;stop-works a;wait 5s", "a", director.ReasonStopped},
		{"fault", "maintenance", "start-fails a;" + up + "operator a maintenance-on", "a", director.ReasonMaintenanceOn},
		{"maintenance", "standby", up + "operator b maintenance-on;operator b maintenance-off;wait 1s", "b", director.ReasonMaintenanceOff},
	}
	missing := diagram(t)
	for _, tt := range tests {
		t.Run(tt.from+" to "+tt.to+" "+director.Reason{Code: tt.why}.String(), func(t *testing.T) {
			w := newWorld(pair())
			play(t, w, tt.do)
			for _, n := range w.walked {
				if n.node == tt.node && n.From.String() == tt.from && n.To.String() == tt.to && n.Reason.Code == tt.why {
					return
				}
			}
			t.Errorf("%s did not go there for that reason:\n%s", tt.node, w.log.String())
		})
		delete(missing, arrow{tt.from, tt.to})
	}
	for a := range missing {
		t.Errorf("nobody walks %s -> %s", a.from, a.to)
	}
}

// play does commands separated by semicolons; "wait 1s" lets time pass.
func play(t *testing.T, w *world, script string) {
	t.Helper()
	for _, words := range split(script) {
		if words[0] == "wait" {
			d, err := time.ParseDuration(words[1])
			if err != nil {
				t.Fatal(err)
			}
			w.run(d)
			continue
		}
		if err := w.command(words); err != nil {
			t.Fatal(err)
		}
	}
	w.run(100 * time.Millisecond)
}
