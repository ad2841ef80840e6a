package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

// skew is how far ahead a file's time may be: the clock of its server's.
const skew = time.Minute

// examine judges one path. Its errors name it.
func (w *wish) examine(ctx context.Context, path string) error {
	if w.Absent {
		return absent(path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return missing(path, err)
	}
	for _, judge := range []func() error{
		func() error { return w.judgeAge(info, time.Now()) },
		func() error { return w.judgeSize(info) },
		func() error { return w.judgeOwner(info) },
		func() error { return w.judgeContent(ctx, path, info) },
		func() error { return w.judgeMount(path) },
		func() error { return w.judgeSpace(path) },
	} {
		if err := judge(); err != nil {
			return verdict(fmt.Errorf("%s %w", path, err))
		}
	}
	return nil
}

func absent(path string) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil:
		return fmt.Errorf("%s is there, %s of %s, and must not be", path, kind(info.Mode()), date(info.ModTime()))
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return nil
	}
	return verdict(fmt.Errorf("%s: %w", path, cause(err)))
}

// missing words why a path could not be found.
func missing(path string, err error) error {
	if to, linked := os.Readlink(path); linked == nil && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is a symbolic link to %q, which is not there", path, dial.Clean(to, 200))
	}
	return verdict(fmt.Errorf("%s: %w", path, cause(err)))
}

// cause strips the operation and the path, which the reason names itself.
func cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// verdict tells what a failed call says of the file from what it says of this
// process: it may not look, or has no means to. All else, a faulty disk and a
// stale handle included, is down.
func verdict(err error) error {
	if _, marked := errors.AsType[unsure](err); marked {
		return monitors.Untested(err)
	}
	local := []error{
		fs.ErrPermission, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR, syscall.EINVAL, errors.ErrUnsupported,
	}
	if slices.ContainsFunc(local, func(e error) bool { return errors.Is(err, e) }) {
		return monitors.Untested(err)
	}
	return err
}

// unsure marks what was looked at and gave no verdict.
type unsure struct{ error }

func (w *wish) judgeAge(info fs.FileInfo, now time.Time) error {
	age := now.Sub(info.ModTime())
	switch changed := date(info.ModTime()); {
	case w.MaxAge > 0 && age > w.MaxAge.Std():
		return fmt.Errorf("was last changed %s, %s ago; wanted: at most %s ago", changed, round(age), w.MaxAge)
	case w.MaxAge > 0 && age < -skew:
		return fmt.Errorf("was last changed %s, which is %s ahead: its age cannot be told", changed, round(-age))
	case w.MinAge > 0 && age < w.MinAge.Std():
		return fmt.Errorf("was last changed %s, %s ago; wanted: at least %s ago", changed, round(age), w.MinAge)
	}
	return nil
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// round keeps what is worth reading of an age.
func round(age time.Duration) time.Duration {
	if age > time.Minute {
		return age.Round(time.Second)
	}
	return age.Round(time.Millisecond)
}

func (w *wish) judgeSize(info fs.FileInfo) error {
	if w.minSize < 0 && w.maxSize < 0 {
		return nil
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("is %s, and only a plain file has a size", kind(info.Mode()))
	}
	switch size := info.Size(); {
	case size < w.minSize:
		return fmt.Errorf("has %d bytes, wanted at least %s", size, w.MinSize)
	case w.maxSize >= 0 && size > w.maxSize:
		return fmt.Errorf("has %d bytes, wanted at most %s", size, w.MaxSize)
	}
	return nil
}

func (w *wish) judgeOwner(info fs.FileInfo) error {
	const permissions = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if has := info.Mode() & permissions; w.mode != nil && has != *w.mode {
		return fmt.Errorf("has mode %s, wanted %s", octal(has), octal(*w.mode))
	}
	if w.owner == nil && w.group == nil {
		return nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return unsure{errors.New("has an owner that this system does not tell")}
	case w.owner != nil && stat.Uid != w.owner.id:
		return fmt.Errorf("belongs to user %d, wanted %s", stat.Uid, w.owner)
	case w.group != nil && stat.Gid != w.group.id:
		return fmt.Errorf("belongs to group %d, wanted %s", stat.Gid, w.group)
	}
	return nil
}

func (i *identity) String() string { return fmt.Sprintf("%s (%d)", i.name, i.id) }

// octal writes a mode as chmod takes it.
func octal(m fs.FileMode) string {
	bits := uint32(m.Perm())
	for meaning, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&meaning != 0 {
			bits |= bit
		}
	}
	return fmt.Sprintf("%04o", bits)
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

func (w *wish) judgeContent(ctx context.Context, path string, info fs.FileInfo) error {
	if w.content == nil && w.absent == nil && w.digest == "" {
		return nil
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("is %s, and only a plain file has content", kind(info.Mode()))
	}
	text, whole, err := w.read(ctx, path)
	if err != nil {
		return err
	}
	switch {
	case w.absent != nil && w.absent.Match(text):
		return fmt.Errorf("holds %s, a match of %q that must not be there", dial.Excerpt(w.absent.Find(text), 120), w.ContentAbsent)
	case w.content != nil && !w.content.Match(text):
		return fmt.Errorf("has no match of %q in its %s", w.Content, looked(text, whole))
	case !whole && (w.absent != nil || w.digest != ""):
		return unsure{fmt.Errorf("is longer than the %s that were looked at: set max_bytes higher", looked(text, whole))}
	}
	if sum := sha256.Sum256(text); w.digest != "" && hex.EncodeToString(sum[:]) != w.digest {
		return fmt.Errorf("has the digest sha256:%x, wanted sha256:%s", sum, w.digest)
	}
	return nil
}

func looked(text []byte, whole bool) string {
	if whole {
		return fmt.Sprintf("%d bytes", len(text))
	}
	return fmt.Sprintf("first %d bytes", len(text))
}

// read returns the first max_bytes of a file, and whether that is all. The path may
// have become something else since it was looked at: opening does not wait for a
// writer at the other end of a pipe, and what is no plain file is not read.
func (w *wish) read(ctx context.Context, path string) (text []byte, whole bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, false, fmt.Errorf("cannot be read: %w", cause(err))
	}
	defer func() { _ = f.Close() }() // It was only read.
	info, err := f.Stat()
	if err != nil {
		return nil, false, fmt.Errorf("cannot be read: %w", cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, false, fmt.Errorf("has become %s while it was looked at", kind(info.Mode()))
	}
	text, err = io.ReadAll(io.LimitReader(&untilDone{ctx, f}, int64(w.MaxBytes)+1))
	if err != nil {
		return nil, false, fmt.Errorf("cannot be read: %w", cause(err))
	}
	whole = len(text) <= w.MaxBytes
	return text[:min(len(text), w.MaxBytes)], whole, nil
}

// untilDone stops reading when ctx is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
