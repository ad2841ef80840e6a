package doctor

import (
	"fmt"
	"io"
)

// Print writes the findings for people: a line each, grouped by topic, with what
// mends it below. Those that are right are left out unless all is set.
func Print(out io.Writer, findings []Finding, all bool) {
	topic := ""
	count := map[Severity]int{}
	for _, f := range findings {
		count[f.Severity]++
		if f.Severity == OK && !all {
			continue
		}
		if f.Topic != topic {
			topic = f.Topic
			fmt.Fprintf(out, "%s\n", topic)
		}
		fmt.Fprintf(out, "  %-8s %s", f.Severity, f.What)
		if f.Why != "" {
			fmt.Fprintf(out, ": %s", f.Why)
		}
		fmt.Fprintln(out)
		for _, m := range f.Mend {
			fmt.Fprintf(out, "             %s\n", m)
		}
	}
	fmt.Fprintf(out, "%s, %s, %d unknown, %d ok\n", plural(count[Error], "error"), plural(count[Warning], "warning"), count[Unknown], count[OK])
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
