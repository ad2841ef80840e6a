package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/config"
)

func newReference() *cobra.Command {
	return &cobra.Command{
		Use:   "reference [monitor|alert|resource] [NAME]",
		Short: "Explain the keys of the configuration",
		Long: `Explain the keys of the configuration: of a table, of a kind of monitor, alert or
resource, or every key of a name. Without arguments it lists the tables and kinds.
What is told is what this program has, with the plugins that were compiled in.`,
		Example: "  monitord reference watch\n  monitord reference monitor http\n  monitord reference alertevery",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			tables := config.Reference()
			if len(args) == 0 {
				contents(c.OutOrStdout(), tables)
				return nil
			}
			found := wanted(tables, args)
			if len(found) == 0 {
				return unknownName(tables, args)
			}
			for i, t := range found {
				if i > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				explain(c.OutOrStdout(), t)
			}
			return nil
		},
	}
}

// unknownName says which name may have been meant.
func unknownName(tables []config.Table, words []string) error {
	var known []string
	for _, t := range tables {
		known = append(known, strings.Trim(t.Name, "[]"))
		for _, k := range t.Keys {
			known = append(known, k.Name)
		}
	}
	hint := config.DidYouMean(words[len(words)-1], known, "")
	if !strings.HasPrefix(hint, ": did you mean") {
		hint = "; \"monitord reference\" lists the tables and kinds"
	}
	return fmt.Errorf("no table, kind or key %q%s", strings.Join(words, " "), hint)
}

// wanted are the tables that the words name, or else those that have such a key, with
// that key alone.
func wanted(tables []config.Table, words []string) []config.Table {
	name := words[len(words)-1]
	var found []config.Table
	for _, t := range tables {
		if len(words) == 2 && t.Contract != words[0] {
			continue
		}
		if plain := strings.Trim(t.Name, "[]"); name == t.Name || name == plain || strings.HasSuffix(plain, "."+name) ||
			plain == "every "+name || name == t.Contract {
			found = append(found, t)
		}
	}
	if len(found) > 0 || len(words) == 2 {
		return found
	}
	for _, t := range tables {
		t.Keys = withKey(t.Keys, name)
		if len(t.Keys) > 0 {
			found = append(found, t)
		}
	}
	return found
}

// withKey are the keys of that name, and those that hold one.
func withKey(keys []config.Key, name string) []config.Key {
	var found []config.Key
	for _, k := range keys {
		if k.Name != name && k.Name+"_file" != name {
			k.Of = withKey(k.Of, name)
			if len(k.Of) == 0 {
				continue
			}
		}
		found = append(found, k)
	}
	return found
}

// contents lists the tables and kinds.
func contents(w io.Writer, tables []config.Table) {
	fmt.Fprintln(w, "tables:")
	for _, t := range tables {
		if t.Contract == "" {
			fmt.Fprintln(w, "  "+t.Name)
		}
	}
	for _, contract := range []string{"monitor", "alert", "resource"} {
		var kinds []string
		for _, t := range tables {
			if t.Contract == contract {
				kinds = append(kinds, t.Name)
			}
		}
		fmt.Fprintf(w, "kinds of %s:\n  %s\n", contract, strings.Join(kinds, " "))
	}
}

// explain prints a table's keys, and then those of the tables in it.
func explain(w io.Writer, t config.Table) {
	fmt.Fprintln(w, strings.TrimSpace(t.Contract+" "+t.Name))
	explainKeys(w, t.Keys, "  ")
}

func explainKeys(w io.Writer, keys []config.Key, indent string) {
	for _, k := range keys {
		name := k.Name
		if k.Type == "secret" {
			name += ", " + k.Name + "_file"
		}
		about := k.Type + ", default " + k.Default
		if slices.Contains([]string{"required", "none"}, k.Default) {
			about = k.Type + ", " + k.Default
		}
		fmt.Fprintf(w, "%s%s (%s)\n", indent, name, about)
		for _, line := range wrapped(k.Doc, 90-len(indent)-4) {
			fmt.Fprintf(w, "%s    %s\n", indent, line)
		}
		if k.Mon != "" {
			fmt.Fprintf(w, "%s    In mon.cf: %s\n", indent, k.Mon)
		}
		explainKeys(w, k.Of, indent+"    ")
	}
}

// wrapped breaks a text into lines of at most width bytes, where it has blanks.
func wrapped(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
