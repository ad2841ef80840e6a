package lvs

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/monitord/monitord/alerts"
)

const (
	unknown = alerts.HostUnknown
	up      = alerts.HostUp
	down    = alerts.HostDown
)

func realServer(host, target string) Real {
	r := Real{Host: host, Weight: 1}
	if a, err := netip.ParseAddrPort(target); err == nil {
		r.Address, r.Port = a, a.Port()
	} else {
		r.Name, r.Port, _ = splitHost(target)
	}
	return r
}

func TestJudge(t *testing.T) {
	a := realServer("a", "10.0.0.1:80")
	for _, tt := range []struct {
		name    string
		start   Start
		sources map[string]words
		want    judgement
	}{
		{"nobody said anything", StartDown, nil, judgement{false, false, "no verdict yet"}},
		{"nobody said anything", StartUp, nil, judgement{true, false, `no verdict yet, start = "up"`}},
		{"unknown", StartDown, map[string]words{"w:x": {"a": unknown}}, judgement{false, false, "no verdict yet"}},
		{"unknown", StartUp, map[string]words{"w:x": {"a": unknown}}, judgement{true, false, `no verdict yet, start = "up"`}},
		{"about another", StartDown, map[string]words{"w:x": {"b": up}}, judgement{false, false, "no verdict yet"}},
		{"up", StartDown, map[string]words{"w:x": {"a": up}}, judgement{true, true, "up, says w:x"}},
		{"down", StartUp, map[string]words{"w:x": {"a": down}}, judgement{false, true, "down, says w:x"}},
		{"up and unknown", StartDown, map[string]words{"w:x": {"a": up}, "w:y": {"a": unknown}}, judgement{true, true, "up, says w:x"}},
		{"both up", StartDown, map[string]words{"w:y": {"a": up}, "w:x": {"a": up}}, judgement{true, true, "up, says w:x, w:y"}},
		{"one down", StartDown, map[string]words{"w:x": {"a": up}, "w:y": {"a": down}}, judgement{false, true, "down, says w:y"}},
	} {
		if got := judge(a, tt.start, false, tt.sources); got != tt.want {
			t.Errorf("%s, start %s: %+v, want %+v", tt.name, tt.start, got, tt.want)
		}
	}
}

// TestJudgeOfAServerThatIsThere: until it is known to be down it stays.
func TestJudgeOfAServerThatIsThere(t *testing.T) {
	a := realServer("a", "10.0.0.1:80")
	for _, tt := range []struct {
		sources map[string]words
		want    judgement
	}{
		{nil, judgement{true, false, "no verdict yet, but in the table already"}},
		{map[string]words{"w:x": {"a": unknown}}, judgement{true, false, "no verdict yet, but in the table already"}},
		{map[string]words{"w:x": {"a": down}}, judgement{false, true, "down, says w:x"}},
	} {
		if got := judge(a, StartDown, true, tt.sources); got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.sources, got, tt.want)
		}
	}
}

