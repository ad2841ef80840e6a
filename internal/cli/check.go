package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/migrate/mon"
)

func newCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration and say all that is wrong with it",
		Long: `Check a configuration without running it. All mistakes are said at once, each as
FILE:LINE:COLUMN: what is wrong, and what would be right. The exit status is 0 if
the daemon would run it, 1 if not. A mon.cf is checked as it would run.`,
		Example: "  monitord check -c /etc/monitord/monitord.toml",
		Args:    cobra.NoArgs,
	}
	file := configFlag(c)
	node := c.Flags().String("node", "", "read it as the cluster's node `NAME` does; default this machine, if it is one of them")
	c.RunE = func(c *cobra.Command, _ []string) error {
		site, err := loadSiteAs(*file, *node)
		if err != nil {
			fmt.Fprintln(c.ErrOrStderr(), err)
			return errors.New("the configuration is not right")
		}
		for _, w := range site.Warnings {
			fmt.Fprintln(c.OutOrStdout(), "warning:", w)
		}
		fmt.Fprintf(c.OutOrStdout(), "%s: ok, %s, %s\n", *file, count(len(site.Watches), "watch", "watches"), count(len(site.Virtuals), "virtual service", "virtual services"))
		if site.Cluster != nil {
			return printCluster(c.OutOrStdout(), site.Cluster)
		}
		return nil
	}
	return c
}

// printCluster says who the directors are, what guards their addresses, and how long
// a group may be without a director after each fault.
func printCluster(out io.Writer, c *config.Cluster) error {
	d := c.Director
	fmt.Fprintln(out)
	if c.Stranger {
		fmt.Fprintf(out, "this machine is none of the nodes; read as %s does (another: --node NAME)\n", d.Self)
	} else {
		fmt.Fprintf(out, "this machine is node %s\n", d.Self)
	}
	for _, g := range d.Groups {
		fmt.Fprintf(out, "group %s: %s\n", g.Name, strings.Join(d.Holders(g), ", then "))
	}
	fmt.Fprintln(out, "\nguards:")
	err := columns(out, func(table *tabwriter.Writer) {
		for _, g := range c.Guards() {
			state := "off"
			if g.Live {
				state = "on"
			}
			fmt.Fprintf(table, "  %s\t%s\t%s\n", g.Name, state, g.Detail)
		}
	})
	if err != nil || c.Alone() {
		return err
	}
	return printBounds(out, d)
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

// loadSite reads a configuration to look at it, on whatever machine.
func loadSite(file string) (*config.Site, error) { return loadSiteAs(file, "") }

// loadSiteAs reads it as one of the cluster's nodes.
func loadSiteAs(file, node string) (*config.Site, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find out the name of this machine: %w", err)
	}
	return mon.Load(context.Background(), file, config.Host{
		Hostname: hostname, Env: os.LookupEnv, Log: daemon.AlertLog(newLogger(os.Stderr)), Networks: daemon.Networks(),
		Node: node, Addresses: daemon.Addresses(), AnyNode: true,
	})
}
