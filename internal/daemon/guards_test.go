package daemon

import (
	"net/netip"
	"testing"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/takeover"
)

// TestLostGuards: what the configuration has is worth nothing while it does not work.
func TestLostGuards(t *testing.T) {
	whole := func() ClusterView {
		return ClusterView{
			View: takeover.View{Self: "dr1", Connected: true, Nodes: []takeover.NodeView{
				{Name: "dr1", Self: true}, {Name: "dr2", State: "alive"}, {Name: "web1", State: "alive", Witness: true},
			}},
			Links: []LinkView{
				{Node: "dr2", Name: "lan", State: "up"},
				{Node: "dr2", Name: "cross", State: "up"},
				{Node: "dr2", Name: "gateway", State: "up"},
				{Node: "web1", Name: "lan", State: "up"},
			},
		}
	}
	for name, tt := range map[string]struct {
		change func(*ClusterView)
		lost   map[string]string
	}{
		"nothing":             {func(*ClusterView) {}, nil},
		"the gateway is dead": {func(v *ClusterView) { v.Connected = false }, map[string]string{"gateway": "the gateway does not answer"}},
		"it does not relay":   {func(v *ClusterView) { v.Links[2].State = "down" }, map[string]string{"relay": "no heartbeat comes through the gateway: it does not send packets back out, or no other node is there"}},
		"or one way only":     {func(v *ClusterView) { v.Links[2].State = "one way only" }, map[string]string{"relay": "no heartbeat comes through the gateway: it does not send packets back out, or no other node is there"}},
		"a cable is out":      {func(v *ClusterView) { v.Links[1].State = "down" }, map[string]string{"second link": "dr2 is heard over one link only"}},
		"the witness is gone": {func(v *ClusterView) { v.Nodes[2].State = "dead" }, map[string]string{"witness": "web1 is not heard"}},
		"a director is gone":  {func(v *ClusterView) { v.Nodes[1].State = "suspect" }, nil},
		"both are gone": {func(v *ClusterView) { v.Nodes[1].State, v.Nodes[2].State = "dead", "left" }, map[string]string{
			"witness": "1 of 3 voters are heard", "majority": "1 of 3 voters are heard",
		}},
	} {
		v := whole()
		tt.change(&v)
		for _, guard := range []string{"lease", "wire", "second link", "relay", "witness", "majority", "gateway", "stonith", "watchdog"} {
			if got := lost(guard, v); got != tt.lost[guard] {
				t.Errorf("%s: %s is %q, want %q", name, guard, got, tt.lost[guard])
			}
		}
	}
}

// TestGuardsNow: what the configuration does not have stays out, with its advice.
func TestGuardsNow(t *testing.T) {
	site := &config.Cluster{Director: director.Config{
		Self: "dr1", Nodes: []director.Node{{Name: "dr1"}, {Name: "dr2"}}, Gateways: []string{"10.0.0.1"}, Timings: director.DefaultTimings(),
	}, Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Relay: true}
	got := map[string]GuardView{}
	for _, g := range guardsNow(site, ClusterView{View: takeover.View{Nodes: []takeover.NodeView{{Name: "dr1", Self: true}, {Name: "dr2", State: "alive"}}}}) {
		if g.Detail == "" || g.Live && !g.Configured {
			t.Errorf("%+v", g)
		}
		got[g.Name] = g
	}
	for name, want := range map[string][2]bool{"lease": {true, true}, "wire": {true, true}, "relay": {true, false}, "gateway": {true, false}, "witness": {}, "stonith": {}} {
		if g := got[name]; g.Configured != want[0] || g.Live != want[1] {
			t.Errorf("%s: %+v, want configured %t, live %t", name, g, want[0], want[1])
		}
	}
}
