package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Shrink takes away and shortens what a broken rule does not need: faults,
// groups' parts, noise. What it returns breaks the same rule.
func Shrink(s Schedule, o Options) Schedule {
	first := Run(s, o).Violation
	if first == nil {
		return s
	}
	broken := func(c Schedule) bool {
		v := Run(c, o).Violation
		return v != nil && v.Rule == first.Rule
	}
	for smaller := true; smaller; {
		smaller = false
		for _, c := range simpler(s) {
			if broken(c) {
				s, smaller = c, true
				break
			}
		}
	}
	return s
}

// simpler schedules, the boldest first.
func simpler(s Schedule) []Schedule {
	var list []Schedule
	add := func(change func(*Schedule)) {
		c := s
		c.Faults = slices.Clone(s.Faults)
		c.Setup.Groups = slices.Clone(s.Setup.Groups)
		change(&c)
		if !same(c, s) {
			list = append(list, c)
		}
	}
	for i := range s.Faults {
		add(func(c *Schedule) { c.Faults = slices.Delete(c.Faults, i, i+1) })
	}
	if n := len(s.Setup.Groups); n > 1 {
		add(func(c *Schedule) { c.Setup.Groups = c.Setup.Groups[:n-1] })
	}
	add(func(c *Schedule) { c.Setup.Loss, c.Setup.Doubled, c.Setup.Late = 0, 0, 0 })
	add(func(c *Schedule) { c.Setup.Drift = 0 })
	add(func(c *Schedule) { c.Setup.Stranded, c.Setup.Differs = false, false })
	add(func(c *Schedule) { c.Setup.LateBoot = 0 })
	add(func(c *Schedule) { c.Setup.Half, c.Setup.Tick = false, 5*ms })
	for i := range s.Setup.Groups {
		add(func(c *Schedule) { c.Setup.Groups[i].Before, c.Setup.Groups[i].After = false, false })
		add(func(c *Schedule) { c.Setup.Groups[i].Begin, c.Setup.Groups[i].End = 0, 0 })
		add(func(c *Schedule) { c.Setup.Groups[i].Failback, c.Setup.Groups[i].FailbackAfter = false, 0 })
		add(func(c *Schedule) { c.Setup.Groups[i].Rotate = 0 })
		if s.Setup.Groups[i].Addresses > 0 {
			add(func(c *Schedule) { c.Setup.Groups[i].Addresses-- })
		}
	}
	for i := range s.Faults {
		if s.Faults[i].For > 20*ms {
			add(func(c *Schedule) { c.Faults[i].For = (c.Faults[i].For / 2).Round(ms) })
		}
	}
	return list
}

func same(a, b Schedule) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// Marshal writes a schedule as testdata has it: lines of why, then JSON, a fault a line.
func Marshal(s Schedule, why string) ([]byte, error) {
	var b bytes.Buffer
	for line := range strings.SplitSeq(strings.TrimSpace(why), "\n") {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	setup, err := json.MarshalIndent(s.Setup, "", "  ")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "seed %d\nsetup %s\n", s.Seed, setup)
	for _, f := range s.Faults {
		line, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "fault %s\n", line)
	}
	return b.Bytes(), nil
}

// Load reads what Marshal wrote.
func Load(path string) (Schedule, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Schedule{}, err
	}
	var s Schedule
	head, rest, ok := strings.Cut(string(text), "\nsetup ")
	if !ok {
		return s, fmt.Errorf("%s: no setup", path)
	}
	for line := range strings.SplitSeq(head, "\n") {
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		if _, err := fmt.Sscanf(line, "seed %d", &s.Seed); err != nil {
			return s, fmt.Errorf("%s: %q: %w", path, line, err)
		}
	}
	d := json.NewDecoder(strings.NewReader(rest))
	if err := d.Decode(&s.Setup); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	left := rest[d.InputOffset():]
	for line := range strings.SplitSeq(strings.TrimSpace(left), "\n") {
		text, ok := strings.CutPrefix(line, "fault ")
		if !ok {
			continue
		}
		var f Fault
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return s, fmt.Errorf("%s: %w", path, err)
		}
		s.Faults = append(s.Faults, f)
	}
	return s, nil
}
