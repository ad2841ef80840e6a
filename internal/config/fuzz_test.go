package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzLoad reads anything: nothing may panic, and every problem and warning must
// point into a file that was read.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/invalid/*.toml", "testdata/valid/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(text) < 10<<10 {
				f.Add(text)
			}
		}
	}
	file := filepath.Join(f.TempDir(), "site.toml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		site, err := Load(file, testHost())
		if err == nil {
			if len(site.Watches) == 0 {
				t.Error("a site without watches is accepted")
			}
			within(t, site.Warnings)
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 || site != nil {
			t.Fatalf("got the site %v and the error %v (%T)", site, err, err)
		}
		within(t, problems)
	})
}

func within(t *testing.T, problems Problems) {
	t.Helper()
	for _, p := range problems {
		text, err := os.ReadFile(p.File)
		if err != nil {
			t.Errorf("%s is in a file that cannot be read", p)
			continue
		}
		lines := strings.Split(strings.TrimPrefix(string(text), "\xef\xbb\xbf"), "\n")
		switch {
		case p.Line < 1 || p.Line > len(lines):
			t.Errorf("%s: the file has %d lines", p, len(lines))
		case p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1:
			t.Errorf("%s: the line is %q", p, lines[p.Line-1])
		}
		if p.Message == "" || strings.Contains(p.Message, "\n") {
			t.Errorf("%s:%d: the message is %q", p.File, p.Line, p.Message)
		}
	}
}
