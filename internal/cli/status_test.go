package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/engine"
)

func TestStatusShowsWhatHostsTook(t *testing.T) {
	now := time.Now()
	hosts := []engine.HostStatus{
		{Name: "web1", State: "up", Since: &now, Took: 0.0123, Timings: &engine.Timings{Connect: 0.0002, FirstByte: 0.012}},
		{Name: "web2", State: "down", Since: &now, Reason: "no answer within 1s", Timings: &engine.Timings{Resolve: 0.001}},
		{Name: "gw", State: "up", Since: &now, Took: 0.0004},
		{Name: "web4", State: "unknown", Disabled: true},
	}
	var out strings.Builder
	printHosts(&out, hosts)
	want := []string{
		"HOST STATE SINCE TOOK REASON",
		"web1 up 0s 12.3ms: connect 200µs, first byte 12ms",
		"web2 down 0s resolve 1ms no answer within 1s",
		"gw up 0s 400µs",
		"web4 unknown (disabled) - -",
	}
	for i, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if got := strings.Join(strings.Fields(line), " "); i >= len(want) || got != want[i] {
			t.Errorf("line %d is %q, want %q", i+1, got, want[min(i, len(want)-1)])
		}
	}
}
