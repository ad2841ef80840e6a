// Package runcmd runs a program of somebody else's and always comes back: it is
// the only package that imports os/exec.
//
// The program gets a process group of its own. When the context ends the whole
// group is asked to stop (SIGTERM) and after a grace killed (SIGKILL); so is
// what a finished program left behind in its group with the output pipe in its
// hands. Output beyond a limit is read and thrown away, so that a program that
// prints without end neither blocks nor eats memory.
//
// The leader of the group is reaped last. Until then its number cannot be given
// to another process, so a signal to the group never reaches a stranger.
//
// PR_SET_PDEATHSIG is not used: it fires when the *thread* that forked ends,
// which a Go program does not control, and it covers the leader only. A daemon
// that is killed leaves its children to the service manager's control group.
package runcmd

import (
	"fmt"
	"syscall"
	"time"
)

// Defaults of a [Command].
const (
	DefaultMaxOutput = 1 << 20
	DefaultGrace     = 500 * time.Millisecond
	DefaultLinger    = time.Second
)

// A Command says what to run.
type Command struct {
	// Path is the program's file; it is not searched for.
	Path string
	// Args is the argument vector with the program's own name in front; nil
	// means just Path.
	Args []string
	// Env is the complete environment, "NAME=value"; of a name given twice the
	// last one counts. nil is an empty environment, not the caller's.
	Env []string
	// Dir is the working folder; empty means the caller's.
	Dir string
	// Stdin is what the program may read; nil connects it to /dev/null.
	Stdin []byte
	// SeparateStderr keeps stderr out of Result.Output; by default both share
	// one pipe, in the order in which they were written.
	SeparateStderr bool
	// MaxOutput is the number of bytes kept of each stream; 0 means
	// DefaultMaxOutput.
	MaxOutput int
	// Grace is how long the group may take to obey SIGTERM; 0 means
	// DefaultGrace. Run returns at most about twice this time after its context
	// ended, unless the machine does not let those run that it killed.
	Grace time.Duration
	// Linger is how long after the leader's end other members of its group may
	// go on writing to the pipe before they are ended; 0 means DefaultLinger.
	Linger time.Duration
}

// A Result is how a program that was started ended.
type Result struct {
	// Exit is the exit status, -1 if a signal ended the program.
	Exit int
	// Signal ended the program; 0 if it exited by itself.
	Signal syscall.Signal
	// Output is the standard output, and unless they were to be kept apart the
	// standard error too; Stderr is the latter otherwise.
	Output, Stderr []byte
	// Dropped counts the bytes of both streams beyond the limit.
	Dropped int64
	// TimedOut is set if the context ended before the program did.
	TimedOut bool
	// Leftover is set if the program had ended by itself but others held the
	// pipe for too long, and were ended if they were of its group.
	Leftover bool
	// Took is the time from the start to the leader's end.
	Took time.Duration
}

// String says in a few words how the program ended.
func (r Result) String() string {
	switch {
	case r.TimedOut:
		return fmt.Sprintf("stopped after %s", r.Took.Round(time.Millisecond))
	case r.Signal != 0:
		return fmt.Sprintf("killed by signal %d (%s)", int(r.Signal), r.Signal)
	}
	return fmt.Sprintf("exit status %d", r.Exit)
}

func (c Command) withDefaults() Command {
	if c.Args == nil {
		c.Args = []string{c.Path}
	}
	if c.Env == nil {
		c.Env = []string{}
	}
	if c.MaxOutput <= 0 {
		c.MaxOutput = DefaultMaxOutput
	}
	if c.Grace <= 0 {
		c.Grace = DefaultGrace
	}
	if c.Linger <= 0 {
		c.Linger = DefaultLinger
	}
	return c
}
