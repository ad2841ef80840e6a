package monprog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrUntrusted is in the chain of the error about a program that others could have
// written, or put in the place of the right one.
var ErrUntrusted = errors.New("whoever may write there would be root")

// Trusted refuses, to root, a program that somebody else may change: the file, and
// each folder on the way to it from the root, symbolic links followed one by one,
// must belong to root, and be writable by nobody else. Others than root may run
// what they like. Programs are checked when a configuration is read and before
// each call.
//
// The rule is that of sshd for authorized_keys and of sudo for sudoers, with one
// more case: in a folder with the sticky bit, such as /tmp, only the owner of an
// entry may rename or remove it (unlink(2), EPERM), so that an entry of root's in a
// folder of root's is safe there. Members of group 0 count as root.
//
// What passes stays as it was until root itself changes it: nobody else may touch
// any part of the way. Not looked at are interpreters (#!), libraries, access
// control lists, and what a program reads or calls.
func Trusted(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := newWalker(0).walk(path); err != nil {
		return fmt.Errorf("%s is not run by root: %w", path, err)
	}
	return nil
}

// Suspicious says what root would refuse of a program that the present user runs;
// nil if nothing.
func Suspicious(path string) error {
	return newWalker(os.Geteuid()).walk(path)
}

// maxLinks is how many symbolic links the kernel follows (path_resolution(7)).
const maxLinks = 40

// A walker looks at each part of a path, as a user would go.
type walker struct {
	uid      int
	lstat    func(string) (fs.FileInfo, error)
	readlink func(string) (string, error)
	owner    func(fs.FileInfo) (uid, gid int, ok bool)
	links    int
}

func newWalker(uid int) *walker {
	return &walker{uid: uid, lstat: os.Lstat, readlink: os.Readlink, owner: ownerOf}
}

// walk goes from the root down, as the kernel does: what ".." after a symbolic link
// leads to is not what filepath.Clean makes of it.
func (w *walker) walk(path string) error {
	if !filepath.IsAbs(path) {
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		path = here + "/" + path
	}
	at := "/"
	if err := w.safe(at); err != nil {
		return err
	}
	rest := strings.Split(path, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at) // which was walked through
			continue
		}
		next := filepath.Join(at, part)
		target, err := w.step(next)
		switch {
		case err != nil:
			return err
		case target == "":
			at = next
			continue
		case filepath.IsAbs(target):
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return nil
}

// step looks at one part, and returns where it leads to if it is a symbolic link.
func (w *walker) step(path string) (target string, err error) {
	info, err := w.lstat(path)
	if err != nil {
		return "", err
	}
	if err := w.judge(path, info); err != nil {
		return "", err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return "", nil
	}
	if w.links++; w.links > maxLinks {
		return "", fmt.Errorf("%s: more than %d symbolic links", path, maxLinks)
	}
	return w.readlink(path)
}

func (w *walker) safe(path string) error {
	info, err := w.lstat(path)
	if err != nil {
		return err
	}
	return w.judge(path, info)
}

// judge says who else may change a part, with the command that mends it.
func (w *walker) judge(path string, info fs.FileInfo) error {
	uid, gid, ok := w.owner(info)
	mode := info.Mode()
	sticky := mode.IsDir() && mode&fs.ModeSticky != 0
	refuse := func(why, mend string) error {
		return fmt.Errorf("%s (mode %s): %s: %w; mend it with %q", path, mode, why, ErrUntrusted, mend)
	}
	switch {
	case !ok:
		return fmt.Errorf("%s: its owner is not known: %w", path, ErrUntrusted)
	case uid != 0 && uid != w.uid && mode&fs.ModeSymlink != 0:
		return refuse(fmt.Sprintf("it belongs to user %d", uid), "chown -h root "+path)
	case uid != 0 && uid != w.uid:
		return refuse(fmt.Sprintf("it belongs to user %d", uid), "chown root "+path+" && chmod go-w "+path)
	case mode&fs.ModeSymlink != 0, sticky: // a link has no mode of its own
		return nil
	case mode.Perm()&0o002 != 0:
		return refuse("everybody may write it", "chmod go-w "+path)
	case mode.Perm()&0o020 != 0 && gid != 0 && (w.uid == 0 || gid != w.uid): // a group of the user's number has no other members
		return refuse(fmt.Sprintf("group %d may write it", gid), "chmod go-w "+path)
	}
	return nil
}
