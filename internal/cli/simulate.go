package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/simulate"
)

func newSimulate() *cobra.Command {
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Rehearse a configuration: which alerts would go out, and which would not",
		Long: `Rehearse a configuration on virtual time. The results of its monitors come from a
file; nothing is tested and nothing is sent. Every alert that would be sent is
printed, every one that would not, and each server that would leave a pool, each
with its reason.

The file of results has a line for each thing that happens:

  start Sun 01:55                       # the daemon starts; all is well
  02:00  web:http web1 down             # one host of a watch; or the watch, or
  +30s   gateway      down no answer    # a group, or a host wherever it is tested
  02:03  web1         up
  02:05  ack web:http it was the switch

With --diff the same results are played to another configuration as well, and what
differs is printed.`,
		Example: "  monitord simulate -c FILE --results night.txt\n  monitord simulate -c old.toml --diff new.toml --results night.txt",
		Args:    cobra.NoArgs,
	}
	file := configFlag(c)
	results := c.Flags().StringP("results", "r", "", "`FILE` of results; - is standard input")
	other := c.Flags().String("diff", "", "play them to this `FILE` as well, and print what differs")
	_ = c.MarkFlagFilename("diff", "toml", "cf") // the flag exists
	asJSON := c.Flags().Bool("json", false, "print everything as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *results == "" {
			return &usageError{errors.New("which results? Name a file with --results"), c.CommandPath()}
		}
		text, err := readResults(c.InOrStdin(), *results)
		if err != nil {
			return err
		}
		report, err := rehearse(c, *file, *results, text)
		if err != nil {
			return err
		}
		var shown printer = report
		if *other != "" {
			changed, err := rehearse(c, *other, *results, text)
			if err != nil {
				return fmt.Errorf("with %s: %w", *other, err)
			}
			shown = simulate.Compare(report, changed)
		}
		if *asJSON {
			return printJSON(c.OutOrStdout(), shown)
		}
		return shown.Print(c.OutOrStdout())
	}
	return c
}

// A printer writes itself for people.
type printer interface{ Print(out io.Writer) error }

// readResults reads a file, or standard input: a byte more than is played at most, which
// then is said.
func readResults(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, simulate.MaxText+1))
	if err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	return text, nil
}

// rehearse plays the results to the configuration in a file.
func rehearse(c *cobra.Command, file, results string, text []byte) (*simulate.Report, error) {
	site, err := loadSite(file)
	if err != nil {
		return nil, err
	}
	script, err := simulate.Parse(results, text, site, time.Now())
	if err != nil {
		return nil, err
	}
	return simulate.Run(c.Context(), site, script)
}
