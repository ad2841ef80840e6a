package sim

import (
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/director"
)

// A dumb machine shows that a rule can be broken: a check that cannot fail is
// none.
type dumb struct {
	config  director.Config
	role    director.Role
	renewed director.Instant
	epoch   uint64
	ticks   int
	taken   bool
	step    func(*dumb, director.Event) []director.Action
}

func (m *dumb) Step(e director.Event) []director.Action { return m.step(m, e) }

func (m *dumb) Groups() []director.Standing {
	list := make([]director.Standing, len(m.config.Groups))
	for i, g := range m.config.Groups {
		list[i] = director.Standing{Group: g.Name, Role: m.role, Epoch: m.epoch}
	}
	return list
}

func dumbly(step func(*dumb, director.Event) []director.Action) Maker {
	return func(c director.Config, _ director.Restored, now director.Instant) (Machine, []director.Action) {
		m := &dumb{config: c, step: step, renewed: now}
		return m, m.all(func(g director.Group) director.Action { return director.Save{Group: g.Name, Epoch: 1_000_000} })
	}
}

func (m *dumb) all(do func(g director.Group) director.Action) []director.Action {
	var actions []director.Action
	for _, g := range m.config.Groups {
		actions = append(actions, do(g))
	}
	return actions
}

// take all groups, and renew them for ever.
func (m *dumb) take(e director.Event) []director.Action {
	if e.At.Sub(m.renewed) < m.config.Timings.Renew {
		return nil
	}
	m.renewed = e.At
	if m.epoch++; !m.first() {
		m.epoch += 100
	}
	defer func() { m.taken = true }()
	return m.all(func(g director.Group) director.Action {
		if m.taken {
			return director.Renew{Group: g.Name, NotAfter: e.At.Add(m.config.Timings.Renew)}
		}
		return director.Take{Group: g.Name, NotAfter: e.At.Add(m.config.Timings.Renew)}
	})
}

func (m *dumb) dropOnce() []director.Action {
	if m.role == director.Standby {
		return nil
	}
	m.role = director.Standby
	return []director.Action{director.Drop{Group: "g1"}}
}

func (m *dumb) first() bool { return m.config.Self == "n1" }

// plain is two directors and one fault.
func plain(f ...Fault) Schedule {
	s := Schedule{Seed: 1, Setup: Setup{
		Single: true, Directors: 2, Gateways: 1, Relay: true, LatestExpiry: 800 * ms, Tick: 5 * ms,
		Groups: []GroupSetup{{Before: true}},
	}}
	s.Faults = f
	return s
}

// announced takes all groups and says so.
func (m *dumb) announced(e director.Event) []director.Action {
	actions := m.take(e)
	if actions == nil {
		return nil
	}
	return append(actions, m.all(func(g director.Group) director.Action { return director.Announce{Group: g.Name} })...)
}

func mustBreak(t *testing.T, s Schedule, step func(*dumb, director.Event) []director.Action, want string) {
	t.Helper()
	var story strings.Builder
	v := Run(s, Options{Make: dumbly(step), Trace: &story}).Violation
	if v == nil || !strings.Contains(v.Error(), want) {
		t.Errorf("got %v, want %q\n%s", v, want, story.String())
	}
}

