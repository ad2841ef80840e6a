package mon

import (
	"bufio"
	"bytes"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/migrate/moncf"
)

var (
	// tableLine is a header of TOML, which mon has nothing like.
	tableLine = regexp.MustCompile(`^\[\[?\s*["'A-Za-z0-9_.-]+\s*\]\]?\s*(?:#.*)?$`)
	// recordLine starts a record of mon; TOML has no line of two words.
	recordLine = regexp.MustCompile(`^(?:hostgroup|watch|view|alias|service|period|monitor|alert|upalert)\s+[^=\s]`)
	// settingLine is a line of either: the value tells.
	settingLine = regexp.MustCompile(`^(\w+)\s*=\s*(.*)$`)
	// tomlValue is what a value of TOML begins with.
	tomlValue = regexp.MustCompile(`^(?:["'\[{]|true\b|false\b)`)
)

// templateLine has a mark of Jinja, ERB or one of their like.
var templateLine = regexp.MustCompile(`\{\{.*\}\}|\{%.*%\}|<%.*%>`)

// isTemplate reports whether a line, which is no comment, is to be filled in first.
func isTemplate(line string) bool {
	return templateLine.MatchString(line) && !strings.HasPrefix(strings.TrimSpace(line), "#")
}

// Recognise reports whether a file is a mon.cf rather than TOML. The text decides:
// the first line that only one of them has. The name counts where the text says
// nothing, as an empty one does.
func Recognise(name string, text []byte) bool {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	leaning := 0 // towards mon above zero
	for lines.Scan() {
		line := strings.TrimSpace(strings.ToValidUTF8(lines.Text(), "?"))
		switch {
		case line == "" || line[0] == '#':
		case tableLine.MatchString(line):
			return false
		case recordLine.MatchString(line), macroLine.MatchString(line):
			return true
		default:
			leaning += lean(line)
		}
	}
	if leaning != 0 {
		return leaning > 0
	}
	return slices.Contains([]string{".cf", ".m4"}, filepath.Ext(name))
}

// lean says which of them a line "name = value" looks like.
func lean(line string) int {
	m := settingLine.FindStringSubmatch(line)
	switch {
	case m == nil:
		return 0
	case tomlValue.MatchString(m[2]):
		return -1
	case slices.Contains(moncf.Globals(), m[1]):
		return 1
	}
	return 0
}
