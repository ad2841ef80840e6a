// Package cli is the command line: it reads the arguments and prints for people,
// and leaves the work to the packages below.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// DefaultConfigFile is read where no other is named.
const DefaultConfigFile = "/etc/monitord/monitord.toml"

// Run runs one command and returns the exit status: 0 if it did what it was
// asked for, 1 if not, 2 if the arguments make no sense.
func Run(args []string, in io.Reader, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if usage, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(errs, "monitord: %v\n\nTry \"%s --help\".\n", err, usage.command)
		return 2
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(errs, "monitord:", text)
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	return 1
}

// A usageError is a mistake in the arguments.
type usageError struct {
	error
	command string
}

func (e *usageError) Unwrap() error { return e.error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "monitord",
		Short: "Watch servers, put them in and out of their pools, tell people",
		Long: `monitord tests servers, takes those that fail out of their pool and puts them
back when they return, and tells people about it.

  monitord check -c FILE     is this configuration right?
  monitord run   -c FILE     run it, in the foreground; a mon.cf too
  monitord import --mon FILE make TOML of a mon.cf
  monitord status            what does the daemon see?`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{err, c.CommandPath()} })
	root.AddCommand(newRun(), newCheck(), newImport(), newStatus(), newHistory(), newReload(), newIPVS(), newDrain(), newUndrain(), newTest(), newSimulate(), newRealServer(), newCluster(), newSwitchover(), newFailback(), newMaintenance(), newClear(), newFenced(), newKeygen(), newLab(), newDoctor(), newReference(), newVersion())
	root.AddCommand(newAck(), newUnack(), newSilence(), newDisable(), newEnable(), newPause(), newResume())
	misuse(root)
	return root
}

// misuse makes wrong arguments of every command a usageError.
func misuse(c *cobra.Command) {
	if valid := c.Args; valid != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := valid(c, args); err != nil {
				return &usageError{err, c.CommandPath()}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		misuse(sub)
	}
}

// configFlag adds -c.
func configFlag(c *cobra.Command) *string {
	file := c.Flags().StringP("config", "c", DefaultConfigFile, "configuration `FILE`")
	_ = c.MarkFlagFilename("config", "toml", "cf") // the flag exists
	return file
}
