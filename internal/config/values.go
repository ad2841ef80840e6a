package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/watch"
)

// alertAfter is written as 6, "30s", { count = 6, within = "5m" } or, for several
// of mon's lines in one, { consecutive = 3, ... }.
type alertAfter watch.AlertAfter

const alertAfterForms = "write a number of failures, a time like \"30s\", or { count = 6, within = \"5m\" }"

func (a *alertAfter) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		n, err := count(v)
		a.Consecutive = n
		return err
	case string:
		d, err := positive(v)
		a.Within = d
		return err
	case map[string]any:
		return a.table(v)
	}
	return errors.New(alertAfterForms)
}

func (a *alertAfter) table(t map[string]any) error {
	var errs []error
	for key, v := range t {
		var err error
		switch key {
		case "consecutive":
			a.Consecutive, err = count(v)
		case "count":
			a.Count, err = count(v)
		case "within":
			a.Within, err = positive(v)
		default:
			err = fmt.Errorf("unknown key%s", didYouMean(key, []string{"consecutive", "count", "within"}, "the keys are"))
		}
		if err != nil {
			errs = append(errs, plugin.BadKey(key, "%w", err))
		}
	}
	switch {
	case len(errs) > 0:
	case a.Count > 0 && a.Within == 0:
		errs = append(errs, errors.New("count needs within: "+alertAfterForms))
	case a.Count == 0 && a.Consecutive == 0:
		errs = append(errs, errors.New("count is missing: "+alertAfterForms))
	}
	return errors.Join(errs...)
}

func count(v any) (int, error) {
	n, ok := v.(int64)
	if !ok {
		return 0, errors.New("want a whole number")
	}
	if n < 1 || n > math.MaxInt32 {
		return 0, fmt.Errorf("%d is out of range: write 1 or more", n)
	}
	return int(n), nil
}

// positive parses a duration above zero.
func positive(v any) (time.Duration, error) {
	text, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("%v is no duration: write it with a unit, like \"5m\"", v)
	}
	d, err := plugin.ParseDuration(text)
	if err == nil && d == 0 {
		err = fmt.Errorf("%q is no time: write more than zero, or leave the key out", text)
	}
	return d, err
}

// alertEvery is written as "1h", mon's "1h strict", or { interval = "1h", compare
// = "strict" }.
type alertEvery watch.AlertEvery

var compares = []watch.Compare{watch.CompareSummary, watch.CompareDetail, watch.CompareNothing, watch.Strict}

func (a *alertEvery) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case string:
		words := strings.Fields(v)
		if len(words) > 2 {
			return errors.New("write a time like \"1h\", or { interval = \"1h\", compare = \"strict\" }")
		}
		if len(words) == 2 {
			compare, err := compareNamed(words[1])
			if err != nil {
				return err
			}
			a.Compare, v = compare, words[0]
		}
		d, err := positive(v)
		a.Interval = d
		return err
	case map[string]any:
		return a.table(v)
	case int64:
		return fmt.Errorf("%d has no unit: write \"%ds\" for seconds, \"%dm\" for minutes", v, v, v)
	}
	return errors.New("write a time like \"1h\", or { interval = \"1h\", compare = \"strict\" }")
}

func (a *alertEvery) table(t map[string]any) error {
	var errs []error
	for key, v := range t {
		var err error
		switch key {
		case "interval":
			a.Interval, err = positive(v)
		case "compare":
			name, _ := v.(string)
			a.Compare, err = compareNamed(name)
		default:
			err = fmt.Errorf("unknown key%s", didYouMean(key, []string{"interval", "compare"}, "the keys are"))
		}
		if err != nil {
			errs = append(errs, plugin.BadKey(key, "%w", err))
		}
	}
	if len(errs) == 0 && a.Interval == 0 {
		errs = append(errs, errors.New("interval is missing: write { interval = \"1h\", compare = \"strict\" }"))
	}
	return errors.Join(errs...)
}

func compareNamed(name string) (watch.Compare, error) {
	var names []string
	for _, c := range compares {
		if c.String() == name {
			return c, nil
		}
		names = append(names, c.String())
	}
	return 0, fmt.Errorf("%q is no comparison%s", name, didYouMean(name, names, "they are"))
}

// exitRange is written as 2 or "1-3".
type exitRange struct{ *watch.ExitRange }

func (r *exitRange) UnmarshalTOML(v any) error {
	bad := fmt.Errorf("write an exit status from 0 to 255, or two like \"1-3\"")
	var text string
	switch v := v.(type) {
	case int64:
		text = strconv.FormatInt(v, 10)
	case string:
		text = strings.TrimSpace(v)
	default:
		return bad
	}
	first, last, two := strings.Cut(text, "-")
	if !two {
		last = first
	}
	from, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 8)
	to, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 8)
	switch {
	case err1 != nil || err2 != nil:
		return bad
	case from > to:
		return fmt.Errorf("%d-%d is empty: write the smaller status first", from, to)
	}
	r.ExitRange = &watch.ExitRange{From: int(from), To: int(to)}
	return nil
}

var behaviors = []watch.Behavior{watch.SuppressAlerts, watch.SuppressMonitor, watch.SuppressHosts}

// behavior reports a bad name at the place and returns the default for it.
func (r *report) behavior(at place, name string) watch.Behavior {
	i := slices.IndexFunc(behaviors, func(b watch.Behavior) bool { return b.String() == name })
	if i < 0 {
		r.problem(at, "dep_behavior: %q is not accepted: write \"a\" for alerts, \"m\" for the monitor or \"hm\" for the hosts that fail there", name)
		return watch.SuppressAlerts
	}
	return behaviors[i]
}

// cronZone is the time zone before a calendar expression.
var cronZone = regexp.MustCompile(`^(?:CRON_)?TZ=(\S*)(\s|$)`)

// ParseCron reads a calendar expression.
func ParseCron(text string) (s cron.Schedule, err error) {
	defer func() { // a time zone without anything after it makes the parser panic
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("cannot read %q", text)
		}
	}()
	if zone := cronZone.FindStringSubmatch(text); zone != nil {
		if _, err := time.LoadLocation(zone[1]); err != nil {
			return nil, fmt.Errorf("there is no time zone %q: write a name like \"Europe/Berlin\"", zone[1])
		}
	}
	fields := cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor
	s, err = cron.NewParser(fields).Parse(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w: write minute, hour, day of month, month and day of week, like \"*/5 * * * *\", or \"@hourly\"", text, err)
	}
	if s.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("%q never comes: there is no such day", text)
	}
	return s, nil
}
