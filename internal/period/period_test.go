package period

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of TestNext, on a machine without them

	"pgregory.net/rapid"
)

func TestContains(t *testing.T) {
	// Sunday, 1 March 2026: a month that begins on the day that begins a week.
	sunday := time.Date(2026, 3, 1, 17, 59, 59, 0, time.UTC)
	tests := []struct {
		spec string
		at   time.Time
		want bool
	}{
		{"", sunday, true},
		{"NONE", sunday, false},
		{",", sunday, false},
		{"wk {1}", sunday, true},
		{"wk {1}", sunday.AddDate(0, 0, 6), true},
		{"wk {2}", sunday.AddDate(0, 0, 7), true},
		{"wk {5}", sunday.AddDate(0, 0, 30), true},
		{"week{6}", time.Date(2026, 8, 31, 0, 0, 0, 0, time.UTC), true},
		{"wk {1}", time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC), true},
		{"wk {2}", time.Date(2026, 8, 2, 0, 0, 0, 0, time.UTC), true},
		{"hr {9am-5pm}", sunday, true},
		{"hr {9am-5pm}", sunday.Add(time.Second), false},
		{"hr{10pm - 6am}", time.Date(2026, 3, 1, 5, 0, 0, 0, time.UTC), true},
		{"hr {12am}", time.Date(2026, 3, 1, 0, 30, 0, 0, time.UTC), true},
		{"hr {13am}", time.Date(2026, 3, 1, 13, 30, 0, 0, time.UTC), true},
		{"hr {0pm}", time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC), true},
		{"hr {012noon}", time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC), true},
		{"wd {sunday}", sunday, true},
		{"wd {Fri-Mon}", sunday, true},
		{"wd {Mon-Fri}", sunday, false},
		{"mo {jan-feb-mar}", sunday, true},
		{"Month {Marching}", sunday, true},
		{"mo {Nov-Mar} wd {Mon} WDAY { sun }\thr{0-23}", sunday, true},
		{"mo {Nov-Mar} wd {Mon}, wd {Tue}", sunday, false},
		{"wd {Mon}, wd {Sun},", sunday, true},
		{"yr {26}", sunday, true},
		{"yr {1970-2030}", sunday, true},
		{"yr {99999999999999999999-2000}", sunday, true},
		{"yr {99-1972}", sunday, true}, // 1972 to 2099
		{"yd {60}", sunday, true},
		{"md {28-3}", sunday, true},
		{"wd {}", sunday, false},
		{"wd {} hr {0-23}", sunday, false},
		{"sec {59} min {50-10}", sunday, true},
	}
	for _, tt := range tests {
		t.Run(tt.spec, func(t *testing.T) {
			p, err := Parse(tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Contains(tt.at); got != tt.want {
				t.Errorf("%q contains %s: got %v, want %v", tt.spec, tt.at, got, tt.want)
			}
		})
	}
}

