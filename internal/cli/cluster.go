package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/takeover"
)

func newCluster() *cobra.Command {
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Show the directors, their links, and who holds which group",
		Long: `Show what this director knows: the other nodes with the links to them, the gateway,
the guards that work now, and who holds each group since when and why. What a node that
is gone said last is shown as stale.`,
		Example: "  monitord cluster\n  monitord cluster --json | jq '.groups[].owner'",
		Args:    cobra.NoArgs,
	}
	socket := socketFlag(c)
	asJSON := c.Flags().Bool("json", false, "print everything as JSON")
	follow := c.Flags().Bool("watch", false, "show it again each second, until interrupted")
	c.RunE = func(c *cobra.Command, _ []string) error {
		show := func() error { return showCluster(c.Context(), c.OutOrStdout(), *socket, *asJSON) }
		if !*follow {
			return show()
		}
		return repeat(c.Context(), c.OutOrStdout(), *asJSON, show)
	}
	return c
}

func showCluster(ctx context.Context, out io.Writer, socket string, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := control.NewClient(socket)
	if asJSON {
		return printAnswer(ctx, out, client.Cluster)
	}
	var v daemon.ClusterView
	if err := client.Cluster(ctx, &v); err != nil {
		return err
	}
	printClusterView(out, v)
	return nil
}

func printClusterView(out io.Writer, v daemon.ClusterView) {
	printNodes(out, v)
	printLinks(out, v)
	printGuards(out, v.Guards)
	for _, g := range v.Groups {
		printGroup(out, g)
	}
	printEvents(out, v.Events)
	for _, p := range v.Problems {
		fmt.Fprintf(out, "\nproblem: %s\n", p)
	}
}

// shownEvents is how many of the last events people are shown; --json has all.
const shownEvents = 10

func printEvents(out io.Writer, events []daemon.ClusterEvent) {
	if len(events) == 0 {
		return
	}
	fmt.Fprintln(out, "\nlast events:")
	for _, e := range events[max(0, len(events)-shownEvents):] {
		fmt.Fprintf(out, "  %s  %s\n", e.Time.Format("2006-01-02 15:04:05.000"), eventText(e))
	}
}

func eventText(e daemon.ClusterEvent) string {
	var text strings.Builder
	if e.Group != "" {
		fmt.Fprintf(&text, "%s: ", e.Group)
	}
	switch {
	case e.From != "":
		fmt.Fprintf(&text, "%s to %s, ", e.From, e.To)
	case e.Kind == "refusal":
		text.WriteString("stays so, ")
	}
	text.WriteString(e.Reason)
	if e.Without > 0 {
		fmt.Fprintf(&text, "; nobody held it for %s", brief(e.Without))
	}
	return text.String()
}

func printNodes(out io.Writer, v daemon.ClusterView) {
	fmt.Fprintf(out, "this is %s", v.Self)
	if len(v.Gateways) > 0 {
		fmt.Fprintf(out, ", gateway %s %s", strings.Join(v.Gateways, " "), either(v.Connected, "answers", "DOES NOT ANSWER"))
	}
	fmt.Fprint(out, "\n\n")
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tSTATE\tHEARD\tGATEWAY\tREMARKS")
	for _, n := range v.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", n.Name, n.State, heardAgo(n), gatewayOf(n), remarks(n))
	}
	_ = table.Flush() // a terminal that is gone needs no table
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func heardAgo(n takeover.NodeView) string {
	switch {
	case n.Self:
		return "-"
	case n.State == "unheard":
		return "never"
	}
	return brief(n.Silent) + " ago"
}

func gatewayOf(n takeover.NodeView) string {
	switch {
	case n.State == "unheard" && !n.Self:
		return "-"
	case n.Stale:
		return "(" + either(n.Gateway, "answered", "lost") + ")"
	}
	return either(n.Gateway, "answers", "LOST")
}

func remarks(n takeover.NodeView) string {
	var all []string
	for _, r := range []struct {
		is   bool
		text string
	}{{n.Self, "this node"}, {n.Witness, "witness"}, {n.Maintenance, "maintenance"}, {n.Differs, "ANOTHER CONFIGURATION"}, {n.Stale, "stale"}} {
		if r.is {
			all = append(all, r.text)
		}
	}
	return strings.Join(all, ", ")
}

