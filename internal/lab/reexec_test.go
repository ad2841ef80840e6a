//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asInsider makes the test binary a program that runs itself again in namespaces,
// starts there a process that nobody waits for, and then ends or stays, as it says.
const asInsider = "MONITORD_LAB_TEST_INSIDER"

func insider(role string) (exit int) {
	if role == "orphan" {
		<-time.After(time.Hour)
		return 0
	}
	if !Inside() {
		exit, err := Reexec(context.Background(), os.Stdin, os.Stdout, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return exit
	}
	orphan := exec.Command("/proc/self/exe")
	orphan.Env = append(os.Environ(), asInsider+"=orphan")
	orphan.Stdout = os.Stdout // whose end tells that it is gone
	orphan.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := orphan.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("process", os.Getpid(), "temporary folder", os.TempDir())
	if role == "stay" {
		<-time.After(time.Hour)
	}
	return 7
}

// startInsider returns its output, which is at its end when all that it started is gone.
func startInsider(t *testing.T, role string) (*exec.Cmd, *os.File) {
	t.Helper()
	ours, theirs, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { _ = ours.Close() })
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asInsider+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = theirs, os.Stderr
	must(t, cmd.Start())
	must(t, theirs.Close())
	must(t, ours.SetReadDeadline(time.Now().Add(patience)))
	return cmd, ours
}

func TestReexec(t *testing.T) {
	cmd, out := startInsider(t, "leave")
	text, err := io.ReadAll(out)
	must(t, err)
	_ = cmd.Wait() // the status is looked at
	if got := cmd.ProcessState.ExitCode(); got != 7 {
		t.Errorf("exit status %d, want the program's own, 7", got)
	}
	if !strings.HasPrefix(string(text), "process ") || !strings.Contains(string(text), folders) {
		t.Errorf("it says %q", text)
	}
}

// TestReexecKilled: kill -9 of the program that is seen from outside ends everything
// inside, the process that left its family included.
func TestReexecKilled(t *testing.T) {
	cmd, out := startInsider(t, "stay")
	buffer := make([]byte, 100)
	_, err := out.Read(buffer) // it has started all
	must(t, err)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	_, err = io.ReadAll(out)
	must(t, err)
}
