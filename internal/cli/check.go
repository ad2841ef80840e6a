package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/director"
)

func newCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration and say all that is wrong with it",
		Long: `Check a configuration without running it. All mistakes are said at once, each as
FILE:LINE:COLUMN: what is wrong, and what would be right. The exit status is 0 if
the daemon would run it, 1 if not.`,
		Example: "  monitord check -c /etc/monitord/monitord.toml",
		Args:    cobra.NoArgs,
	}
	file := configFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		site, err := loadSite(*file)
		if err != nil {
			fmt.Fprintln(c.ErrOrStderr(), err)
			return errors.New("the configuration is not right")
		}
		for _, w := range site.Warnings {
			fmt.Fprintln(c.OutOrStdout(), "warning:", w)
		}
		fmt.Fprintf(c.OutOrStdout(), "%s: ok, %s, %s\n", *file, count(len(site.Watches), "watch", "watches"), count(len(site.Virtuals), "virtual service", "virtual services"))
		if site.Cluster != nil {
			return printBounds(c.OutOrStdout(), *site.Cluster)
		}
		return nil
	}
	return c
}

// printBounds says how long a group may be without a director after each fault.
func printBounds(out io.Writer, c director.Config) error {
	bounds, err := director.Bounds(c)
	if err != nil {
		return err // not of a configuration that was loaded
	}
	fmt.Fprintf(out, "\nlongest time without service, after one fault among %s (resources come on top):\n", count(c.Voters(), "voter", "voters"))
	return columns(out, func(table *tabwriter.Writer) {
		for _, b := range bounds {
			limit := b.Limit.Round(time.Millisecond).String()
			if b.Open {
				limit = "no limit"
			}
			fmt.Fprintf(table, "  %s\t%s\t%s\n", b.Failure, limit, b.Formula)
		}
	})
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func loadSite(file string) (*config.Site, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find out the name of this machine: %w", err)
	}
	return config.Load(file, config.Host{Hostname: hostname, Env: os.LookupEnv, Networks: daemon.Networks()})
}
