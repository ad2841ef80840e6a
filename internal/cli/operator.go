package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/plugin"
)

// operateTimeout bounds one word to the daemon: it is saved before it is answered.
const operateTimeout = 30 * time.Second

// operate hands over an operator's word, and prints what the daemon says to it.
func operate(c *cobra.Command, socket string, o control.Operation) error {
	ctx, cancel := context.WithTimeout(c.Context(), operateTimeout)
	defer cancel()
	o.Sudo = os.Getenv("SUDO_USER")
	said, err := control.NewClient(socket).Operate(ctx, o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), strings.Join(said, "\n"))
	return err
}

func whyFlag(c *cobra.Command) *string {
	return c.Flags().StringP("message", "m", "", "why, for everybody who asks later")
}

// forFlag adds --for; the function returns it in seconds.
func forFlag(c *cobra.Command, usage string) func() (float64, error) {
	text := c.Flags().String("for", "", usage)
	return func() (float64, error) {
		if *text == "" {
			return 0, nil
		}
		d, err := plugin.ParseDuration(*text)
		if err == nil && d <= 0 {
			err = fmt.Errorf("%q is no time at all", *text)
		}
		if err != nil {
			return 0, &usageError{fmt.Errorf("--for: %w", err), c.CommandPath()}
		}
		return d.Seconds(), nil
	}
}

// watchName reads GROUP:SERVICE.
func watchName(c *cobra.Command, name string) (group, service string, err error) {
	group, service, ok := strings.Cut(name, ":")
	if !ok || group == "" || service == "" {
		return "", "", &usageError{fmt.Errorf("%q is no watch: write GROUP:SERVICE", name), c.CommandPath()}
	}
	return group, service, nil
}

func newAck() *cobra.Command {
	c := &cobra.Command{
		Use:   "ack GROUP:SERVICE",
		Short: "Acknowledge what fails now: no more alerts about that",
		Long: `Acknowledge the failures that a watch has now: no more alerts about them are sent,
nor are they escalated, until they are over. It covers the hosts that fail now; one
that fails later is alerted as ever. The pools go on following. The recovery is told
to those who were told of the failure. With ack_expires the watch asks again after
that time.`,
		Example: "  monitord ack web:http -m \"disk ordered, back on Friday\"",
		Args:    cobra.ExactArgs(1),
	}
	socket, why := socketFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		group, service, err := watchName(c, args[0])
		if err != nil {
			return err
		}
		return operate(c, *socket, control.Operation{Do: "ack", Group: group, Service: service, Why: *why})
	}
	return c
}

func newUnack() *cobra.Command {
	c := &cobra.Command{
		Use:   "unack GROUP:SERVICE",
		Short: "Take an ack back: what fails is alerted again",
		Args:  cobra.ExactArgs(1),
	}
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		group, service, err := watchName(c, args[0])
		if err != nil {
			return err
		}
		return operate(c, *socket, control.Operation{Do: "unack", Group: group, Service: service})
	}
	return c
}

// target reads what is disabled or enabled.
func target(c *cobra.Command, args []string) (control.Operation, error) {
	if len(args) > 1 {
		if args[0] != "host" {
			return control.Operation{}, &usageError{fmt.Errorf("%q: write GROUP, GROUP:SERVICE, or host and its NAME", strings.Join(args, " ")), c.CommandPath()}
		}
		return control.Operation{Hosts: args[1:]}, nil
	}
	if !strings.Contains(args[0], ":") {
		return control.Operation{Group: args[0]}, nil
	}
	group, service, err := watchName(c, args[0])
	return control.Operation{Group: group, Service: service}, err
}

func newDisable() *cobra.Command {
	c := &cobra.Command{
		Use:   "disable GROUP | GROUP:SERVICE | host NAME ...",
		Short: "Let nobody be told of something, and leave its pools as they are",
		Long: `Disable a group, one watch, or hosts, until "enable" or for a time. Of what is
disabled no message is sent, not even of its recovery, and the pools stay as they
are; a group and a watch go on being tested, a host is not tested any more. It is
remembered over restarts, and holds on all directors.

To hold back messages while the pools go on following, use "silence"; about one
failure that somebody takes care of, "ack"; to take a server out of its pool, "drain".`,
		Example: "  monitord disable web -m \"moving house\" --for 2h\n  monitord disable web:http\n  monitord disable host 192.0.2.11",
		Args:    cobra.MinimumNArgs(1),
	}
	socket, why := socketFlag(c), whyFlag(c)
	seconds := forFlag(c, "enable it again after this `TIME`, like 2h; default never")
	c.RunE = func(c *cobra.Command, args []string) error {
		o, err := target(c, args)
		if err != nil {
			return err
		}
		if o.Seconds, err = seconds(); err != nil {
			return err
		}
		o.Do, o.Why = "disable", *why
		return operate(c, *socket, o)
	}
	return c
}

func newEnable() *cobra.Command {
	c := &cobra.Command{
		Use:   "enable GROUP | GROUP:SERVICE | host NAME ...",
		Short: "Undo disable",
		Args:  cobra.MinimumNArgs(1),
	}
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		o, err := target(c, args)
		if err != nil {
			return err
		}
		o.Do = "enable"
		return operate(c, *socket, o)
	}
	return c
}

func newPause() *cobra.Command {
	c := &cobra.Command{
		Use:   "pause",
		Short: "Test nothing and tell nobody, on all directors (mon's stop)",
		Long: `Have nothing tested and nobody told of anything, on all directors, until "resume" or
for a time. The daemons go on running: the pools stay as they are, and the directors
hold their addresses and watch each other. It is remembered over restarts.`,
		Args: cobra.NoArgs,
	}
	socket, why := socketFlag(c), whyFlag(c)
	seconds := forFlag(c, "resume after this `TIME`, like 30m; default never")
	c.RunE = func(c *cobra.Command, _ []string) error {
		length, err := seconds()
		if err != nil {
			return err
		}
		return operate(c, *socket, control.Operation{Do: "pause", Why: *why, Seconds: length})
	}
	return c
}

func newResume() *cobra.Command {
	c := &cobra.Command{Use: "resume", Short: "Undo pause", Args: cobra.NoArgs}
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return operate(c, *socket, control.Operation{Do: "resume"})
	}
	return c
}

// moments are the ways to write a time, in the local time zone where none is given.
var moments = []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"}

// moment reads a time; one of the clock alone is the next such time after another.
func moment(text string, after time.Time) (time.Time, error) {
	for _, layout := range moments {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	clock, err := time.Parse("15:04", text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time: write \"2006-01-02 15:04\", or \"15:04\" for the next time that the clock shows it", text)
	}
	year, month, day := after.In(time.Local).Date()
	t := time.Date(year, month, day, clock.Hour(), clock.Minute(), 0, 0, time.Local)
	if !t.After(after) {
		t = time.Date(year, month, day+1, clock.Hour(), clock.Minute(), 0, 0, time.Local)
	}
	return t, nil
}

var errWhen = errors.New("say when: --for 2h, or --until TIME with or without --from, or --cron \"0 2 * * sun\" --for 1h")
