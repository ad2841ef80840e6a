package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

// A command is a line of a script.
type command struct {
	name, args string // args as people read them; those in [] may be left out
	about      string
	least      int
	do         func(ctx context.Context, l *Lab, args []string) error
}

// commands are all that a script may say.
func commands() []command {
	named := func(f func(*Lab, context.Context, string) error) func(context.Context, *Lab, []string) error {
		return func(ctx context.Context, l *Lab, args []string) error { return f(l, ctx, args[0]) }
	}
	return []command{
		{"start", "NODE", "start the program, where it does not run", 1, func(_ context.Context, l *Lab, args []string) error { return l.Start(args[0]) }},
		{"stop", "NODE", "end it orderly (SIGTERM)", 1, named((*Lab).Stop)},
		{"restart", "NODE", "have it make way for the next process (SIGUSR2)", 1, named((*Lab).Restart)},
		{"reload", "NODE", "have it read its configuration again (SIGHUP)", 1, func(_ context.Context, l *Lab, args []string) error { return l.Reload(args[0]) }},
		{"kill9", "NODE", "kill it", 1, named((*Lab).Kill9)},
		{"freeze", "NODE [DURATION]", "let it stand where it is (SIGSTOP), for a time", 1, freeze},
		{"resume", "NODE", "end that", 1, func(_ context.Context, l *Lab, args []string) error { return l.Resume(args[0]) }},
		{"pull", "MACHINE", "pull a machine's cable: its carrier is gone", 1, named((*Lab).Pull)},
		{"plug", "MACHINE", "put it in again", 1, named((*Lab).Plug)},
		{"cut", "MACHINE", "keep it from everybody, with its carrier", 1, named((*Lab).Cut)},
		{"mute", "MACHINE", "nobody hears it; it hears the others", 1, named((*Lab).Mute)},
		{"deafen", "MACHINE", "it hears nobody; the others hear it", 1, named((*Lab).Deafen)},
		{"partition", "MACHINE MACHINE", "two machines do not hear each other", 2, func(ctx context.Context, l *Lab, args []string) error { return l.Partition(ctx, args[0], args[1]) }},
		{"heal", "", "end all of cut, mute, deafen, partition", 0, func(ctx context.Context, l *Lab, _ []string) error { return l.Heal(ctx) }},
		{"gateway", "down|up", "pull the gateway's cable, or put it in", 1, either("down", "up", (*Lab).Gateway)},
		{"foreign", "on|off", "a machine that is no director takes the address", 1, either("off", "on", (*Lab).Foreign)},
		{"fail", "WEB", "a web server (web1 to web3) dies", 1, func(_ context.Context, l *Lab, args []string) error { return l.Fail(args[0]) }},
		{"return", "WEB", "it is started again", 1, named((*Lab).Return)},
		{"remove-address", "NODE", "somebody takes the address away by hand", 1, named((*Lab).RemoveAddress)},
		{"switchover", "[NODE]", "move the group, to a node or the next best", 0, func(ctx context.Context, l *Lab, args []string) error {
			return l.Switchover(ctx, strings.Join(args, ""))
		}},
		{"wait", "DURATION", "let time pass", 1, wait},
		{"expect", "owner NODE|none [DURATION], outage|near|http DURATION, dual DURATION", "is the owner this one, within 5s or a time; or was what the last\nfault cost at most that long: an outage (near: without the gateway;\nhttp: of pages), or an address that two had at once", 2, expect},
	}
}

func freeze(_ context.Context, l *Lab, args []string) error {
	var resume time.Duration
	if len(args) > 1 {
		var err error
		if resume, err = time.ParseDuration(args[1]); err != nil {
			return err
		}
	}
	return l.Freeze(args[0], resume)
}

// either takes one of two words.
func either(no, yes string, do func(*Lab, context.Context, bool) error) func(context.Context, *Lab, []string) error {
	return func(ctx context.Context, l *Lab, args []string) error {
		if args[0] != no && args[0] != yes {
			return fmt.Errorf("%q is neither %s nor %s", args[0], no, yes)
		}
		return do(l, ctx, args[0] == yes)
	}
}