func TestContainsUsesTheLocation(t *testing.T) {
	p, err := Parse("hr {23} wd {Sat}")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 4, 30, 0, 0, time.UTC) // a Sunday
	if p.Contains(at) {
		t.Errorf("%q contains %s", p, at)
	}
	if there := at.In(time.FixedZone("west", -5*3600)); !p.Contains(there) {
		t.Errorf("%q does not contain %s", p, there)
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		spec   string
		offset int
		says   string
	}{
		{"wd hr", 3, `no braces after the scale "wd": write its ranges in them, like "wd {1-7}"`},
		{"  wd", 4, `no braces after the scale "wd"`},
		{"wd {Mon", 3, `"{" without its "}"`},
		{"hr {9,10}", 3, "separated by blanks, not commas"},
		{"wd Mon}", 3, "no braces"},
		{"Dow {1}", 0, `unknown scale "Dow": accepted are year (yr), month (mo)`},
		{"{Mon}", 0, `"{" where a scale is expected`},
		{"wd {1} é {1}", 7, `"é" where a scale is expected`},
		{"wd {1}}", 6, `"}" where a scale is expected`},
		{"wd {{1}}", 3, `"{" without its "}"`},
		{"wd {1}, , wd {2}", 8, "nothing before the comma"},
		{", wd {2}", 0, "nothing before the comma"},
		{"wd {8}", 4, `"8" is no wday: accepted are 1-7`},
		{"wd {Mon  -  Xyz}", 4, `"xyz" is no wday`},
		{"wd {Mon Xyz}", 8, `"xyz" is no wday`},
		{"hr {9-}", 4, `"9-" is no range: write two values with a dash between, like "0-23"`},
		{"hr {- 9}", 4, `"-" is no range`},
		{"hr {13pm}", 4, `"13pm" is no hour: accepted are 0-23 or 12am`},
		{"hr {noon}", 4, `"noon" is no hour`},
		{"hr {11noon}", 4, `"11noon" is no hour`},
		{"hr {24am}", 4, `"24am" is no hour`},
		{"mo {ja}", 4, `"ja" is no month`},
		{"mo {1jan}", 4, `"1jan" is no month`},
		{"mo {1-2-3}", 4, `"1-2" is no month`},
		{"mo {13}", 4, `"13" is no month`},
		{"yr {100}", 4, `"100" is no year: accepted are 0-99 or a year from 1970`},
		{"yr {126-1970}", 4, `"126" is no year`},
		{"wk {7}", 4, `"7" is no week`},
		{"yd {0}", 4, `"0" is no yday`},
		{"yd {5x}", 4, `"5x" is no yday`},
		{"min {60}", 5, `"60" is no minute`},
		{"md {1\x002}", 4, `is no mday`},
		{"wd {Mon}, bogus {1}", 10, `unknown scale "bogus"`},
	}
	for _, tt := range tests {
		t.Run(tt.spec, func(t *testing.T) {
			_, err := Parse(tt.spec)
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("Parse(%q): got %v, want a SyntaxError", tt.spec, err)
			}
			if syntax.Offset != tt.offset || !strings.Contains(syntax.Msg, tt.says) {
				t.Errorf("Parse(%q):\n got %d %s\nwant %d %s", tt.spec, syntax.Offset, syntax.Msg, tt.offset, tt.says)
			}
			if !strings.Contains(err.Error(), fmt.Sprintf("%q", tt.spec)) {
				t.Errorf("%q does not quote the period", err)
			}
		})
	}
}

// TestNextLosesNothing: between a time and its Next the answer is one and the
// same, in zones with odd offsets and odd changes of the clocks.
func TestNextLosesNothing(t *testing.T) {
	zones := []*time.Location{time.UTC}
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Monrovia"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zone)
	}
	rapid.Check(t, func(t *rapid.T) {
		p, err := Parse(anyPeriod().Draw(t, "period"))
		if err != nil {
			t.Fatal(err)
		}
		at := anyTime(zones).Draw(t, "time")
		next, ok := p.Next(at)
		if !ok {
			next = at.AddDate(3, 0, 0)
		} else if !next.After(at) || next.Sub(at) > 25*time.Hour {
			t.Fatalf("Next(%s) of %q is %s", at, p, next)
		}
		between := at.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(at))-1).Draw(t, "between")))
		if p.Contains(at) != p.Contains(between) {
			t.Fatalf("%q: %v at %s, %v at %s, but Next is %s", p, p.Contains(at), at, p.Contains(between), between, next)
		}
	})
}

// anyTime favours the hours around changes of the clocks.
func anyTime(zones []*time.Location) *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		at := time.Unix(rapid.Int64Range(0, 2e9).Draw(t, "epoch"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).
			In(rapid.SampledFrom(zones).Draw(t, "zone"))
		_, change := at.ZoneBounds()
		if change.IsZero() || rapid.Bool().Draw(t, "anywhere") {
			return at
		}
		return change.Add(time.Duration(rapid.Int64Range(-int64(3*time.Hour), int64(3*time.Hour)).Draw(t, "around"))).In(at.Location())
	})
}

