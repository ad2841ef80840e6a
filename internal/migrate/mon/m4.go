package mon

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/runcmd"
)

const (
	// m4Patience bounds the expansion of a file.
	m4Patience = 10 * time.Second
	// m4Most bounds what it may become.
	m4Most = 16 << 20
)

// macroLine is a line that only m4 understands.
var macroLine = regexp.MustCompile(`^(?:dnl\b|(?:m4_)?(?:define|undefine|changequote|divert|sinclude|include|ifdef|ifelse)\s*\()`)

// commandMacro runs programs while m4 expands.
var commandMacro = regexp.MustCompile(`\be?syscmd\s*\(`)

// macros returns the first line for m4, 0 if there is none. mon expands a file by
// its name alone, ".m4"; people also name theirs mon.cf and run mon with -M.
func macros(name string, lines []string) int {
	for i, line := range lines {
		if macroLine.MatchString(strings.TrimSpace(line)) {
			return i + 1
		}
	}
	if filepath.Ext(name) == ".m4" {
		return 1
	}
	return 0
}

// expand runs the text through m4, as mon does; at is the first line that needs it.
// m4 tells the lines that its output came from.
func (s *source) expand(ctx context.Context, at int) error {
	for i, line := range s.written {
		if commandMacro.MatchString(line) {
			return s.problem(i+1, "syscmd and esyscmd of m4 run commands whenever the file is read: expand the file with m4 yourself, and import the result")
		}
	}
	path := m4Path()
	if path == "" {
		return s.problem(at, "this is a file for m4, and there is no m4 on the PATH: install it, or run \"m4 %s > mon.cf\" elsewhere and use the result", filepath.Base(s.name))
	}
	limited, cancel := context.WithTimeout(ctx, m4Patience)
	defer cancel()
	ended, err := runcmd.Run(limited, runcmd.Command{
		Path: path, Args: []string{"m4", "-s", "-U", "syscmd", "-U", "esyscmd", "-I", filepath.Dir(s.name), "-"},
		Env: os.Environ(), Stdin: s.text, SeparateStderr: true, MaxOutput: m4Most,
	})
	switch {
	case err != nil:
		return s.problem(at, "m4: %v", err)
	case ended.TimedOut:
		return s.problem(at, "m4 did not end within %s", m4Patience)
	case ended.Dropped > 0:
		return s.problem(at, "m4 makes more than %d MiB of this", m4Most>>20)
	case ended.Exit != 0 || ended.Signal != 0 || len(bytes.TrimSpace(ended.Stderr)) > 0:
		return s.m4Failed(at, ended)
	}
	s.place(ended.Output)
	if i := bytes.IndexByte(s.text, 0); i >= 0 {
		return s.problem(s.line(1+bytes.Count(s.text[:i], []byte("\n"))), "there is a NUL byte in what m4 makes of this")
	}
	return nil
}

func m4Path() string {
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(folder, "m4")
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// m4Message is how m4 begins its errors: "m4:stdin:3: ERROR: ...".
var m4Message = regexp.MustCompile(`^m4:(?:stdin:([0-9]+): ?)?(.*)`)

func (s *source) m4Failed(at int, ended runcmd.Result) error {
	first, _, _ := strings.Cut(strings.TrimSpace(string(ended.Stderr)), "\n")
	if first == "" {
		return s.problem(at, "m4: %s", ended)
	}
	if m := m4Message.FindStringSubmatch(first); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			at = line
		}
		first = m[2]
	}
	return s.problem(at, "m4: %s", oneLine(first))
}

// syncLine is how m4 -s says where the next line came from.
var syncLine = regexp.MustCompile(`^#line ([0-9]+)(?: "(.*)")?$`)

// place takes what m4 made, and the lines that it came from. A line of a file that is
// included belongs to the include, whose line is the last one known.
func (s *source) place(output []byte) {
	var text bytes.Buffer
	line, own := 1, true
	s.lines = []int{}
	for raw := range bytes.Lines(output) {
		if m := syncLine.FindSubmatch(bytes.TrimRight(raw, "\n")); m != nil {
			if len(m[2]) > 0 {
				own = string(m[2]) == "stdin"
			}
			if n, err := strconv.Atoi(string(m[1])); err == nil && own {
				line = n
			}
			continue
		}
		plain, _ := utf8Line(raw)
		text.WriteString(plain)
		s.lines = append(s.lines, min(line, max(len(s.written), 1)))
		if own {
			line++
		}
	}
	s.text = text.Bytes()
}

// unexpanded accounts for a line of which m4 made nothing.
func unexpanded(text string) (Fate, string) {
	if strings.HasPrefix(text, "dnl") {
		return NotCarried, "a comment of m4, which leaves it out"
	}
	return Changed, "m4 has put it where it is used"
}