func wait(ctx context.Context, _ *Lab, args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errUnmet is that something is not as expected.
var errUnmet = errors.New("not as expected")

// ownerTimeout is how long an owner may be another than expected.
const ownerTimeout = 5 * time.Second

// expect judges what there was since the last fault, or waits for an owner.
func expect(ctx context.Context, l *Lab, args []string) error {
	if args[0] == "owner" {
		return l.expectOwner(ctx, args[1:])
	}
	most, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	rows := l.Rows()
	if len(rows) == 0 {
		return fmt.Errorf("expect %s: there was no fault yet", args[0])
	}
	last := rows[len(rows)-1]
	found := map[string]time.Duration{
		"outage": last.Client.Lasted, "near": last.Near.Lasted, "http": last.HTTP.Lasted,
		"dual": max(last.Dual.Kernels, last.Dual.Sampled, time.Duration(last.Dual.Answered)*askPace),
	}
	got, known := found[args[0]]
	switch {
	case !known:
		return fmt.Errorf("expect %q: want owner, outage, near, http or dual", args[0])
	case got > most:
		return fmt.Errorf("%s %s since %s: %w: at most %s", args[0], got.Round(time.Millisecond/10), last.Fault, errUnmet, most)
	}
	return nil
}

func (l *Lab) expectOwner(ctx context.Context, args []string) error {
	patience := ownerTimeout
	if len(args) > 1 {
		var err error
		if patience, err = time.ParseDuration(args[1]); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("after %s", patience))
	defer cancel()
	if err := l.AwaitOwner(ctx, strings.TrimPrefix(args[0], "none")); err != nil {
		return fmt.Errorf("%w: %w", errUnmet, err)
	}
	return nil
}

// parse reads a line. What comes after a # is no part of it; an empty line is no
// command, and nil.
func parse(line string) (do func(ctx context.Context, l *Lab) error, err error) {
	line, _, _ = strings.Cut(line, "#")
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil, nil
	}
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == words[0] })
	if i < 0 {
		return nil, fmt.Errorf("no command %q: there are\n%s", words[0], Commands())
	}
	c, args := all[i], words[1:]
	if len(args) < c.least || len(args) > max(c.least, len(strings.Fields(c.args))) {
		return nil, fmt.Errorf("%q: want %s %s", line, c.name, c.args)
	}
	return func(ctx context.Context, l *Lab) error { return c.do(ctx, l, args) }, nil
}

// Commands lists what a script may say, a line for each.
func Commands() string {
	var text strings.Builder
	const column = 28
	for _, c := range commands() {
		said, about := strings.TrimSpace(c.name+" "+c.args), strings.Split(c.about, "\n")
		if len(said) < column {
			fmt.Fprintf(&text, "  %-*s%s\n", column, said, about[0])
			about = about[1:]
		} else {
			fmt.Fprintf(&text, "  %s\n", said)
		}
		for _, line := range about {
			fmt.Fprintf(&text, "    %s\n", line)
		}
	}
	return text.String()
}

// Do does what one line of a script says.
func (l *Lab) Do(ctx context.Context, line string) error {
	do, err := parse(line)
	if do == nil || err != nil {
		return err
	}
	if err := do(ctx, l); err != nil {
		l.note(Event{At: netif.Boottime(), What: fmt.Sprintf("%s: %v", strings.TrimSpace(line), err)})
		return err
	}
	return nil
}

// Play does what a script says, line by line. Nothing is done if a line makes no sense.
// An expectation that is not met does not end it; all of them are in the error.
func (l *Lab) Play(ctx context.Context, script io.Reader) error {
	var lines []string
	for in := bufio.NewScanner(script); in.Scan(); {
		if _, err := parse(in.Text()); err != nil {
			return fmt.Errorf("line %d: %w", len(lines)+1, err)
		}
		lines = append(lines, in.Text())
	}
	var unmet error
	for i, line := range lines {
		err := l.Do(ctx, line)
		if err != nil {
			err = fmt.Errorf("line %d: %w", i+1, err)
		}
		if err != nil && !errors.Is(err, errUnmet) || ctx.Err() != nil {
			return errors.Join(unmet, err, ctx.Err())
		}
		unmet = errors.Join(unmet, err)
	}
	return unmet
}
