package soak

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/lab"
)

// allowance is what a machine that compiles and tests other things at the same time
// adds to what the daemons promise.
const allowance = 150 * time.Millisecond

// binary is the daemon, built from this checkout.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "monitord")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/monitord/monitord/cmd/monitord")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build monitord: %v\n%s", err, out)
	}
	return path
}

// TestEndToEndSoak soaks for a short time, always with the same faults: a daemon killed,
// three at once, a peer that is deaf, one that is frozen, a switchover.
func TestEndToEndSoak(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("network namespaces need root")
	}
	var out strings.Builder
	s, err := Run(t.Context(), Options{Binary: binary(t), Seed: 1428, Lasts: 15 * time.Second, Allowance: allowance, Out: &out})
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := s.Write(&text); err != nil {
		t.Error(err)
	}
	t.Log(text.String())
	if s.Single == 0 || s.Compound == 0 {
		t.Errorf("%d single faults, %d times several; want some of both", s.Single, s.Compound)
	}
	if s.Dual != 0 {
		t.Errorf("two owners for %s", s.Dual)
	}
	if !strings.HasPrefix(s.Script, "wait ") || strings.Count(s.Script, "\n") < 4 {
		t.Errorf("the script:\n%s", s.Script)
	}
}

// TestJudge: everything that is promised is missed when it is not so.
func TestJudge(t *testing.T) {
	r := &run{o: Options{Allowance: 100 * time.Millisecond}}
	if err := r.promise(); err != nil {
		t.Fatal(err)
	}
	pulled := place(t, "pull, plug", "dr1")
	several := episode{faults: []fault{pulled, place(t, "gateway down, up", "")}}
	for name, test := range map[string]struct {
		dual  lab.Dual
		e     episode
		wrong bool
	}{
		"none":                             {lab.Dual{}, episode{faults: []fault{pulled}}, false},
		"an instant":                       {lab.Dual{Kernels: 1}, episode{faults: []fault{pulled}}, true},
		"a neighbour saw it":               {lab.Dual{Answered: 1}, episode{faults: []fault{pulled}}, true},
		"a second, several faults":         {lab.Dual{Kernels: time.Second}, several, false},
		"longer than a lease, several too": {lab.Dual{Sampled: 1500 * time.Millisecond}, several, true},
	} {
		if err := r.judgeDual(test.e, test.dual); (err != nil) != test.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, test := range []struct {
		kind, node string
		limit      time.Duration
		bounded    bool
	}{
		{"pull, plug", "dr1", r.bounds[director.HostDead], true},
		{"pull, plug", "dr2", 0, true},
		{"switchover", "", r.bounds[director.Planned], true},
		{"partition, heal", "", 0, true},
		{"foreign on, off", "", 0, false},
	} {
		limit, bounded := r.limit(place(t, test.kind, test.node), "dr1")
		if limit != test.limit || bounded != test.bounded {
			t.Errorf("%s of %q: %s, %t; want %s, %t", test.kind, test.node, limit, bounded, test.limit, test.bounded)
		}
	}
	for held, wrong := range map[string]bool{"dr1": true, "dr2": false, "": true, "dr1+dr2": true} {
		if err := r.entitled(pulled, seen{owner: "dr1", held: held}); (err != nil) != wrong {
			t.Errorf("dr1 was pulled, %q has the address: %v", held, err)
		}
		if err := r.entitled(pulled, seen{owner: "dr2", held: held}); (err == nil) != (held == "dr2") {
			t.Errorf("dr1 was pulled, dr2 was the owner, %q has the address: %v", held, err)
		}
	}
}

func place(t *testing.T, name, node string) fault {
	t.Helper()
	for _, k := range kinds() {
		if k.name == name {
			return fault{kind: k, node: node}
		}
	}
	t.Fatalf("no kind %q", name)
	return fault{}
}

// TestEndToEndSoakTells: when something is not as promised it ends, and keeps what shows
// why: here not even no outage is good enough.
func TestEndToEndSoakTells(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("network namespaces need root")
	}
	var out strings.Builder
	folder := t.TempDir()
	s, err := Run(t.Context(), Options{Binary: binary(t), Seed: 1, Lasts: time.Minute, Allowance: -time.Minute, Out: &out, Folder: folder})
	if err == nil || s == nil || s.Single+s.Compound != 1 {
		t.Fatalf("%v, %+v", err, s)
	}
	for _, name := range []string{"script", "timeline", "dr1.log", "dr2.log"} {
		text, err := os.ReadFile(filepath.Join(folder, "1", name))
		if err != nil || len(text) == 0 {
			t.Errorf("%s: %v, %d bytes", name, err, len(text))
		}
	}
	for _, part := range []string{"seed 1", s.Script, "log of dr1", "log of dr2"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is not in what was told:\n%s", part, &out)
		}
	}
}