func anyPeriod() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		subs := rapid.SliceOfN(rapid.SliceOfN(anyScale(), 1, 3), 0, 3).Draw(t, "subs")
		var texts []string
		for _, sub := range subs {
			texts = append(texts, strings.Join(sub, " "))
		}
		return strings.Join(texts, ", ")
	})
}

func anyScale() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		rule := scales[rapid.IntRange(0, int(numScales)-1).Draw(t, "scale")]
		value := rapid.IntRange(rule.first, min(rule.last, 99))
		ranges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%d-%d", value.Draw(t, "first"), value.Draw(t, "last"))
		}), 0, 3).Draw(t, "ranges")
		return rapid.SampledFrom([]string{rule.code, rule.long}).Draw(t, "name") + " {" + strings.Join(ranges, " ") + "}"
	})
}

// TestLawsOfPeriods: a comma is "or", different scales are "and", a full range is
// everything, and a wrapped range is the complement of the gap.
func TestLawsOfPeriods(t *testing.T) {
	in := func(t *rapid.T, spec string, at time.Time) bool {
		p, err := Parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		return p.Contains(at)
	}
	rapid.Check(t, func(t *rapid.T) {
		at := anyTime([]*time.Location{time.UTC}).Draw(t, "time")
		a, b := anyScale().Draw(t, "a"), anyScale().Draw(t, "b")
		if got, want := in(t, a+","+b, at), in(t, a, at) || in(t, b, at); got != want {
			t.Fatalf("%s , %s at %s: got %v, want %v", a, b, at, got, want)
		}
		if got, want := in(t, a+b, at), in(t, a, at) && in(t, b, at); got != want && !sameScale(a, b) {
			t.Fatalf("%s %s at %s: got %v, want %v", a, b, at, got, want)
		}
		from, to := rapid.IntRange(1, 23).Draw(t, "from"), rapid.IntRange(0, 22).Draw(t, "to")
		if from > to+1 {
			if in(t, fmt.Sprintf("hr {%d-%d}", from, to), at) == in(t, fmt.Sprintf("hr {%d-%d}", to+1, from-1), at) {
				t.Fatalf("hr {%d-%d} and its gap agree at %s", from, to, at)
			}
		}
	})
}

func sameScale(a, b string) bool {
	x, _ := scaleNamed(strings.Fields(a)[0])
	y, _ := scaleNamed(strings.Fields(b)[0])
	return x == y
}

func TestNextNever(t *testing.T) {
	for _, spec := range []string{"", "none", ","} {
		p, err := Parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		if next, ok := p.Next(time.Now()); ok {
			t.Errorf("%q has a Next: %s", spec, next)
		}
	}
}

func TestNextAtAChangeOfClocks(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse("wd {Sun}")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, berlin)
	change := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	next, _ := p.Next(at)
	if !next.Equal(change) || next.Location() != berlin {
		t.Errorf("Next(%s): got %s, want %s", at, next, change)
	}
	midnight := time.Date(2026, 3, 30, 0, 0, 0, 0, berlin)
	if next, _ = p.Next(next); !next.Equal(midnight) {
		t.Errorf("Next after the change: got %s, want %s", next, midnight)
	}
}

func FuzzParse(f *testing.F) {
	for _, spec := range []string{"", "none", "wd {Mon-Fri} hr {7am-9pm}, wd{Sat}", "yr {99-72}", "mo { jan - mar }", "wd {Mon"} {
		f.Add(spec)
	}
	at := time.Date(2026, 3, 1, 17, 59, 59, 0, time.UTC)
	f.Fuzz(func(t *testing.T, spec string) {
		p, err := Parse(spec)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(spec) {
				t.Fatalf("Parse(%q): %v", spec, err)
			}
			return
		}
		again, err := Parse(p.String())
		if err != nil || !again.Equal(p) {
			t.Fatalf("Parse(%q) of %q: %v", p, spec, err)
		}
		if p.Contains(at) != again.Contains(at) {
			t.Fatalf("%q and its String differ at %s", spec, at)
		}
		if next, ok := p.Next(at); ok && !next.After(at) {
			t.Fatalf("Next(%s) of %q is %s", at, spec, next)
		}
	})
}
