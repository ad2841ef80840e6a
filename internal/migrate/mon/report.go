package mon

import (
	"fmt"
	"strings"
)

// Report is the account for people: what changed and what is not carried line by
// line, and which lines are as they were.
func (i *Imported) Report() string {
	var b strings.Builder
	for _, w := range i.Warnings {
		fmt.Fprintf(&b, "warning: %s: %s\n", i.Name, w)
	}
	for _, part := range []struct {
		fate  Fate
		title string
	}{{Changed, "changed"}, {NotCarried, "not carried"}} {
		i.part(&b, part.fate, part.title)
	}
	i.suggestions(&b)
	i.carried(&b)
	return strings.TrimLeft(b.String(), "\n")
}

func (i *Imported) part(b *strings.Builder, fate Fate, title string) {
	var of []Line
	for _, l := range i.Lines {
		if l.Fate == fate {
			of = append(of, l)
		}
	}
	if len(of) > 0 {
		fmt.Fprintf(b, "\n%s:\n", title)
	}
	for _, same := range byReason(of) {
		for _, l := range same {
			fmt.Fprintf(b, "  line %d: %s", l.Line, l.Text)
			if len(l.TOML) > 0 {
				fmt.Fprintf(b, "  (TOML: %s)", lines(l.TOML))
			}
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "      %s\n", same[0].Why)
	}
}

// byReason puts lines for one reason together, where the first of them stands.
func byReason(all []Line) [][]Line {
	var groups [][]Line
	at := map[string]int{}
	for _, l := range all {
		i, known := at[l.Why]
		if !known {
			i = len(groups)
			at[l.Why] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], l)
	}
	return groups
}

// suggestions says each once, with the lines that it is about.
func (i *Imported) suggestions(b *strings.Builder) {
	about := map[string][]int{}
	var order []string
	for _, l := range i.Lines {
		if l.Suggestion == "" {
			continue
		}
		if about[l.Suggestion] == nil {
			order = append(order, l.Suggestion)
		}
		about[l.Suggestion] = append(about[l.Suggestion], l.Line)
	}
	if len(order) > 0 {
		b.WriteString("\nnot needed, but there is:\n")
	}
	for _, s := range order {
		fmt.Fprintf(b, "  %s (%s)\n", s, lines(about[s]))
	}
}

func (i *Imported) carried(b *strings.Builder) {
	var numbers []int
	count := map[Fate]int{}
	for _, l := range i.Lines {
		count[l.Fate]++
		if l.Fate == Carried {
			numbers = append(numbers, l.Line)
		}
	}
	if len(numbers) > 0 {
		fmt.Fprintf(b, "\ncarried as they are: %s\n", lines(numbers))
	}
	fmt.Fprintf(b, "\n%d lines carried, %d changed, %d not carried\n", count[Carried], count[Changed], count[NotCarried])
}

// lines names lines in ascending order, runs of them by their ends.
func lines(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		part := fmt.Sprint(numbers[i])
		if j > i {
			part = fmt.Sprintf("%d-%d", numbers[i], numbers[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	word := "lines "
	if len(numbers) == 1 {
		word = "line "
	}
	return word + strings.Join(parts, ", ")
}
