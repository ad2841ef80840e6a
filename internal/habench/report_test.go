package habench

import (
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/lab"
)

const ms = time.Millisecond

func sample(outage, after time.Duration) Sample {
	return Sample{Outage: lab.Outage{Asked: 1, Lasted: outage}, After: lab.Outage{Asked: 1, Lasted: after}}
}

func dual(kernels time.Duration, owner string) Sample {
	return Sample{Dual: lab.Dual{Kernels: kernels}, Owner: owner}
}

func TestResult(t *testing.T) {
	answered := Sample{Dual: lab.Dual{Answered: 2}}
	tests := []struct {
		name    string
		result  Result
		want    string
		verdict string // "": as it must be
	}{
		{"nothing", Result{Own: true}, "-", "nothing was measured"},
		{"odd", Result{Own: true, Must: 20 * ms, Samples: []Sample{sample(30*ms, 0), sample(10*ms, 0), sample(20*ms, 0)}}, "20 [10-30]; dual 0", ""},
		{"even", Result{Own: true, Must: 20 * ms, Samples: []Sample{sample(30*ms, 0), sample(20*ms, 0)}}, "25 [20-30]; dual 0", "outage 25"},
		{"all alike", Result{Own: true, Samples: []Sample{sample(0, 0), sample(0, 0)}}, "0; dual 0", ""},
		{"undone", Result{Own: true, Undone: "heal", Samples: []Sample{sample(0, 40*ms)}}, "0; 40 at heal; dual 0", "outage at heal"},
		{"once after it was undone", Result{Own: true, Undone: "heal", Samples: []Sample{sample(0, 40*ms), sample(0, 0), sample(0, 0)}}, "0; 0 [0-40] at heal; dual 0", ""},
		{"dual once", Result{Own: true, Samples: []Sample{dual(0, "dr1"), dual(0, "dr1"), dual(5*ms, "dr1")}}, "0; dual 0 [0-5] ms", "repetition 3 had two owners"},
		{"dual without end", Result{Own: true, Samples: []Sample{dual(5*ms, "dr1+dr2")}}, "0; dual 5 (1 without end) ms", "two owners"},
		{"dual by ARP alone", Result{Own: true, Samples: []Sample{answered}}, "0; dual <1 ms", "two owners"},
		{"others may", Result{Samples: []Sample{dual(5*ms, "dr1"), sample(time.Second, 0)}}, "500 [0-1000]; dual 3 [0-5] ms", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.result.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			err := Verdict([]Result{tt.result})
			if (err == nil) != (tt.verdict == "") || err != nil && !strings.Contains(err.Error(), tt.verdict) {
				t.Errorf("got %v, want %q", err, tt.verdict)
			}
		})
	}
}

func TestWriteTable(t *testing.T) {
	var out strings.Builder
	WriteTable(&out, []Result{
		{Contender: "keepalived", Fault: "kill", Samples: []Sample{sample(0, 0)}},
		{Contender: "monitord", Own: true, Fault: "kill", Must: 150 * ms, Samples: []Sample{sample(100*ms, 0)}},
		{Contender: "monitord", Own: true, Fault: "restart", Undone: "heal", Samples: []Sample{sample(0, 0)}},
	})
	want := `| fault | keepalived | monitord | monitord must |
|---|---|---|---|
| kill | 0; dual 0 | 100; dual 0 | <= 150; dual 0 |
| restart | - | 0; 0 at heal; dual 0 | 0; 0 at heal; dual 0 |
`
	if got, _, _ := strings.Cut(out.String(), "\nOutage"); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}
