// Demo shows monitord at its main job on real servers, on loopback and without
// root: three web servers behind one virtual service, a client that never stops
// asking, a mailbox. One server dies, leaves the pool, a mail says so; it
// returns and is put back. It exits with 0 only if all of that was seen.
//
//	make demo              the story, about ten seconds
//	make demo STAY=1       the same, and then all of it is yours to play with
//
// The daemon is the real binary with etc/demo.toml, which takes the addresses
// from the environment. Everything else is in this folder: the web servers
// (web.go), the client (client.go), the daemon as a process (daemon.go), and the
// story that is told about them (story.go).
//
// The servers have addresses of their own, 127.0.0.101 and up: Linux has the
// whole of 127.0.0.0/8 on loopback. No connection leaves from there, so the port
// of a server that is dead stays free until it returns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the command line and the environment.
type options struct {
	monitord, config string
	// patience is how long each part of the story may take.
	patience time.Duration
	stay     bool
}

func main() {
	var o options
	flag.StringVar(&o.monitord, "monitord", "bin/monitord", "the daemon's `PROGRAM`")
	flag.StringVar(&o.config, "config", "etc/demo.toml", "its configuration `FILE`")
	flag.DurationVar(&o.patience, "patience", 20*time.Second, "how long each part of the story may take")
	flag.Parse()
	o.stay = os.Getenv("STAY") == "1"

	// A reader that goes away, as in "make demo | head", must not end the demo before
	// it has cleaned up. To be notified would not do: that counts sockets as well.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run opens the scene, plays the story, and clears everything away, whatever
// happened. An interrupt is an error until the story is over.
func run(ctx context.Context, o options, in io.Reader, out io.Writer) error {
	d, err := open(o, out)
	if err != nil {
		return err
	}
	err = d.play(ctx)
	if err == nil && o.stay {
		d.stay(ctx, in)
	}
	err = errors.Join(err, d.close())
	if err != nil {
		d.printLog()
		return err
	}
	d.verdict()
	return os.RemoveAll(d.folder)
}
