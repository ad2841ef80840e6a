package simulate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A trace is what is used here of a recording of mon, as package engine has them.
type trace struct {
	ConfigText string `json:"config_text"`
	Trace      struct {
		Events []struct {
			Kind, Service, Exit, Result string
			T                           int
		}
	}
}

// site writes the trace's mon.cf, and the programs that it names.
func (tr *trace) site(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for word := range strings.FieldsSeq(tr.ConfigText) {
		program := strings.HasSuffix(word, ".alert") || strings.HasSuffix(word, ".monitor")
		if !program || strings.HasPrefix(word, "nosuch") || strings.ContainsAny(word, "/=\"") {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, word), []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("@ALERTDIR@", folder, "@MONDIR@", folder, "@DIR@", folder, "@PORT@", "2583", "@TRAPPORT@", "2584").Replace(tr.ConfigText)
	file := filepath.Join(folder, "mon.cf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// script is the trace's results, each from the moment on at which mon had it. Our
// checks come at other moments than mon's did: what is compared is the rehearsal and
// the engine, not either and mon, which is done in package engine.
func (tr *trace) script() (text string, results int) {
	var out strings.Builder
	out.WriteString("start 2000-01-01 00:00\n")
	before := 0
	for _, e := range tr.Trace.Events {
		if e.Kind != "run" || e.T < before {
			continue
		}
		_, output, _ := strings.Cut(e.Result, "|")
		beside := ""
		if results == 0 { // not at the moment of anything that the daemon does
			beside = ".005"
		}
		fmt.Fprintf(&out, "+%d%ss %s exit %s %s\n", e.T-before, beside, strings.Replace(e.Service, "/", ":", 1), e.Exit, strconv.Quote(strings.ReplaceAll(output, `\n`, "\n")))
		before, results = e.T, results+1
	}
	out.WriteString("end +5m\n")
	return out.String(), results
}

func TestGoldenResults(t *testing.T) {
	files, err := filepath.Glob("../engine/testdata/golden/[^_]*.json")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d traces: %v", len(files), err)
	}
	played, alerts := 0, 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var tr trace
			if err := json.Unmarshal(content, &tr); err != nil {
				t.Fatal(err)
			}
			text, results := tr.script()
			if results == 0 || strings.Contains(tr.ConfigText, "randskew") {
				return // nothing to play, or luck that differs
			}
			site := tr.site(t)
			var sent []string
			var now time.Time
			synctest.Test(t, func(t *testing.T) {
				now = time.Now()
				sent, _ = really(t, site, text)
			})
			rehearsal, _, _ := rehearsed(t, site, text, now)
			if diff := cmp.Diff(sent, rehearsal); diff != "" {
				t.Errorf("alerts differ (-engine +rehearsal):\n%s\n%s", diff, text)
			}
			played, alerts = played+1, alerts+len(sent)
		})
	}
	if played < 85 || alerts < 500 {
		t.Errorf("%d traces were played, with %d alerts", played, alerts)
	}
	t.Logf("%d traces played, %d alerts compared", played, alerts)
}
