package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stage tells a program that was started again who it is.
const stage = "MONITORD_LAB_STAGE"

const (
	stageInit   = "init"   // the first process of the namespaces, which does nothing but wait
	stageInside = "inside" // the program
)

// folders is where labs keep their files once inside: nobody else sees that tmpfs.
const folders = "/run"

// Inside reports whether this program was started by [Reexec].
func Inside() bool { return os.Getenv(stage) == stageInside }

// Reexec runs this program again, with the same arguments, in new namespaces for
// network, mounts and processes; for others than root in a new user namespace, too.
// It returns the exit status when the program has ended, and by then nothing that was
// started inside is left. When ctx ends it is asked to end (SIGTERM).
//
// Programs call it first thing, unless they are [Inside]. The process in between, the
// first of the new namespaces, never returns from Reexec.
func Reexec(ctx context.Context, in io.Reader, out, errs io.Writer) (exit int, err error) {
	if os.Getenv(stage) == stageInit {
		os.Exit(beFirst())
	}
	runtime.LockOSThread() // Pdeathsig is about this thread.
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stage+"="+stageInit)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("new namespaces (needs root, or a kernel that lets users have a user namespace): %w", err)
	}
	err = cmd.Wait()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.Exited() {
		return ended.ExitCode(), nil
	}
	return 0, err
}

// beFirst is what the first process of the namespaces does: it makes them liveable,
// runs the program, and buries whoever lost his parent. When it ends the kernel ends
// all others.
func beFirst() (exit int) {
	err := furnish()
	var cmd *exec.Cmd
	if err == nil {
		// "self" was looked up before /proc was another; this is the same file.
		cmd = exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Env = append(os.Environ(), stage+"="+stageInside, "TMPDIR="+folders)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		runtime.LockOSThread()
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	asked := make(chan os.Signal, 8)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		for s := range asked { // until the process ends
			_ = cmd.Process.Signal(s) // Gone: its end is seen below.
		}
	}()
	return bury(cmd.Process.Pid)
}

// furnish gives the mount namespace its own /proc, and a /run that is gone with it.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc (forbidden in a container that hides parts of it): %w", err)
	}
	if err := unix.Mount("tmpfs", folders, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount %s: %w", folders, err)
	}
	return nil
}

// bury waits for all children, and returns the exit status of the one that counts.
func bury(program int) int {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1
		case pid == program && status.Signaled():
			return 128 + int(status.Signal())
		case pid == program:
			return status.ExitStatus()
		}
	}
}
