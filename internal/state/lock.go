package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// InUse is the error of [Open] when another process holds the folder.
type InUse struct {
	Dir string
	// PID is the other process; 0 if it could not be found out.
	PID int
}

func (e *InUse) Error() string {
	who := "another monitord"
	if e.PID != 0 {
		who = fmt.Sprintf("another monitord, process %d", e.PID)
	}
	return fmt.Sprintf("the folder %s is in use by %s: end that one, or give each its own \"statedir\"", e.Dir, who)
}

// hold locks the folder. The kernel lets go of the lock when the process ends, in
// whatever way; the file stays, since removing it would let two processes hold
// two files of one name.
func hold(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder for the state: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		inUse := &InUse{Dir: dir, PID: readPID(f)}
		return nil, errors.Join(inUse, f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock the folder %s: %w", dir, err), f.Close())
	}
	writePID(f)
	return f, nil
}

// writePID leaves our number for who comes second. On a full disk it cannot be
// written; the lock holds all the same, and a wrong number must not stay.
func writePID(f *os.File) {
	if _, err := f.WriteAt(fmt.Appendf(nil, "%-19d\n", os.Getpid()), 0); err != nil {
		_ = f.Truncate(0)
	}
}

func readPID(f *os.File) int {
	text, err := io.ReadAll(io.LimitReader(f, 20))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}
