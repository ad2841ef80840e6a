package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A color is an SGR parameter (ECMA-48).
type color string

const (
	plain  color = ""
	bold   color = "1"
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	cyan   color = "36"
)

// A screen writes the timeline. Lines may come from several goroutines.
type screen struct {
	start time.Time

	mu       sync.Mutex // protects out
	out      io.Writer
	coloured bool
}

// newScreen writes with colours only if out is a terminal and nobody asked for
// none (no-color.org).
func newScreen(out io.Writer) *screen {
	s := &screen{start: time.Now(), out: out}
	if file, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" {
		s.coloured = term.IsTerminal(int(file.Fd()))
	}
	return s
}

func (s *screen) paint(c color, text string) string {
	if !s.coloured || c == plain {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// event writes a line with the time since the start.
func (s *screen) event(c color, format string, args ...any) {
	clock := fmt.Sprintf("%8.3f s  ", time.Since(s.start).Seconds())
	s.write(s.paint(cyan, clock) + s.paint(c, fmt.Sprintf(format, args...)))
}

// more writes a line that belongs to the event above.
func (s *screen) more(format string, args ...any) {
	s.write(strings.Repeat(" ", 12) + fmt.Sprintf(format, args...))
}

// block writes a text of several lines, indented, between blank lines.
func (s *screen) block(text string) {
	var out strings.Builder
	out.WriteByte('\n')
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		out.WriteString(strings.TrimRight("    "+line, " \n") + "\n")
	}
	s.write(out.String())
}

// write adds a line end. A terminal that is gone needs no text.
func (s *screen) write(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintln(s.out, line)
}

// ms is a duration in whole milliseconds.
func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
