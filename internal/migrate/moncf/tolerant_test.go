package moncf

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func tolerant(t *testing.T, text string) *File {
	t.Helper()
	f, err := ParseTolerant("mon.cf", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const head = "watch g\n service s\n"

// TestTolerantPeriods: scales without braces are always; everything else that is
// wrong with a period stays so, and Parse refuses both.
func TestTolerantPeriods(t *testing.T) {
	for _, spec := range []string{"wd", "wd hr", "WD  Hour", "P: wd"} {
		text := head + " period " + spec + "\n"
		if _, err := Parse("mon.cf", strings.NewReader(text)); err == nil {
			t.Errorf("Parse takes %q", spec)
		}
		f := tolerant(t, text)
		p := f.Watches[0].Services[0].Periods[0]
		if !p.When.Contains(time.Unix(0, 0)) || p.When.String() != "" || len(f.Warnings) != 2 || f.Warnings[1].Line != 3 {
			t.Errorf("%q: %v, warnings %v", spec, p.When, f.Warnings)
		}
	}
	for _, spec := range []string{"wd {", "wd hr {25}", "wd {Mon-Fri} hr", "weekday", "wd,hr", "wd {Mon} x"} {
		if f, err := ParseTolerant("mon.cf", strings.NewReader(head+" period "+spec+"\n")); err == nil {
			t.Errorf("%q is taken: %v", spec, f.Watches[0].Services[0].Periods[0].When)
		}
	}
}

// TestTolerantWrapped: what begins with "-" belongs to the alert or monitor before it.
func TestTolerantWrapped(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		args       []string
		last       int // line of the alert
		warnings   []int
	}{
		{"one line", " period\n alert a.alert -R x\n-W 5 -u 1\n upalert b\n", []string{"-R", "x", "-W", "5", "-u", "1"}, 5, []int{5}},
		{"two lines", " period\n alert a.alert\n  -W 5\n  -F dr\n", []string{"-W", "5", "-F", "dr"}, 6, []int{5, 6}},
		{"a comment between", " period\n alert a.alert\n # weight\n -W 5\n", []string{"-W", "5"}, 6, []int{6}},
		{"a backslash too", " period\n alert a.alert \\\n x\n -W \\\n 5\n", []string{"x", "-W", "5"}, 7, []int{6}},
		{"at the end of the file", " period\n alert a.alert\n -W 5", []string{"-W", "5"}, 5, []int{5}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := tolerant(t, head+tc.text)
			a := f.Watches[0].Services[0].Periods[0].Alerts[0]
			if !cmp.Equal(a.Args, tc.args) || a.Line != 4 || a.LastLine != tc.last {
				t.Errorf("args %q, lines %d-%d", a.Args, a.Line, a.LastLine)
			}
			var lines []int
			for _, w := range f.Warnings {
				if strings.HasPrefix(w.Text, "joined to line") {
					lines = append(lines, w.Line)
				}
			}
			if diff := cmp.Diff(tc.warnings, lines); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if _, err := Parse("mon.cf", strings.NewReader(head+tc.text)); err == nil {
				t.Error("Parse takes it")
			}
		})
	}
	for name, text := range map[string]string{
		"after a keyword":    " interval 5s\n -W 5\n",
		"after a period":     " period\n -W 5\n",
		"at the beginning":   "\n\nwatch h\n -W 5\n",
		"after a blank line": " monitor m\n\nwatch h\n -W 5\n",
	} {
		if _, err := ParseTolerant("mon.cf", strings.NewReader(head+text)); err == nil {
			t.Errorf("a wrapped line %s is taken", name)
		}
	}
}

// TestTolerantGroups: a watch without a blank line before it is no warning there.
func TestTolerantGroups(t *testing.T) {
	f := tolerant(t, "hostgroup g a\nwatch g\n service s\n")
	if len(f.Warnings) != 0 || len(f.Notes) != 1 || f.Notes[0].Line != 2 || len(f.Watches) != 1 {
		t.Errorf("warnings %v, notes %v", f.Warnings, f.Notes)
	}
}
