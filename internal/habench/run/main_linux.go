// Run has the faults of failing over happen many times, with keepalived beside, and
// prints what clients saw of them.
//
//	go run ./internal/habench/run -binary bin/monitord -repeat 10
//
// It ends with 1 if any instant had two owners, or a median is beyond its figure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/internal/habench"
	"github.com/monitord/monitord/internal/lab"
)

type options struct {
	binary             string
	repeat, keepalived int
	lanes              int
	only               *regexp.Regexp
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/monitord", "the daemon's `FILE`")
	flag.IntVar(&o.repeat, "repeat", 10, "repetitions of each fault")
	flag.IntVar(&o.keepalived, "keepalived", 3, "repetitions of each fault with keepalived; 0 leaves it out")
	flag.IntVar(&o.lanes, "lanes", 2, "how many labs are in use at once; a core for each leaves the figures undisturbed")
	only := flag.String("only", "", "only the faults whose name, after the contender's, matches a `REGEXP`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		err = o.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ha-bench:", err)
		stop()
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	contenders := []habench.Contender{habench.Monitord(o.binary, false), habench.Monitord(o.binary, true)}
	if o.keepalived > 0 {
		// Before there is no network any more; then it is found again.
		tree, err := debian.Fetch(ctx, "keepalived")
		if err != nil {
			return err
		}
		contenders = append([]habench.Contender{habench.Keepalived(tree, false), habench.Keepalived(tree, true)}, contenders...)
	}
	if !lab.Inside() {
		exit, err := lab.Reexec(ctx, os.Stdin, os.Stdout, os.Stderr)
		if err == nil && exit != 0 {
			os.Exit(exit)
		}
		return err
	}
	return o.measure(ctx, contenders)
}

// measure prints accounts of single repetitions as they come, then the table.
func (o options) measure(ctx context.Context, contenders []habench.Contender) error {
	began := time.Now()
	results, err := habench.RunAll(ctx, o.series(contenders), o.lanes, func(text string) {
		fmt.Fprintf(os.Stderr, "%6.0fs %s\n", time.Since(began).Seconds(), text)
	})
	fmt.Println()
	habench.WriteTable(os.Stdout, results)
	return errors.Join(err, habench.Verdict(results))
}

func (o options) series(contenders []habench.Contender) []habench.Series {
	var all []habench.Series
	for _, f := range habench.Faults() {
		for _, c := range contenders {
			s := habench.Series{Contender: c, Fault: f, Repetitions: o.repeat}
			if !c.Own {
				s.Repetitions = o.keepalived
			}
			if (c.Own || !f.Own) && o.only.MatchString(c.Name+", "+f.Name) {
				all = append(all, s)
			}
		}
	}
	return all
}