// TestHostsMeanServers: the forms in which a host group may write a server.
func TestHostsMeanServers(t *testing.T) {
	for _, tt := range []struct {
		host, target string
		reported     string
		want         bool
	}{
		{"10.0.0.1", "10.0.0.1:80", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.1:80", "10.0.0.1:80", true},
		{"10.0.0.1", "10.0.0.1:80", "10.0.0.1:81", false},
		{"10.0.0.1", "10.0.0.1:80", "10.0.0.2", false},
		{"10.0.0.1:81", "10.0.0.1:81", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.1:80", "::ffff:10.0.0.1", true},
		{"2001:db8::1", "[2001:db8::1]:80", "[2001:DB8:0::1]", true},
		{"2001:db8::1", "[2001:db8::1]:80", "[2001:db8::1]:80", true},
		{"2001:db8::1", "[2001:db8::1]:80", "2001:db8::2", false},
		{"web1", "web1:80", "WEB1", true},
		{"web1", "web1:80", "web1:80", true},
		{"web1", "web1:80", "web1:8080", false},
		{"web1", "web1:80", "web10", false},
	} {
		w := words{}
		w.hear(map[string]alerts.HostState{tt.reported: up})
		if _, got := w.about(realServer(tt.host, tt.target)); got != tt.want {
			t.Errorf("%q means real server %q at %s: %t, want %t", tt.reported, tt.host, tt.target, got, tt.want)
		}
	}
}

func TestExactHostBeatsBareOne(t *testing.T) {
	w := words{}
	w.hear(map[string]alerts.HostState{"127.0.0.1": up, "127.0.0.1:82": down})
	for target, want := range map[string]alerts.HostState{"127.0.0.1:81": up, "127.0.0.1:82": down} {
		if got, _ := w.about(realServer(target, target)); got != want {
			t.Errorf("%s is %s, want %s", target, got, want)
		}
	}
}

func TestHearKeepsTheLastWord(t *testing.T) {
	w := words{}
	for _, step := range []struct{ say, want alerts.HostState }{
		{unknown, unknown}, {up, up}, {unknown, up}, {down, down}, {unknown, down}, {up, up},
	} {
		w.hear(map[string]alerts.HostState{"a": step.say})
		if w["a"] != step.want {
			t.Fatalf("after %s: %s, want %s", step.say, w["a"], step.want)
		}
	}
}

func TestHold(t *testing.T) {
	up := func(lastUp uint64) candidate { return candidate{weight: 1, up: true, in: true, lastUp: lastUp} }
	failed := func(lastUp uint64) candidate { return candidate{weight: 1, in: true, lastUp: lastUp} }
	out := func(lastUp uint64) candidate { return candidate{weight: 1, lastUp: lastUp} }
	weightless := func(c candidate) candidate { c.weight = 0; return c }
	for _, tt := range []struct {
		name    string
		minUp   int
		servers []candidate
		want    []int
	}{
		{"enough are up", 1, []candidate{up(9), failed(5)}, nil},
		{"the last one", 1, []candidate{failed(4), failed(5)}, []int{1}},
		{"the first of two alike", 1, []candidate{failed(5), failed(5)}, []int{0}},
		{"two, one of them up", 2, []candidate{failed(4), up(9), failed(5)}, []int{2}},
		{"never up is not kept in", 2, []candidate{failed(0), failed(5)}, []int{1}},
		{"out is not put in", 1, []candidate{out(8), weightless(up(9))}, nil},
		{"weight 0 is of no use", 1, []candidate{weightless(up(9)), failed(5), weightless(failed(8))}, []int{1}},
		{"min_up 0", 0, []candidate{failed(5)}, nil},
		{"more than there are", 5, []candidate{failed(5), up(9)}, []int{0}},
	} {
		if got := hold(tt.minUp, tt.servers); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestForget(t *testing.T) {
	a, b := realServer("a", "10.0.0.1:80"), realServer("b", "10.0.0.2:80")
	reals := []Real{a, b}
	for _, tt := range []struct {
		name      string
		sources   map[string]words
		followers []string
		want      map[string]words
	}{
		{"no follower: the last words stand", map[string]words{"old": {"a": down}}, nil, map[string]words{"old": {"a": down}}},
		{"the follower has not been heard", map[string]words{"old": {"a": down}}, []string{"new"}, map[string]words{"old": {"a": down}}},
		{
			"the follower does not know yet",
			map[string]words{"old": {"a": down, "b": up}, "new": {"a": unknown, "b": up}},
			[]string{"new"},
			map[string]words{"old": {"a": down}, "new": {"a": unknown, "b": up}},
		},
		{"the follower knows", map[string]words{"old": {"a": down}, "new": {"a": up}}, []string{"new"}, map[string]words{"new": {"a": up}}},
		{"the follower has no such host", map[string]words{"old": {"a": down}, "new": {"b": up}}, []string{"new"}, map[string]words{"new": {"b": up}}},
		{
			"one of two has not been heard",
			map[string]words{"old": {"a": down}, "x": {"a": up}},
			[]string{"x", "y"},
			map[string]words{"old": {"a": down}, "x": {"a": up}},
		},
		{
			"followers keep their words about other hosts",
			map[string]words{"x": {"a": up, "later": down}},
			[]string{"x"},
			map[string]words{"x": {"a": up, "later": down}},
		},
	} {
		forget(reals, tt.sources, tt.followers)
		if !maps.EqualFunc(tt.sources, tt.want, func(x, y words) bool { return maps.Equal(x, y) }) {
			t.Errorf("%s: %v, want %v", tt.name, tt.sources, tt.want)
		}
	}
}

// TestHoldAgainstOracle: whatever the numbers, min_up is met exactly as far as
// servers that are in and were up allow, and nobody is held in vain.
func TestHoldAgainstOracle(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		minUp := rapid.IntRange(0, 5).Draw(r, "min_up")
		servers := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) candidate {
			c := candidate{weight: rapid.IntRange(0, 2).Draw(r, "weight"), up: rapid.Bool().Draw(r, "up"), in: rapid.Bool().Draw(r, "in"), lastUp: rapid.Uint64Range(0, 4).Draw(r, "last up")}
			if c.up {
				c.lastUp = 9
			}
			return c
		}), 0, 7).Draw(r, "servers")
		held := hold(minUp, servers)
		ups, able := 0, 0
		for i, s := range servers {
			switch {
			case s.weight > 0 && s.up:
				ups++
			case s.weight > 0 && s.lastUp > 0 && s.in:
				able++
			case slices.Contains(held, i):
				r.Fatalf("server %d is held: %+v", i, s)
			}
		}
		if want := max(0, min(minUp-ups, able)); len(held) != want {
			r.Fatalf("held %v, want %d of them", held, want)
		}
		for _, h := range held {
			for i, s := range servers {
				if !s.up && s.in && s.weight > 0 && s.lastUp > servers[h].lastUp && !slices.Contains(held, i) {
					r.Fatalf("%d is held, and %d was up after it", h, i)
				}
			}
		}
	})
}
