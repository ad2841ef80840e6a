// Run has random faults happen to a pair of directors, and checks all the time that what
// is promised is so.
//
//	go run ./internal/soak/run -binary bin/monitord -minutes 10
//
// It ends with 1 if not; what was done, and what was logged, is in -folder.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/soak"
)

func main() {
	o := soak.Options{Out: os.Stdout}
	flag.StringVar(&o.Binary, "binary", "bin/monitord", "the daemon's `FILE`")
	minutes := flag.Float64("minutes", 10, "how long")
	flag.Uint64Var(&o.Seed, "seed", 0, "the faults' seed; 0 is a new one")
	flag.BoolVar(&o.Witness, "witness", false, "add a witness")
	flag.DurationVar(&o.Allowance, "allowance", 150*time.Millisecond, "what a noisy machine may add to an outage")
	flag.StringVar(&o.Folder, "folder", ".cache/soak", "where script and logs are kept")
	flag.Parse()
	o.Lasts = time.Duration(*minutes * float64(time.Minute))
	for o.Seed == 0 {
		o.Seed = uint64(rand.Uint32())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if !lab.Inside() {
		exit, err := lab.Reexec(ctx, os.Stdin, os.Stdout, os.Stderr)
		end(exit, err)
	}
	end(0, run(ctx, o))
}

func run(ctx context.Context, o soak.Options) error {
	summary, err := soak.Run(ctx, o)
	if summary == nil {
		return err
	}
	fmt.Println()
	if bad := summary.Write(os.Stdout); err == nil {
		err = bad
	}
	return err
}

func end(exit int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		exit = max(exit, 1)
	}
	os.Exit(exit)
}
