// Package logfile appends to files that others rotate: alerts to a file of records, the
// daemon to its own log.
package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Mode is that of a new file. What is in it may name hosts and users: it is not for
// everybody.
const Mode = 0o640

// Open opens a plain file for appending, and makes it if it is not there. A symbolic
// link is refused, because whoever may write to its folder could lead a daemon that is
// root to any file. O_NONBLOCK keeps a pipe without a reader from holding up the daemon
// before it is recognised; plain files ignore it.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, Mode)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, which is not followed: name the file itself", path)
	}
	if errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EISDIR) { // a pipe that nobody reads, or a socket; a folder
		return nil, fmt.Errorf("%s is no plain file: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no plain file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// A File is what [Open] returns, as far as [Append] uses it.
type File interface {
	Write(p []byte) (int, error)
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
}

// Append adds a record whole, with a single write, or takes back what there was room
// for: a reader would take half a record and the next one for a single one. If others
// have written after it, it stays, and the error says so.
func Append(f File, record []byte) error {
	before, err := f.Stat()
	if err != nil {
		return err
	}
	n, err := f.Write(record)
	if err == nil || n == 0 {
		return err
	}
	if now, statErr := f.Stat(); statErr != nil || now.Size() != before.Size()+int64(n) {
		return fmt.Errorf("%w; the first %d bytes of the record are in the file", err, n)
	}
	return errors.Join(err, f.Truncate(before.Size()))
}

// Moved reports whether path is no longer the file that is open: it was renamed or
// removed.
func Moved(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return true
	}
	there, err := os.Lstat(path)
	return err != nil || !os.SameFile(open, there)
}
