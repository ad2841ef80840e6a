package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/daemon"
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
		return nil
	}
	return c
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
