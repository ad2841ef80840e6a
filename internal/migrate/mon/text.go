package mon

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/monitord/monitord/internal/migrate/moncf"
	"github.com/monitord/monitord/internal/plugin"
)

// quote writes a string of TOML. A "${" is written so that it stands for itself and
// not for a variable of the environment.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ReplaceAll(text, "${", "$${") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func quotes(texts []string) string {
	all := make([]string, len(texts))
	for i, t := range texts {
		all[i] = quote(t)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// key writes a key of TOML.
func key(name string) string {
	if bareKey.MatchString(name) {
		return name
	}
	return quote(name)
}

// comment makes a text fit into a comment.
func comment(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return ' '
		}
		return r
	}, text)
}

// duration writes an interval as mon.cf does where that means the same.
func duration(written string, d time.Duration) string {
	text := strings.ToLower(strings.TrimSpace(written))
	if same, err := plugin.ParseDuration(text); err == nil && same == d {
		return quote(text)
	}
	return quote(d.String())
}

// where names the lines of an item.
func where(src moncf.Source) string { return fmt.Sprintf("line %d", src.Line) }

var self = regexp.MustCompile(`\bSELF:`)

// selfReplaced does what the loader does with mon's word for the own group. mon also
// finds it in the middle of a name.
func selfReplaced(expression, group string) string {
	return self.ReplaceAllLiteralString(expression, group+":")
}
