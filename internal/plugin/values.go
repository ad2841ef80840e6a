package plugin

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Duration is written with its unit: "500ms", "30s", "5m", "1h30m", "2d".
// A bare number is refused: in mon it was an error too, and TOML's 5 would
// silently mean five nanoseconds.
type Duration time.Duration

// Std returns the standard library's form.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// UnmarshalText parses the forms named above; mon's d, w, and upper-case units
// and fractions ("1.5H") are accepted as well.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the standard library's form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// ParseDuration is time.ParseDuration with mon's units d (24 h) and w (7 d),
// either case, and no sign.
func ParseDuration(s string) (time.Duration, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("%q has no unit: write \"%ss\" for seconds, \"%sm\" for minutes", s, text, text)
	}
	if text == "" || strings.ContainsAny(text, "+-") {
		return 0, fmt.Errorf("%q is not a duration: write a number with a unit, like \"500ms\", \"30s\", \"5m\", \"1h\" or \"2d\"", s)
	}
	var total time.Duration
	for rest := text; rest != ""; {
		number := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789."))]
		after := rest[len(number):]
		unit := after[:len(after)-len(strings.TrimLeft(after, "abcdefghijklmnopqrstuvwxyzµ"))]
		rest = after[len(unit):]
		part, err := durationPart(number, unit)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration: write a number with a unit, like \"500ms\", \"30s\", \"5m\", \"1h\" or \"2d\"", s)
		}
		if total += part; total < 0 {
			return 0, fmt.Errorf("%q is too long a duration", s)
		}
	}
	return total, nil
}

func durationPart(number, unit string) (time.Duration, error) {
	scale := map[string]float64{"d": 24, "w": 7 * 24}[unit]
	if scale == 0 {
		return time.ParseDuration(number + unit)
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, err
	}
	hours := n * scale
	if hours > 24*365*200 {
		return 0, fmt.Errorf("out of range")
	}
	return time.Duration(hours * float64(time.Hour)), nil
}

// A Secret is a password or key. It never prints itself; wherever a plugin's
// configuration has a Secret under the key NAME, the user may write NAME_file
// instead and the secret is that file's content without the last newline.
type Secret string

// Reveal returns the secret itself, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(secret)"
}

// GoString keeps %#v from printing the secret.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText keeps encoders from printing the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
