package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/monitord/monitord/alerts/exec"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/migrate/mon"
	"github.com/monitord/monitord/internal/migrate/moncf"
	"github.com/monitord/monitord/internal/watch"

	_ "github.com/monitord/monitord/monitors/exec"
)

// An importedSite is a mon.cf as the daemon runs it: made into TOML and loaded.
type importedSite struct {
	*config.Site
	folder string
}

// TestGoldenImported plays the traces to what the importer makes of their
// configurations: importing then running is running directly, and is what mon did.
func TestGoldenImported(t *testing.T) {
	folder, fewest := goldenFolder, fewestTraces
	if other := os.Getenv("MONITORD_GOLDEN"); other != "" {
		folder, fewest = other, 1
	}
	files, err := filepath.Glob(filepath.Join(folder, "[^_]*.json"))
	if err != nil || len(files) < fewest {
		t.Fatalf("%d traces in %s: %v", len(files), folder, err)
	}
	played := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			if replayImported(t, readTrace(t, file)) {
				played++
			}
		})
	}
	// The rest are configurations that mon refuses.
	if played < fewest*9/10 {
		t.Errorf("%d of %d traces were played", played, len(files))
	}
}

// replayImported reports whether mon took the configuration.
func replayImported(t *testing.T, tr *trace) bool {
	folder := t.TempDir()
	at := strings.NewReplacer("@ALERTDIR@", folder+"/alert.d", "@MONDIR@", folder+"/mon.d", "@DIR@", folder, "@PORT@", "2583", "@TRAPPORT@", "2584")
	text := at.Replace(tr.ConfigText)
	p := &replayer{T: t, trace: tr, now: t0, called: []string{}}
	var err error
	if p.file, err = moncf.Parse("mon.cf", strings.NewReader(text)); err != nil {
		return false
	}
	programs(t, folder, tr)
	path := filepath.Join(folder, "mon.cf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	site, err := mon.Load(t.Context(), path, config.Host{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	p.imported = &importedSite{site, folder}
	p.play()
	return true
}

// programs makes every program that the configuration names, but for those that are
// missing on purpose.
func programs(t *testing.T, folder string, tr *trace) {
	t.Helper()
	for _, dir := range []string{"alert.d", "mon.d"} {
		if err := os.Mkdir(filepath.Join(folder, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		for word := range strings.FieldsSeq(tr.ConfigText) {
			program := strings.HasSuffix(word, ".alert") || strings.HasSuffix(word, ".monitor")
			if !program || strings.HasPrefix(word, "nosuch") || strings.ContainsAny(word, "/=\"") {
				continue
			}
			if err := os.WriteFile(filepath.Join(folder, dir, word), []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
		}
	}
}

func (s *importedSite) machines() []watch.Config {
	all := make([]watch.Config, len(s.Watches))
	for i := range s.Watches {
		all[i] = s.Watches[i].Config
	}
	return all
}

// called writes down an alert as the trace does, from the call that the alert of the
// site makes for it.
func (s *importedSite) called(p *replayer, seq int, n *watch.Notice) string {
	i := slices.IndexFunc(s.Watches, func(w config.Watch) bool { return w.Key == n.Key })
	alert, ok := s.Watches[i].Actions[n.Action.ID].(*exec.Alert)
	if !ok {
		p.Fatalf("action %q of %s calls no program", n.Action.ID, n.Key)
	}
	call := alert.Invocation(event(&s.Watches[i], n))
	there := func(text string) string {
		return strings.NewReplacer(s.folder+"/alert.d", "@ALERTDIR@", s.folder, "@DIR@").Replace(text)
	}
	script := filepath.Base(call.Args[0])
	return text(p.trigger(seq), kindWord(n), script, relativeAll(mapTo(call.Args, there)), environment(mapTo(call.Env, there)), string(call.Stdin))
}
