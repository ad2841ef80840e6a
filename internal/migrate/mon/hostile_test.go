package mon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/config"
)

// TestBlankLine: what follows a blank line inside of a watch is not in force in mon
// either, and each of its lines is accounted for.
func TestBlankLine(t *testing.T) {
	text := "hostgroup web w1\n\nwatch web\n service one\n  interval 1m\n  monitor m.monitor\n\n service two\n  interval 1m\n  monitor m.monitor\n  period\n   alert a.alert\n"
	imported := mustImport(t, "mon.cf", []byte(text))
	accounted(t, imported, text)
	if len(mustLoad(t, imported).Watches) != 1 {
		t.Error("the second service is there")
	}
	if len(imported.Warnings) != 1 || imported.Warnings[0].Line != 8 || imported.Warnings[0].LastLine != 12 {
		t.Errorf("warnings %v", imported.Warnings)
	}
	for _, l := range imported.Lines {
		if l.Line >= 8 && (l.Fate != NotCarried || !strings.Contains(l.Why, `the blank line 7 ended the watch "web"`)) {
			t.Errorf("%+v", l)
		}
	}
}

// large is a mon.cf of about so many lines.
func large(lines int) string {
	var b strings.Builder
	b.WriteString("maxprocs = 20\ndep_behavior = m\n\n")
	for i := range lines / 12 {
		fmt.Fprintf(&b, `# group %[1]d
hostgroup g%[1]d 10.%[2]d.%[3]d.1 10.%[2]d.%[3]d.2

watch g%[1]d
    service http
        interval 1m
        monitor http.monitor -p 80
        %[4]s
        period wd {Mon-Fri} hr {7am-10pm}
            alert mail.alert ops@example.org
            alertevery 1h

`, i, i/250, i%250, parent(i))
	}
	return b.String()
}

// parent is the line by which a service depends on the one before it.
func parent(i int) string {
	if i == 0 {
		return "description the first"
	}
	return fmt.Sprintf("depend g%d:http", i-1)
}

// TestLarge: a mon.cf of 10,000 lines is imported and loaded.
func TestLarge(t *testing.T) {
	text := large(10_000)
	if n := strings.Count(text, "\n"); n < 9_990 {
		t.Fatalf("%d lines", n)
	}
	imported := mustImport(t, "mon.cf", []byte(text))
	accounted(t, imported, text)
	if site := mustLoad(t, imported); len(site.Watches) < 800 {
		t.Errorf("%d watches", len(site.Watches))
	}
}

// BenchmarkImport imports and loads files of 1,000 and of 10,000 lines, and reports
// how many times longer a line takes in the larger one.
func BenchmarkImport(b *testing.B) {
	small, big := []byte(large(1_000)), []byte(large(10_000))
	perLine := func(text []byte) float64 {
		began := time.Now()
		mustLoad(b, mustImport(b, "mon.cf", text))
		return float64(time.Since(began)) / float64(strings.Count(string(text), "\n"))
	}
	var one, ten float64
	for b.Loop() {
		for range 10 {
			one += perLine(small) / 10
		}
		ten += perLine(big)
	}
	b.ReportMetric(ten/one, "per-line-10k/1k")
	b.ReportMetric(ten/float64(b.N), "ns/line")
}

// TestNothingGrowsFaster: neither many records of one name, nor servers, nor settings
// in force for later services take more than their share.
func TestNothingGrowsFaster(t *testing.T) {
	const n = 3000
	repeat := func(format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "%", fmt.Sprint(i)))
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"settings":  "hostgroup g a\n\nwatch g\n service x\n\n" + repeat("dep_behavior = m\ndep_memory = 5m\n\nwatch w%\n service s\n\n"),
		"groups":    repeat("hostgroup g%\n\nhostgroup same a b\n\n") + "watch same\n service x\n",
		"servers":   "hostgroup g 10.0.0.1\n\nwatch g\n service s\n  interval 1m\n  monitor m.monitor\n  period\n" + repeat("alert lvs.alert -P tcp -V 10.1.0.1:% -R 10.0.0.1\n"),
		"views":     "watch g\n service x\n\n" + repeat("view v a\n\n"),
		"ignored":   "watch g\n service x\n\n" + repeat("lost %\n\nview v% a\n\n"),
		"variables": "watch g\n service x\n" + repeat(" A%=1\n"),
		"alerts":    "watch g\n service x\n  period\n" + repeat("  alert a%.alert\n"),
	} {
		t.Run(name, func(t *testing.T) {
			imported := mustImport(t, "mon.cf", []byte(text))
			accounted(t, imported, text)
			_, _ = imported.Load(checking()) // that it ends is what matters
		})
	}
}

// FuzzImport imports anything: nothing panics, the TOML can be read, every line is
// accounted for, and what the loader refuses is in a line of the file.
func FuzzImport(f *testing.F) {
	for _, pattern := range []string{"testdata/corpus/mon/*", "../moncf/testdata/*.cf"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte("hostgroup a #\\\n\x01\"\nwatch a\n service \x85\n"))
	f.Setenv("PATH", "") // no m4: it is not what is tested
	f.Fuzz(func(t *testing.T, text []byte) {
		Recognise("mon.cf", text)
		imported, err := Import(t.Context(), "mon.cf", text)
		if err == nil {
			accounted(t, imported, string(text))
			_ = imported.Report()
			_, err = imported.Load(checking())
		}
		if err == nil {
			return
		}
		problems, ok := errors.AsType[config.Problems](err)
		if !ok || len(problems) == 0 {
			t.Fatalf("the error is %T: %v", err, err)
		}
		lines := strings.Count(string(text), "\n") + 1
		for _, p := range problems {
			if p.File != "mon.cf" || p.Line < 1 || p.Line > lines || p.Message == "" || strings.Contains(p.Message, "\n") {
				t.Errorf("%q in a file of %d lines", p, lines)
			}
		}
		if imported != nil {
			wellFormed(t, imported)
		}
	})
}

// wellFormed: what is refused is refused for what it says, not for its syntax.
func wellFormed(t *testing.T, imported *Imported) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.toml")
	// A key that is none is the only mistake that the text then has at its end.
	whole := append([]byte("no_such_key = 1\n"), imported.TOML...)
	_, err := config.LoadText(file, whole, checking())
	if err == nil || !strings.Contains(err.Error(), "no_such_key") {
		t.Errorf("this is no TOML: %v\n%s", err, imported.TOML)
	}
}
