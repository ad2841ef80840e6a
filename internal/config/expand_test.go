package config

import "testing"

func TestExpand(t *testing.T) {
	env := func(name string) (string, bool) {
		value, ok := map[string]string{"A": "one", "B_2": "${A}", "EMPTY": ""}[name]
		return value, ok
	}
	tests := []struct {
		text, want string
		expanded   bool
		problems   int
	}{
		{"plain", "plain", false, 0},
		{"${A}", "one", true, 0},
		{"x${A}y${A}", "xoneyone", true, 0},
		{"${B_2}", "${A}", true, 0}, // once only
		{"${EMPTY}", "", true, 0},
		{"${EMPTY:-two}", "two", true, 0},
		{"${NONE:-}", "", true, 0},
		{"${NONE:-a:-b $c}", "a:-b $c", true, 0},
		{"${A:-two}", "one", true, 0},
		{"$${A}", "${A}", false, 0},
		{"$$${A}", "$${A}", false, 0},
		{"$A $ $$ ^a$", "$A $ $$ ^a$", false, 0},
		{"a{2}$", "a{2}$", false, 0},
		{"${NONE}", "", true, 1},
		{"${NONE} ${NEITHER}", " ", true, 2},
		{"${}", "${}", false, 1},
		{"${A", "${A", false, 1},
		{"${A-x}", "${A-x}", false, 1},
		{"${1}", "${1}", false, 1},
	}
	for _, tt := range tests {
		var r report
		at := newSource("f", nil).place(0)
		got, expanded := r.expand(tt.text, at, env)
		if got != tt.want || expanded != tt.expanded || len(r.problems) != tt.problems {
			t.Errorf("expand(%q): got %q, %t and %d problems; want %q, %t and %d", tt.text, got, expanded, len(r.problems), tt.want, tt.expanded, tt.problems)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"interval", "monitor", "depend", "hostdepend", "alertdir", "to", "ftp", "http"}
	tests := []struct{ name, want string }{
		{"intervall", ": did you mean \"interval\"?"},
		{"Interval", ": did you mean \"interval\"?"},
		{"alert-dir", ": did you mean \"alertdir\"?"},
		{"monitro", ": did you mean \"monitor\"?"},
		{"host_depend", ": did you mean \"hostdepend\"?"},
		{"ot", ": did you mean \"to\"?"},
		{"htp", ": did you mean \"http\"?"},
		{"fttp", ": did you mean \"ftp\"?"},
		{"xyz", ": the keys are alertdir, depend, ftp, hostdepend, http, interval, monitor, to"},
	}
	for _, tt := range tests {
		if got := didYouMean(tt.name, known, "the keys are"); got != tt.want {
			t.Errorf("didYouMean(%q): got %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := didYouMean("x", nil, "there are"); got != "" {
		t.Errorf("of nothing: got %q", got)
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "ab", 2},
		{"ab", "", 2},
		{"ab", "ba", 1},
		{"abc", "abd", 1},
		{"größe", "grösse", 2},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3},
	}
	for _, tt := range tests {
		if got := distance([]rune(tt.a), []rune(tt.b)); got != tt.want {
			t.Errorf("distance(%q, %q): got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