func TestStalls(t *testing.T) {
	s := stalls{all: []stall{{10, 20}, {30, 50}, {60, 65}}}
	for _, test := range []struct{ from, to, longest, sum time.Duration }{
		{0, 100, 20, 35}, {0, 30, 10, 10}, {15, 25, 10, 5}, {20, 30, 0, 0}, {55, 100, 5, 5}, {70, 80, 0, 0}, {15, 40, 20, 15},
	} {
		if got := s.longest(test.from, test.to); got != test.longest {
			t.Errorf("the longest from %d to %d: %d, want %d", test.from, test.to, got, test.longest)
		}
		if got := s.sum(test.from, test.to); got != test.sum {
			t.Errorf("all from %d to %d: %d, want %d", test.from, test.to, got, test.sum)
		}
	}
}

func TestMoved(t *testing.T) {
	events := []lab.Event{{At: 1, What: "address: dr1"}, {At: 5, Node: "dr1", What: "kill9"}, {At: 6, What: "address: none"}, {At: 9, What: "address: dr2"}}
	for _, test := range []struct {
		from, to time.Duration
		want     int
	}{
		{0, 10, 3}, {1, 10, 2}, {1, 6, 1}, {1, 5, 0}, {9, 20, 0},
	} {
		if got := moved(events, test.from, test.to); len(got) != test.want {
			t.Errorf("from %d to %d: %q, want %d", test.from, test.to, got, test.want)
		}
	}
}

// TestView: what a daemon says is only well if all of it is.
func TestView(t *testing.T) {
	for text, well := range map[string]bool{
		`{"connected":true,"nodes":[{"name":"dr1","self":true,"state":"?"},{"name":"dr2","state":"alive"}],"groups":[{"nodes":[{"node":"dr1","role":"active"},{"node":"dr2","role":"standby"}]}]}`: true,
		`{"connected":false,"nodes":[{"name":"dr2","state":"alive"}],"groups":[{"nodes":[{"node":"dr1","role":"active"},{"node":"dr2","role":"standby"}]}]}`:                                       false,
		`{"connected":true,"nodes":[{"name":"dr2","state":"dead"}],"groups":[{"nodes":[{"node":"dr1","role":"active"},{"node":"dr2","role":"standby"}]}]}`:                                         false,
		`{"connected":true,"nodes":[{"name":"dr2","state":"alive"}],"groups":[{"nodes":[{"node":"dr1","role":"active"},{"node":"dr2","role":"fault"}]}]}`:                                          false,
		`{"connected":true,"nodes":[{"name":"dr2","state":"alive"}],"groups":[{"nodes":[{"node":"dr1","role":"standby"},{"node":"dr2","role":"standby"}]}]}`:                                       false,
		`{"connected":true,"nodes":[{"name":"dr2","state":"alive"}],"groups":[{"nodes":[{"node":"dr2","role":"standby"}]}]}`:                                                                       false,
	} {
		var v view
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if err := v.amiss("dr1"); (err == nil) != well {
			t.Errorf("%s: %v", text, err)
		}
	}
}
