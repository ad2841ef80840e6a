//go:build linux

package habench

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// noise comes on top of the promises, which count from when a thread may run, and of the
// time in which the machine stood still for everybody. What else is tested and compiled
// on the same cores delays single threads: with two cores and a load of 12 a quarter of
// the delays beyond 20 ms were 50 to 100 ms.
const noise = 100 * time.Millisecond

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

// pair is what both directors of the lab's own configuration promise.
func pair() director.Config {
	return director.Config{
		Self: "dr1", Nodes: []director.Node{{Name: "dr1"}, {Name: "dr2"}}, Gateways: []string{"gateway"},
		Groups:  []director.Group{{Name: "web", Order: []string{"dr1", "dr2"}, Before: true}},
		Timings: director.DefaultTimings(),
	}
}

// TestEndToEndFailover has each fault happen once: no instant has two owners, and
// clients miss no more than the machine promises.
func TestEndToEndFailover(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("network namespaces need root")
	}
	contender := Monitord(binary(t), false)
	metronome := Watch(t.Context())
	t.Cleanup(metronome.Close)
	faults := Faults()
	// The lanes are as many as there are cores; the longest first, so that they end together.
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(b.Lasts, a.Lasts) })
	for _, f := range faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			once(t, contender, f, metronome)
		})
	}
}

func once(t *testing.T, c Contender, f Fault, m *Metronome) {
	t.Helper()
	limit, err := f.Limit(pair())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), c, f, m)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Log(b.Account(0))
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := b.Repeat(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("outage %s ms, after it was undone %s ms, two owners %s; the machine stood still for %s", s.Outage, s.After, s.dual(), s.Stalled)
	slack := noise + s.Stalled
	if err := b.Judge(s, limit+slack, step+slack); err != nil {
		t.Error(err)
	}
}
