package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

func newLab() *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Try out a cluster, and its faults, in network namespaces",
		Long: `Build a small site in network namespaces of its own: a client behind a gateway, two
directors that share an address, three web servers. Run this program on the directors,
have faults happen, and measure how long the client went without an answer, and how
long two directors had the address. Nothing of it is visible from outside, and nothing
is left behind. It needs root, or a kernel that lets users have a user namespace.

The faults come from a script, or line by line from the standard input:

` + lab.Commands() + `
The timeline is printed as it happens, and at the end a table: what each fault cost
until the next. The exit status is 0 if all that was expected was so, and no instant
had two owners.

The directors are dr1 10.7.0.11 and dr2 10.7.0.12, the web servers 10.7.0.21 to 23,
the gateway 10.7.0.1, the witness 10.7.0.31; statedir and socket of a configuration
that is given are the lab's.`,
		Example: `  monitord lab
  printf '%s\n' 'expect owner dr1' 'kill9 dr1' 'expect owner dr2' 'wait 2s' | monitord lab
  monitord lab --witness -c cluster.toml --script faults.txt`,
		Args: cobra.NoArgs,
	}
	f := labFlags{}
	f.add(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !lab.Inside() {
			exit, err := lab.Reexec(c.Context(), c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
			if err != nil || exit == 0 {
				return err
			}
			return exitStatus(exit)
		}
		return f.run(c)
	}
	return c
}

// labFlags are the arguments, as they were typed.
type labFlags struct {
	config, script, address, group string
	directors                      int
	witness, secondNetwork, near   bool
}

func (f *labFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.config, "config", "c", "", "the nodes' configuration `FILE`; default a built-in one")
	c.Flags().StringVar(&f.script, "script", "", "take the faults from a `FILE`; default the standard input")
	c.Flags().StringVar(&f.address, "address", "10.7.0.100", "the `ADDRESS` that the directors share")
	c.Flags().StringVar(&f.group, "group", "web", "the `NAME` of its group, for switchovers")
	c.Flags().IntVar(&f.directors, "nodes", 2, "how many directors there are")
	c.Flags().BoolVar(&f.witness, "witness", false, "add a witness")
	c.Flags().BoolVar(&f.secondNetwork, "second-network", false, "connect the nodes by a second network, 10.9.0.0/24")
	c.Flags().BoolVar(&f.near, "near", false, "add a client that needs no gateway")
	_ = c.MarkFlagFilename("config", "toml") // the flags exist
	_ = c.MarkFlagFilename("script")
}

func (f *labFlags) run(c *cobra.Command) error {
	settings, err := f.settings(c)
	if err != nil {
		return err
	}
	script, interactive := c.InOrStdin(), f.script == ""
	if !interactive {
		file, err := os.Open(f.script)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		script = file
	}
	out := c.OutOrStdout()
	settings.Happened = timeline(out)
	l, err := lab.Open(c.Context(), settings)
	if err != nil {
		return err
	}
	err = l.StartAll()
	if err == nil && interactive {
		err = converse(c.Context(), l, script, out)
	} else if err == nil {
		err = l.Play(c.Context(), script)
	}
	return errors.Join(err, verdict(out, l.Rows()), l.Close())
}

func (f *labFlags) settings(c *cobra.Command) (lab.Settings, error) {
	a, err := netip.ParseAddr(f.address)
	if err != nil {
		return lab.Settings{}, &usageError{fmt.Errorf("--address: %w", err), c.CommandPath()}
	}
	s := lab.Settings{
		Directors: f.directors, Witness: f.witness, SecondNetwork: f.secondNetwork, Near: f.near,
		Address: a, Group: f.group,
	}
	if f.config == "" {
		return s, nil
	}
	text, err := os.ReadFile(f.config)
	s.Config = func(n lab.Node) string { return ownPlaces(string(text), n) }
	return s, err
}

// ownPlaces gives a node its own statedir and socket, in place of those at the top of
// a configuration, before its first table. A key file of the name ${LAB_KEY} is the lab's,
// and ${LAB_BACKEND} what its directors can forward by.
func ownPlaces(text string, n lab.Node) string {
	top, tables := text, ""
	if i := regexp.MustCompile(`(?m)^\s*\[`).FindStringIndex(text); i != nil {
		top, tables = text[:i[0]], text[i[0]:]
	}
	top = regexp.MustCompile(`(?m)^\s*(statedir|socket|logdir)\s*=.*$`).ReplaceAllString(top, "")
	places := fmt.Sprintf("statedir = %q\nsocket = %q\n", n.StateDir(), n.Socket())
	for name, value := range map[string]string{"LAB_KEY": n.KeyFile, "LAB_BACKEND": n.Backend} {
		tables = regexp.MustCompile(`\$\{`+name+`(:-[^}]*)?\}`).ReplaceAllLiteralString(tables, value)
	}
	return places + top + tables
}

// timeline prints what happens, in seconds since the first of it.
func timeline(out io.Writer) func(lab.Event) {
	first := sync.OnceValue(netif.Boottime)
	return func(e lab.Event) {
		fmt.Fprintf(out, "%8.3f  %s\n", max(0, e.At-first()).Seconds(), e)
	}
}

// converse does what it reads, line by line, until the end or the word "exit". What
// went wrong is printed; an expectation that was not met is an error at the end, too.
func converse(ctx context.Context, l *lab.Lab, in io.Reader, out io.Writer) error {
	file, isFile := in.(*os.File)
	onTerminal := isFile && term.IsTerminal(int(file.Fd()))
	var bad error
	for lines := readLines(ctx, in); ; {
		if onTerminal {
			fmt.Fprint(out, "lab> ")
		}
		select {
		case <-ctx.Done():
			return bad
		case line, more := <-lines:
			if !more || strings.TrimSpace(line) == "exit" {
				return bad
			}
			err := l.Do(ctx, line)
			if err != nil && onTerminal {
				fmt.Fprintln(out, err)
				continue
			}
			bad = errors.Join(bad, err)
		}
	}
}

// readLines reads on a goroutine, which lives until the process ends if nothing more
// is typed: a read of a terminal cannot be ended.
func readLines(ctx context.Context, in io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

// verdict prints the table; its error is that two had the address.
func verdict(out io.Writer, rows []lab.Row) error {
	fmt.Fprintln(out)
	if err := lab.WriteTable(out, rows); err != nil {
		return err
	}
	var dual time.Duration
	for _, r := range rows {
		if !r.Dual.None() {
			dual += max(r.Dual.Kernels, r.Dual.Sampled, time.Nanosecond)
		}
	}
	if dual > 0 {
		return fmt.Errorf("two directors had the address at once, for %s", dual)
	}
	return nil
}
