//go:build linux

package lab

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for line, good := range map[string]bool{
		"": true, "# a remark": true, "kill9 dr1 # hard": true, "freeze dr1": true, "freeze dr1 10s": true, "heal": true,
		"partition dr1 dr2": true, "switchover": true, "switchover dr2": true, "reload dr1": true, "reload": false, "gateway down": true,
		"expect owner dr1": true, "expect owner dr1 3s": true, "expect outage 240ms": true,
		"kill9": false, "kill9 dr1 dr2": false, "burn dr1": false, "heal dr1": false, "partition dr1": false, "expect owner": false,
	} {
		if _, err := parse(line); (err == nil) != good {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestScript: a line that makes no sense is found before anything is done, and what is
// not as expected is told at the end, with its line.
func TestScript(t *testing.T) {
	l := open(t, Settings{})
	if err := l.Play(t.Context(), strings.NewReader("foreign on\nburn dr1\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a command that is none: %v", err)
	}
	if rows := l.Rows(); len(rows) != 0 {
		t.Errorf("done before that was found: %v", rows)
	}
	err := l.Play(t.Context(), strings.NewReader("gateway down\nexpect owner dr2 10ms\nexpect owner none\nwait 1s\nexpect dual 0s\nexpect outage 100ms\ngateway up\n"))
	if !errors.Is(err, errUnmet) || !strings.Contains(err.Error(), "line 2: ") || !strings.Contains(err.Error(), "line 6: ") || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("of seven lines the second and the sixth are not met: %v", err)
	}
	if !strings.Contains(err.Error(), "the address's owner is none, want dr2: after 10ms") {
		t.Errorf("the second does not say how long it waited: %v", err)
	}
	rows := l.Rows()
	if len(rows) != 2 || rows[0].Fault != "gateway down" || !rows[0].Client.Ongoing || rows[0].Owner != "" {
		t.Fatalf("rows: %+v", rows)
	}
	var text strings.Builder
	must(t, WriteTable(&text, rows))
	if !strings.Contains(text.String(), "gateway down") || !strings.Contains(text.String(), "+") {
		t.Errorf("the table:\n%s", &text)
	}
}

func TestOutageFromProbes(t *testing.T) {
	const step = udpPace
	for _, test := range []struct {
		name    string
		answers string // of each question: "." after 1 ms, "l" after 60 ms, "x" not
		lasted  int    // in steps, rounded down
		lost    int
		ongoing bool
	}{
		{"none", "......", 0, 0, false},
		{"one", "..x...", 1, 1, false},
		{"the longest of two", ".x.xxx.", 3, 4, false},
		{"late is lost", ".l....", 1, 1, false},
		{"still", "...xxxxxxxxxx", 10, 10, true},
		{"over, then again", ".xxxxxxx.xxxxxxx", 7, 14, false},
	} {
		r := record{patience: late}
		for i, c := range test.answers {
			sent := step * time.Duration(101+i)
			n := r.asked(sent)
			switch c {
			case '.':
				r.answered(uint64(n), sent+step/10, "dr1")
			case 'l':
				r.answered(uint64(n), sent+6*step, "dr1")
			}
		}
		end := step * time.Duration(101+len(test.answers))
		o := r.outage(0, end, end+late)
		if int(o.Lasted/step) != test.lasted || o.Lost != test.lost || o.Ongoing != test.ongoing {
			t.Errorf("%s: %d steps, %d lost, ongoing %t; want %d, %d, %t", test.name, o.Lasted/step, o.Lost, o.Ongoing, test.lasted, test.lost, test.ongoing)
		}
	}
}

// TestAnOutageIsNotTheProber's: what it did not ask for is known.
func TestAnOutageIsNotTheProbers(t *testing.T) {
	const step = udpPace
	r := record{patience: late, pace: udpPace}
	for i, at := range []int{100, 101, 102, 115, 116, 130} { // 102 and 115 are lost
		sent := step * time.Duration(at)
		if n := r.asked(sent); i != 2 && i != 3 {
			r.answered(uint64(n), sent, "dr1")
		}
	}
	o := r.outage(0, step*200, step*200)
	if o.Lasted != 14*step || o.Unasked != 12*step || o.Lost != 2 {
		t.Errorf("%s, of which %s were not asked for, %d lost", o.Lasted, o.Unasked, o.Lost)
	}
}

// TestEachCommandIsExplained in a line that fits a terminal.
func TestEachCommandIsExplained(t *testing.T) {
	for _, c := range commands() {
		if c.about == "" {
			t.Errorf("%s is not explained", c.name)
		}
	}
	for line := range strings.Lines(Commands()) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}
