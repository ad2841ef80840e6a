package sim

import (
	"runtime/debug"
	"testing"

	"github.com/monitord/monitord/internal/director"
)

// TestMutation takes each guard away in turn: the simulation must notice, within
// the budget that go test has. What it does not notice guards nothing, or is not
// simulated.
func TestMutation(t *testing.T) {
	if slowed > 1 {
		t.Skip("the race detector makes it slow, and its budget is that of a build without")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(2000))
	type mutation struct {
		name    string
		options Options
	}
	mutations := []mutation{
		{"gateway relay", Options{NoRelay: true}},
		{"one of several gone, all gone", Options{Any: AnyGone}},
		{"one of several dropped, all dropped", Options{Any: AnyDropped}},
		{"one of several taken, all taken", Options{Any: AnyLaid}},
	}
	for _, g := range director.Guards() {
		mutations = append(mutations, mutation{g.String(), Options{Without: g}})
	}
	for _, m := range mutations {
		y := many(1, mutationBudget, 1, func(seed uint64) Result {
			r := Run(NewSchedule(seed), m.options)
			if r.Violation != nil && Run(NewSchedule(seed), Options{}).Violation != nil {
				return Result{} // it is not the mutation
			}
			return r
		})
		if len(y.failed) == 0 {
			t.Errorf("%-36s   not missed in %d schedules", m.name, mutationBudget)
			continue
		}
		seed := sorted(y.failed)[0]
		t.Logf("%-36s %5d schedules until caught: %s", m.name, seed, y.failed[seed].Error())
	}
}

// mutationBudget is how many schedules there are to notice. It is not SEEDS: a
// guard that only hundreds of thousands miss would be a test of patience.
const mutationBudget = 2000
