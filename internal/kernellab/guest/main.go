//go:build linux

// Guest is what the kernel lab starts where the tests run. It has three roles:
//
//	(as process 1)        the machine's init: mounts, runs the plan, powers off
//	guest plan FOLDER     runs the plan of a run
//	guest enter CMD...    in new namespaces: makes them fit to live in, executes CMD
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/kernellab/plan"
)

func main() {
	var err error
	switch {
	case os.Getpid() == 1:
		err = initialize()
	case len(os.Args) > 2 && os.Args[1] == "plan":
		err = runPlan(os.Args[2])
	case len(os.Args) > 2 && os.Args[1] == "enter":
		err = enter(os.Args[2:])
	default:
		err = errors.New("usage: guest plan FOLDER | guest enter COMMAND [ARGUMENT]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernellab:", err)
		os.Exit(1)
	}
}

func runPlan(folder string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	p, err := plan.Read(folder)
	if err != nil {
		return err
	}
	return p.Run(ctx, []string{"/proc/self/exe", "enter"}, os.Stdout)
}

// enter finishes what the clone flags of the new process began: mounts that stay
// inside, a /sys that shows this network namespace's devices, and a loopback
// that is up.
func enter(command []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return fmt.Errorf("execute %s: %w", command[0], unix.Exec(command[0], command, os.Environ()))
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
