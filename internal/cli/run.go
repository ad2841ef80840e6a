package cli

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/daemon"
)

func newRun() *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: `Run the daemon in the foreground, logging to standard error: readable text on a
terminal, one line of key=value pairs an event otherwise.

SIGHUP reads the configuration again, all or nothing: watches that did not
change keep their state and their timers. SIGTERM and SIGINT end the daemon: what
it holds is handed over to another director. SIGUSR2 ends it and leaves everything
as it is, for a process that is started within the lease of the addresses.`,
		Example: "  monitord run -c /etc/monitord/monitord.toml",
		Args:    cobra.NoArgs,
	}
	file := configFlag(c)
	node := c.Flags().String("node", "", "`NAME` of this machine among the cluster's nodes; default the one with its host name or address")
	c.RunE = func(c *cobra.Command, _ []string) error {
		// Before anything else: a SIGHUP during the start must not end it.
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		quit := make(chan os.Signal, 1)
		signal.Notify(quit, syscall.SIGUSR2)
		defer signal.Stop(quit)
		log := newLogger(c.ErrOrStderr())
		return daemon.Run(c.Context(), daemon.Options{
			ConfigFile: *file, Log: log, Hangup: hangup, Quit: quit, Node: *node, Version: version(),
			ConfigureLog: func(l config.Log) { configureLog(log, c.ErrOrStderr(), l) },
		})
	}
	return c
}

func newLogger(out io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(out)
	configureLog(log, out, config.Log{})
	return log
}

// configureLog sets level and format; "auto" is text for people on a terminal
// and logfmt otherwise.
func configureLog(log *logrus.Logger, out io.Writer, l config.Log) {
	level, err := logrus.ParseLevel(l.Level)
	if err != nil {
		level = logrus.InfoLevel // the configuration has checked it; this is the empty one
	}
	log.SetLevel(level)
	file, isFile := out.(*os.File)
	onTerminal := isFile && term.IsTerminal(int(file.Fd()))
	switch {
	case l.Format == "json":
		log.SetFormatter(&logrus.JSONFormatter{})
	case l.Format == "text", l.Format != "logfmt" && onTerminal:
		log.SetFormatter(&logrus.TextFormatter{ForceColors: onTerminal, DisableColors: !onTerminal, FullTimestamp: true, TimestampFormat: "15:04:05.000"})
	default:
		log.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	}
}
