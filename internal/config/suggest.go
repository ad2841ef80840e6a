package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxNames is how many accepted names a message lists: the keys of any table,
// and not ten thousand watches.
const maxNames = 50

// didYouMean ends a message about an unknown name: with the accepted name that
// looks most like it, or else with all of them, introduced by what.
func didYouMean(name string, known []string, what string) string {
	if best := closest(name, known); best != "" {
		return ": did you mean " + strconv.Quote(best) + "?"
	}
	if len(known) == 0 {
		return ""
	}
	names := slices.Sorted(slices.Values(known))
	more := ""
	if extra := len(names) - maxNames; extra > 0 {
		names, more = names[:maxNames], fmt.Sprintf(" and %d more", extra)
	}
	return ": " + what + " " + strings.Join(names, ", ") + more
}

// DidYouMean is for importers, whose errors about unknown names end like those about
// TOML.
func DidYouMean(name string, known []string, what string) string {
	return didYouMean(name, known, what)
}

// closest returns the name that differs least, if by no more than a third of its
// letters; case and the kind of dash do not count. Of two that differ alike it is the
// one that begins alike: few people miss the first letter.
func closest(name string, known []string) string {
	best, least := "", 0
	for _, k := range slices.Sorted(slices.Values(known)) {
		limit := max(1, min(len(name), len(k))/3)
		if len(name)-len(k) > limit || len(k)-len(name) > limit {
			continue
		}
		d := 2 * distance(folded(name), folded(k))
		if !beginAlike(name, k) {
			d++
		}
		if d/2 <= limit && (best == "" || d < least) {
			best, least = k, d
		}
	}
	return best
}

func beginAlike(a, b string) bool {
	return a != "" && b != "" && strings.EqualFold(a[:1], b[:1])
}

func folded(name string) []rune {
	return []rune(strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(name)))
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour (the optimal string alignment distance). Names that are too long
// for a slip of the finger are far from everything.
func distance(a, b []rune) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
