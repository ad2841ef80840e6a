package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/state"
)

// mayhem is a site with one watch, whose results are scripted by a file, and whose
// alerts add a line each to another.
type mayhem struct {
	t      *testing.T
	place  place
	script string // "exit status, summary": what the monitor finds
	told   string // "failure outage-7"
	outage int    // the present one, or the last
	fails  bool
	kills  int
	owing  int            // kills at which something was decided and not delivered yet
	began  map[string]int // kills so far when something was due to be told
}

func newMayhem(t *testing.T) *mayhem {
	t.Helper()
	m := &mayhem{t: t, place: newPlace(t, ""), began: map[string]int{}}
	m.script, m.told = filepath.Join(m.place.folder, "script"), filepath.Join(m.place.folder, "told")
	m.program("m.monitor", "read exit summary <"+m.script+"\necho $summary\nexit $exit\n")
	m.program("m.alert", "cat >/dev/null\nsleep 0.01\necho $MON_ALERTTYPE $MON_LAST_SUMMARY >>"+m.told+"\n")
	m.find(0, "fine")
	m.place.write(t, fmt.Sprintf(`
alertdir = %[1]q
mondir = %[1]q
[hostgroups]
web = ["w1"]
[[watch]]
group = "web"
service = "x"
interval = "100ms"
scope = "group"
monitor = { type = "exec", program = "m.monitor" }
  [[watch.period]]
  alertevery = "10h"
  alert = [{ type = "exec", program = "m.alert" }]
  upalert = [{ type = "exec", program = "m.alert" }]
`, m.place.folder))
	return m
}

func (m *mayhem) program(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.place.folder, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		m.t.Fatal(err)
	}
}

// find has the monitor find something else from now on, at one stroke.
func (m *mayhem) find(exit int, summary string) {
	m.t.Helper()
	if err := os.WriteFile(m.script+".new", fmt.Appendf(nil, "%d %s\n", exit, summary), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.script+".new", m.script); err != nil {
		m.t.Fatal(err)
	}
}

// due is what people have to be told now; empty at the very start.
func (m *mayhem) due() string {
	switch {
	case m.fails:
		return "failure outage-" + strconv.Itoa(m.outage)
	case m.outage > 0:
		return "up outage-" + strconv.Itoa(m.outage)
	}
	return ""
}

// count is how often each thing was told.
func (m *mayhem) count() map[string]int {
	m.t.Helper()
	text, err := os.ReadFile(m.told)
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	told := map[string]int{}
	for line := range strings.Lines(string(text)) {
		told[strings.TrimSpace(line)]++
	}
	return told
}

// turn ends the outage, or begins another, once people were told of what is.
func (m *mayhem) turn() {
	m.t.Helper()
	if due := m.due(); due != "" && m.count()[due] == 0 {
		return
	}
	m.fails = !m.fails
	if m.fails {
		m.outage++
		m.find(1, "outage-"+strconv.Itoa(m.outage))
	} else {
		m.find(0, "fine")
	}
	m.began[m.due()] = m.kills
}

// TestEndToEndKilledAtRandom kills the daemon at random moments: while it starts,
// tests, decides, saves, sends, and after. Whatever people have to be told they are
// told; at most once more for each kill.
func TestEndToEndKilledAtRandom(t *testing.T) {
	const kills = 200
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	m := newMayhem(t)
	moment := func(most int) { time.Sleep(time.Duration(random.IntN(most)) * time.Millisecond) }
	stuck, due := 0, ""
	for m.kills < kills {
		d := start(t, "run", "-c", m.place.config)
		if random.IntN(3) > 0 {
			d.waitFor("msg=started")
		}
		moment(60)
		m.turn()
		moment(120)
		if random.IntN(2) == 0 {
			m.turn()
			moment(20)
		}
		d.signal(syscall.SIGKILL)
		<-d.end
		m.kills++
		m.look()
		if random.IntN(4) == 0 {
			m.turn() // while nobody looks
		}
		if stuck++; m.due() != due {
			stuck, due = 0, m.due()
		}
		if stuck > 60 {
			t.Fatalf("nobody is told %q in %d lives; the last:\n%s", due, stuck, d.text())
		}
	}
	last := start(t, "run", "-c", m.place.config)
	last.waitFor("msg=started")
	m.settle(last)
	m.judge()
	m.wantHistory()
	last.signal(syscall.SIGTERM)
	last.wantEnd()
}

// look counts a kill between a decision and the note that it was delivered.
func (m *mayhem) look() {
	m.t.Helper()
	var saved struct {
		Queue []json.RawMessage `json:"queue"`
	}
	_, err := state.Peek(m.place.folder, state.Document{Name: "watches", Version: 1}, &saved)
	if err != nil && !errors.Is(err, state.ErrNone) {
		m.t.Fatalf("after kill %d: %v", m.kills, err)
	}
	if len(saved.Queue) > 0 {
		m.owing++
	}
}

// settle ends the last outage and waits until people know.
func (m *mayhem) settle(d *process) {
	m.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if m.fails {
			m.turn()
			continue
		}
		if m.count()[m.due()] > 0 {
			return
		}
	}
	m.t.Fatalf("in the end nobody is told %q:\n%s", m.due(), d.text())
}

// judge: each thing was told once, and for each kill since it was due at most once
// more, in all not more often than there were kills.
func (m *mayhem) judge() {
	m.t.Helper()
	told := m.count()
	if m.outage < 10 {
		m.t.Errorf("%d outages only: the test proves nothing", m.outage)
	}
	if m.owing < 5 {
		m.t.Errorf("of %d kills %d came between deciding and sending: the test proves nothing", m.kills, m.owing)
	}
	again := 0
	for k := 1; k <= m.outage; k++ {
		for _, word := range []string{"failure", "up"} {
			what := fmt.Sprintf("%s outage-%d", word, k)
			if n, most := told[what], 1+m.kills-m.began[what]; n < 1 || n > most {
				m.t.Errorf("%q was told %d times, want 1 to %d", what, n, most)
			}
			again += told[what] - 1
			delete(told, what)
		}
	}
	if again > m.kills {
		m.t.Errorf("%d were told again, by %d kills", again, m.kills)
	}
	if len(told) > 0 {
		m.t.Errorf("told of what was not: %v", told)
	}
	m.t.Logf("%d outages, %d kills, %d of them while something waited to be sent, %d told again", m.outage, m.kills, m.owing, again)
}

// wantHistory: each of them is in the history, as delivered.
func (m *mayhem) wantHistory() {
	m.t.Helper()
	out, errs, exit := program(m.t, "history", "--json", "-n", "0", "-s", m.place.socket)
	var h daemon.History
	if err := json.Unmarshal([]byte(out), &h); exit != 0 || err != nil {
		m.t.Fatalf("history: exit %d, %v, %s", exit, err, errs)
	}
	delivered := map[string]bool{}
	for i := range h.Alerts {
		a := &h.Alerts[i]
		if a.Fate == "delivered" {
			delivered[a.Kind+" "+string(a.Summary)] = true
		}
	}
	for k := 1; k <= m.outage; k++ {
		for _, word := range []string{"up", "failure"} {
			if what := fmt.Sprintf("%s outage-%d", word, k); !delivered[what] {
				m.t.Errorf("%q is not in the history as delivered", what)
			}
		}
	}
	if out, errs, exit := program(m.t, "history", "-s", m.place.socket, "web:x"); exit != 0 || !strings.Contains(out, fmt.Sprintf("up       outage-%d", m.outage)) {
		m.t.Errorf("history web:x: exit %d\n%s%s", exit, out, errs)
	}
}
