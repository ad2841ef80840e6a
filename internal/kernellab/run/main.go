//go:build linux

// Run is the kernel lab: it runs the tests that need the kernel's IPVS where
// there is one. That is here, in a new network namespace, if this is root and
// the kernel has ip_vs; otherwise in a small virtual machine (QEMU) that is made
// of Debian's packages, unpacked in the cache of the checkout.
//
//	go run ./internal/kernellab/run [-run REGEX] [-native|-vm] [-v] [PACKAGE...]
//	go run ./internal/kernellab/run -check
//
// Without packages it runs all of the module that have a test named TestKernel….
// The output is that of "go test -v"; the exit code is 1 if a test failed, or if
// none ran in one of the packages. The tests find a static monitord by the
// environment variable MONITORD_BINARY, built here unless it is set already.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/kernellab/plan"
)

// A lab is one run.
type lab struct {
	pattern  string
	native   bool
	machine  bool
	verbose  bool
	check    bool
	timeout  time.Duration
	packages []string

	folder string // of this run, removed at its end
}

func main() {
	// The death of a parent is that of the thread that started the child: stay on
	// one that lives as long as the process.
	runtime.LockOSThread()
	// "go run" killed means the lab killed, and that the machine.
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	l, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err == nil {
		err = l.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernellab:", err)
		stop()
		os.Exit(1)
	}
}

func parse(args []string) (lab, error) {
	var l lab
	flags := flag.NewFlagSet("kernellab", flag.ContinueOnError)
	flags.StringVar(&l.pattern, "run", "^TestKernel", "run the tests that match this regular `expression`")
	flags.BoolVar(&l.native, "native", false, "here, or not at all")
	flags.BoolVar(&l.machine, "vm", false, "in the virtual machine, even if it could be here")
	flags.BoolVar(&l.verbose, "v", false, "tell what is prepared and how long it took, and show the machine's console")
	flags.BoolVar(&l.check, "check", false, "only tell whether the tests can run, and where; fetches what the virtual machine is made of")
	flags.DurationVar(&l.timeout, "timeout", 20*time.Minute, "kill what runs after this `time`")
	if err := flags.Parse(args); err != nil {
		return l, err
	}
	l.packages = flags.Args()
	if l.native && l.machine {
		return l, errors.New("-native and -vm exclude each other")
	}
	return l, nil
}

func (l *lab) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.timeout, fmt.Errorf("not done after %v", l.timeout))
	defer cancel()
	machine, err := l.where()
	if err != nil {
		return err
	}
	if l.check {
		return l.say(ctx, machine)
	}
	if l.folder, err = os.MkdirTemp("", "kernellab-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(l.folder) }()
	start := time.Now()
	p, err := l.build(ctx)
	if err != nil {
		return err
	}
	l.tell("built in %.1f s", time.Since(start).Seconds())
	if machine {
		err = l.inMachine(ctx, p)
	} else {
		err = l.here(ctx, p)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return errors.Join(cause, err)
	}
	return err
}

// where decides between here and the machine.
func (l *lab) where() (machine bool, err error) {
	if l.machine {
		return true, nil
	}
	err = kernellab.Probe()
	switch {
	case err == nil:
		l.tell("natively")
		return false, nil
	case l.native:
		return false, err
	}
	l.tell("in a virtual machine: %v", err)
	return true, nil
}

// say is all of a run with -check.
func (l *lab) say(ctx context.Context, machine bool) error {
	place := "on this kernel"
	if machine {
		parts, err := gather(ctx)
		if err != nil {
			return err
		}
		place = "in a virtual machine with Linux " + parts.kernel.version
	}
	_, err := fmt.Println("the tests that need the kernel's IPVS can run", place)
	return err
}

// here runs the plan in namespaces of this kernel.
func (l *lab) here(ctx context.Context, p plan.Plan) error {
	if err := p.Write(l.folder); err != nil {
		return err
	}
	return command(ctx, os.Stdout, l.path("guest"), "plan", l.folder).Run()
}

// tell explains itself on the standard error, if asked to.
func (l *lab) tell(format string, args ...any) {
	if l.verbose {
		_, _ = fmt.Fprintf(os.Stderr, "kernellab: "+format+"\n", args...)
	}
}