// TestRulesCanBeBroken: for each rule there is a machine that breaks it.
func TestRulesCanBeBroken(t *testing.T) {
	announced := (*dumb).announced
	part := func(m *dumb, e director.Event) []director.Action {
		actions := announced(m, e)
		if actions != nil {
			actions = append(actions, director.StartPart{Group: "g1"})
		}
		return actions
	}
	tests := []struct {
		name   string
		faults []Fault
		step   func(*dumb, director.Event) []director.Action
		want   string
	}{
		{"all take", nil, func(m *dumb, e director.Event) []director.Action {
			if m.ticks++; m.first() || m.ticks > 100 { // one after the other: epochs are all right
				return m.take(e)
			}
			return nil
		}, "1 one kernel"},
		{"nobody takes", nil, func(*dumb, director.Event) []director.Action { return nil }, "2 held"},
		{"one takes, not the other", []Fault{{At: 100 * ms, For: 20_000 * ms, Kind: Power}}, func(m *dumb, e director.Event) []director.Action {
			if m.first() {
				return part(m, e)
			}
			return nil
		}, "promised are"},
		{"the first lets go for no reason", nil, func(m *dumb, e director.Event) []director.Action {
			if !m.first() {
				return nil
			}
			if m.ticks++; m.ticks == 560 {
				return []director.Action{director.Drop{Group: "g1"}}
			}
			return announced(m, e)
		}, "3 quiet"},
		{"both start", nil, func(m *dumb, e director.Event) []director.Action {
			if m.first() {
				return part(m, e)
			}
			if m.ticks++; m.ticks == 560 {
				return []director.Action{director.StartPart{Group: "g1"}}
			}
			return nil
		}, "4 released"},
		{"both let go", []Fault{{At: 200 * ms, For: 100 * ms, Kind: Partition, Node: Owner, Other: Second}}, func(m *dumb, e director.Event) []director.Action {
			switch m.ticks++; {
			case m.first() && m.ticks > 640, !m.first() && m.ticks > 620:
				return m.dropOnce()
			case m.first(), m.ticks > 420:
				return announced(m, e)
			}
			return nil
		}, "5 one keeps"},
		{"not announced", nil, func(m *dumb, e director.Event) []director.Action {
			if m.first() {
				return m.take(e)
			}
			return nil
		}, "6 announced"},
		{"not started", nil, func(m *dumb, e director.Event) []director.Action {
			if m.first() {
				return announced(m, e)
			}
			return nil
		}, "6 one owner"},
		{"an old epoch", nil, func(m *dumb, e director.Event) []director.Action {
			if m.first() {
				m.ticks++
				actions := announced(m, e)
				m.epoch = 7 - uint64(m.ticks/300)
				return append(actions, director.Tell{Notice: director.Notice{Group: "g1", Epoch: m.epoch}})
			}
			return nil
		}, "7 epochs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			schedule := plain(test.faults...)
			schedule.Setup.Groups = []GroupSetup{{}}
			schedule.Setup.Groups[0].Before = strings.Contains(test.name, "start") || strings.Contains(test.name, "not the other")
			if test.want == "5 one keeps" {
				schedule.Setup.Relay = false // the exception: two hold at first
			}
			mustBreak(t, schedule, test.step, test.want)
		})
	}
}

// TestPromisesCanBeBroken: the same for what holds in some setups only.
func TestPromisesCanBeBroken(t *testing.T) {
	first := func(m *dumb, e director.Event) []director.Action {
		if !m.first() {
			return nil
		}
		return m.announced(e)
	}
	both := func(m *dumb, e director.Event) []director.Action {
		if m.ticks++; m.first() || m.ticks > 400 {
			return m.announced(e)
		}
		return nil
	}
	second := func(s *Setup) { s.Two, s.Groups = true, append(s.Groups, GroupSetup{Second: true}) }
	long := func(k Kind) Fault { return Fault{At: 100 * ms, For: 9000 * ms, Kind: k, Node: 0, Other: 1} }
	tests := []struct {
		fault  Fault
		change func(*Setup)
		step   func(*dumb, director.Event) []director.Action
		want   string
	}{
		{long(BackDown), func(s *Setup) { s.Single = false }, both, "was taken while the wire answered"},
		{long(ARP), func(s *Setup) { s.Single = false }, both, "longer than 2s"},
		{long(ARP), func(s *Setup) { s.Single, s.Strict = false, true }, both, "strict, is answered by two"},
		{long(NoBroadcast), func(s *Setup) { s.Single = false }, both, "on a wire that does not work"},
		{Fault{At: 100 * ms, For: 100 * ms, Kind: Quit}, func(*Setup) {}, func(m *dumb, e director.Event) []director.Action {
			if _, quit := e.What.(director.Quit); quit {
				return m.dropOnce()
			}
			return first(m, e)
		}, "Quit leaves it in place"},
		{Fault{At: 100 * ms, For: 9000 * ms, Kind: Unplug, Device: 1}, second, func(m *dumb, e director.Event) []director.Action {
			if c, ok := e.What.(director.Carrier); ok && c.Group == "g2" && !c.Up && m.taken {
				return m.dropOnce()
			}
			return first(m, e)
		}, "whose device is well"},
		{Fault{At: 100 * ms, For: 9000 * ms, Kind: Unplug, Device: 1}, second, first, "g2 is not served for"},
		{long(BackDown), func(s *Setup) { s.Groups[0].Failback, s.Groups[0].Rotate = true, 1 }, first, "6 failback"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			s := plain(test.fault)
			s.Setup.Groups = []GroupSetup{{}}
			test.change(&s.Setup)
			mustBreak(t, s, test.step, test.want)
		})
	}
}
