package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	spanned = regexp.MustCompile("`(monitord [a-z][^`]*)`")
	// quotedText is no part of what a command takes as its options.
	quotedText = regexp.MustCompile(`'[^']*'|"[^"]*"`)
	aFlag      = regexp.MustCompile(`(?:^|[\s[|])(--?[a-z][a-z-]*)`)
)

// shown returns the commands that a page shows: in code, in blocks, and indented.
func shown(page string) []string {
	var all []string
	fenced := false
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		text := strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if (fenced || strings.HasPrefix(line, "    ")) && strings.HasPrefix(text, "monitord ") {
			text, _, _ = strings.Cut(text, " #")
			all = append(all, text)
			continue
		}
		for _, m := range spanned.FindAllStringSubmatch(line, -1) {
			all = append(all, m[1])
		}
	}
	return all
}

// TestPagesShowCommandsThatAreThere: every command in the pages has its name and its
// flags from the program.
func TestPagesShowCommandsThatAreThere(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatal(pages, err)
	}
	count := 0
	for _, file := range append(pages, "../../README.md") {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range shown(string(page)) {
			count++
			if wrong := unknownIn(command); wrong != "" {
				t.Errorf("%s shows %q: there is no %s", filepath.Base(file), command, wrong)
			}
		}
	}
	if count < 50 {
		t.Errorf("the pages show %d commands only", count)
	}
	for _, command := range []string{"monitord standby", "monitord check --conf x", "monitord silence take"} {
		if unknownIn(command) == "" {
			t.Errorf("%q would not be noticed", command)
		}
	}
}

// unknownIn returns the word of a command that the program does not know.
func unknownIn(command string) string {
	plain := quotedText.ReplaceAllString(command, "TEXT")
	c, rest, err := newRoot().Find(strings.Fields(plain)[1:])
	switch {
	case err != nil || !c.HasParent():
		return strings.Fields(plain)[1]
	case c.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-"):
		return c.CommandPath() + " " + rest[0]
	}
	for _, m := range aFlag.FindAllStringSubmatch(plain, -1) {
		name := strings.TrimLeft(m[1], "-")
		if strings.HasPrefix(m[1], "--") && c.Flag(name) == nil || !strings.HasPrefix(m[1], "--") && c.Flags().ShorthandLookup(name) == nil {
			return m[1]
		}
	}
	return ""
}