func printLinks(out io.Writer, v daemon.ClusterView) {
	if len(v.Links) == 0 {
		return
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "LINK\tTO\tSTATE\tHEARD\tTHERE AND BACK")
	for _, l := range v.Links {
		heard, latency := "never", "-"
		if l.Heard >= 0 {
			heard = brief(l.Heard) + " ago"
		}
		if l.Latency > 0 {
			latency = brief(l.Latency)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", l.Name, l.Node, l.State, heard, latency)
	}
	_ = table.Flush()
}

// printGuards names those that count now, those that should, and those that there are not,
// which "monitord check" explains.
func printGuards(out io.Writer, guards []daemon.GuardView) {
	var live, absent []string
	for _, g := range guards {
		switch {
		case g.Live:
			live = append(live, g.Name)
		case !g.Configured:
			absent = append(absent, g.Name)
		}
	}
	if len(guards) > 0 {
		fmt.Fprintf(out, "\nguards: %s\n", strings.Join(live, ", "))
	}
	for _, g := range guards {
		if g.Configured && !g.Live {
			fmt.Fprintf(out, "  %s DOES NOT WORK: %s\n", g.Name, g.Detail)
		}
	}
	if len(absent) > 0 {
		fmt.Fprintf(out, "  not configured: %s\n", strings.Join(absent, ", "))
	}
}

func printGroup(out io.Writer, g takeover.GroupView) {
	owner := "held by " + g.Owner
	if g.Owner == "" {
		owner = "HELD BY NOBODY that is heard"
	}
	fmt.Fprintf(out, "\n%s  %s  %s, epoch %d\n", g.Name, strings.Join(g.Addresses, " "), owner, g.Epoch)
	table := tabwriter.NewWriter(out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(table, "  NODE\tROLE\tSINCE\tWHY")
	for _, n := range g.Nodes {
		since := "-"
		if n.Since >= 0 {
			since = (time.Duration(n.Since) * time.Second).String()
		}
		why := n.Why
		if n.Refusal != "" {
			why += "; stays so: " + n.Refusal
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", n.Node, n.Role+either(n.Stale, " (stale)", ""), since, why)
	}
	_ = table.Flush()
}

// brief writes seconds as people want to read them.
func brief(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func newSwitchover() *cobra.Command {
	c := &cobra.Command{
		Use:   "switchover GROUP [NODE]",
		Short: "Move a group to another director",
		Long: `Move a group to NODE, or to the best other director: the owner releases it, and
the other takes it at once. It stays there, whatever failback says, until an
operator moves it or that director loses it.`,
		Example: "  monitord switchover web\n  monitord switchover web dr2",
		Args:    cobra.RangeArgs(1, 2),
	}
	socket := socketFlag(c)
	wait := c.Flags().Duration("wait", callTimeout, "how long to wait until it is done")
	c.RunE = func(c *cobra.Command, args []string) error {
		command := control.Command{Command: "switchover", Group: args[0]}
		if len(args) == 2 {
			command.Node = args[1]
		}
		return switchover(c.Context(), c.OutOrStdout(), control.NewClient(*socket), command, *wait)
	}
	return c
}

// switchover has a group moved, and waits until it is, or until it is refused.
func switchover(ctx context.Context, out io.Writer, client *control.Client, command control.Command, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	before, err := groupOf(ctx, client, command.Group)
	if err != nil {
		return err
	}
	said, err := client.Command(ctx, command)
	if err != nil {
		return err
	}
	for {
		now, err := groupOf(ctx, client, command.Group)
		switch {
		case err == nil && moved(before, now, command.Node):
			_, err := fmt.Fprintf(out, "%s: from %s to %s\n", command.Group, either(before.Owner == "", "nobody", before.Owner), now.Owner)
			return err
		case err == nil && now.Denied != "":
			return fmt.Errorf("%s was not moved: %s", command.Group, now.Denied)
		case err != nil && ctx.Err() == nil:
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was not moved: %s", command.Group, strings.Join(said, "; "))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// moved tells whether a group has another owner than before, the one that was wished for
// if one was.
func moved(before, now takeover.GroupView, to string) bool {
	return now.Owner != "" && now.Owner != before.Owner && (to == "" || now.Owner == to)
}

// groupOf is what a node knows of a group.
func groupOf(ctx context.Context, client *control.Client, group string) (takeover.GroupView, error) {
	var v daemon.ClusterView
	if err := client.Cluster(ctx, &v); err != nil {
		return takeover.GroupView{}, err
	}
	var names []string
	for _, g := range v.Groups {
		if g.Name == group {
			return g, nil
		}
		names = append(names, g.Name)
	}
	return takeover.GroupView{}, fmt.Errorf("no group %q; there are %s", group, strings.Join(names, ", "))
}

func newMaintenance() *cobra.Command {
	c := &cobra.Command{
		Use:   "maintenance on|off [NODE]",
		Short: "Have a director hand over everything, and take nothing",
		Long: `With "on" this director, or NODE, hands over each group that another can hold, and
takes nothing; it keeps what nobody else can hold. That is remembered over restarts,
until "off".`,
		Example: "  monitord maintenance on\n  monitord maintenance off dr2",
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.RangeArgs(1, 2)(c, args); err != nil {
				return err
			}
			return cobra.OnlyValidArgs(c, args[:1])
		},
		ValidArgs: []string{"on", "off"},
	}
	socket := socketFlag(c)
	wait := c.Flags().Duration("wait", callTimeout, "how long to wait until NODE says that it is so")
	c.RunE = func(c *cobra.Command, args []string) error {
		command := control.Command{Command: "maintenance " + args[0]}
		if len(args) == 1 {
			return say(c, *socket, command)
		}
		command.Node = args[1]
		return maintain(c.Context(), c.OutOrStdout(), control.NewClient(*socket), command, *wait)
	}
	return c
}

// maintain has a node told, and waits until it says that it is so.
func maintain(ctx context.Context, out io.Writer, client *control.Client, command control.Command, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said, err := client.Command(ctx, command)
	if err != nil {
		return err
	}
	for {
		var v daemon.ClusterView
		err := client.Cluster(ctx, &v)
		switch {
		case err == nil && hasIt(v, command):
			_, err := fmt.Fprintf(out, "%s: %s\n", command.Node, command.Command)
			return err
		case err != nil && ctx.Err() == nil:
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not say %q: %s", command.Node, command.Command, strings.Join(said, "; "))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// hasIt tells whether a node's maintenance is as it was ordered. This node itself has
// carried out the command when it was answered.
func hasIt(v daemon.ClusterView, command control.Command) bool {
	for _, n := range v.Nodes {
		if n.Name == command.Node {
			return n.Self || !n.Stale && n.Maintenance == (command.Command == "maintenance on")
		}
	}
	return false
}

func newFailback() *cobra.Command {
	c := &cobra.Command{
		Use:   "failback GROUP",
		Short: "Move a group to its best director now, whatever failback says",
		Args:  cobra.ExactArgs(1),
	}
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return say(c, *socket, control.Command{Command: "failback", Group: args[0]})
	}
	return c
}

func newClear() *cobra.Command {
	c := &cobra.Command{
		Use:   "clear GROUP",
		Short: "Forgive failed starts of a group, so that it is tried again now",
		Args:  cobra.ExactArgs(1),
	}
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return say(c, *socket, control.Command{Command: "clear faults", Group: args[0]})
	}
	return c
}

func newFenced() *cobra.Command {
	c := &cobra.Command{
		Use:   "fenced NODE",
		Short: "Swear that a node is off, and holds nothing",
		Long: `Swear that a node is powered off, or holds nothing for another reason. What it held
is taken over at once. If that is not true, two directors may hold one address.`,
		Args: cobra.ExactArgs(1),
	}
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return say(c, *socket, control.Command{Command: "confirm fenced", Node: args[0]})
	}
	return c
}

// say hands over a command, and prints what the daemon says to it.
func say(c *cobra.Command, socket string, command control.Command) error {
	ctx, cancel := context.WithTimeout(c.Context(), callTimeout)
	defer cancel()
	said, err := control.NewClient(socket).Command(ctx, command)
	if err != nil {
		return err
	}
	if len(said) == 0 {
		return errors.New("nothing to be done")
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), strings.Join(said, "\n"))
	return err
}
