package cli

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/daemon"
)

func newRun() *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: `Run the daemon in the foreground, logging to standard error: readable text on a
terminal, one line of key=value pairs an event otherwise. [log] says where else.

A mon.cf runs as it is, as "monitord import" would make TOML of it.

SIGHUP reads the configuration again, all or nothing: watches that did not
change keep their state and their timers. SIGTERM and SIGINT end the daemon: what
it holds is handed over to another director. SIGUSR2 ends it and leaves everything
as it is, for a process that is started within the lease of the addresses.`,
		Example: "  monitord run -c /etc/monitord/monitord.toml",
		Args:    cobra.NoArgs,
	}
	file := configFlag(c)
	node := c.Flags().String("node", "", "`NAME` of this machine among the cluster's nodes; default the one with its host name or address")
	socket := c.Flags().StringP("socket", "s", "", "control `SOCKET` instead of the one that the configuration names; a mon.cf names none")
	c.RunE = func(c *cobra.Command, _ []string) error {
		// Before anything else: a SIGHUP during the start must not end it.
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		quit := make(chan os.Signal, 1)
		signal.Notify(quit, syscall.SIGUSR2)
		defer signal.Stop(quit)
		log := newDaemonLog(c.ErrOrStderr())
		defer log.close()
		return daemon.Run(c.Context(), daemon.Options{
			ConfigFile: *file, Log: log.Logger, Hangup: hangup, Quit: quit, Node: *node, Socket: *socket, Version: version(),
			ConfigureLog: log.configure,
		})
	}
	return c
}
