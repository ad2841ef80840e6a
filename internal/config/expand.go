package config

import (
	"regexp"
	"strings"
)

// reference is ${...}, or the $${ that stands for a plain ${.
var reference = regexp.MustCompile(`\$\$\{|\$\{[^}]*\}?`)

// variable is what may stand between the braces.
var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}$`)

// expand puts variables of the environment into a string. expanded is true if
// there was any.
func (r *report) expand(text string, at place, env func(string) (string, bool)) (out string, expanded bool) {
	if !strings.Contains(text, "${") {
		return text, false
	}
	out = reference.ReplaceAllStringFunc(text, func(ref string) string {
		if ref == "$${" {
			return "${"
		}
		m := variable.FindStringSubmatch(ref)
		if m == nil {
			r.problem(at, "cannot read %q: write ${NAME} or ${NAME:-default} for a variable of the environment, $${ for a plain ${", ref)
			return ref
		}
		expanded = true
		value, ok := env(m[1])
		switch {
		case value == "" && m[2] != "":
			return m[3]
		case !ok:
			r.problem(at, "the environment has no variable %s: set it, or write a default as ${%s:-default}", m[1], m[1])
		}
		return value
	})
	return out, expanded
}
