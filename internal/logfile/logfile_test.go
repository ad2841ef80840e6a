package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A small disk has room for so many bytes.
type small struct {
	*os.File
	room int
	// meanwhile writes for somebody else, if there is room for nothing more.
	meanwhile string
}

func (s *small) Write(p []byte) (int, error) {
	if len(p) <= s.room {
		return s.File.Write(p)
	}
	n, err := s.File.Write(p[:s.room])
	if err == nil && s.meanwhile != "" {
		_, err = s.File.WriteString(s.meanwhile)
	}
	return n, errors.Join(err, &fs.PathError{Op: "write", Path: s.Name(), Err: syscall.ENOSPC})
}

func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name            string
		room            int
		meanwhile, want string
		text            string
	}{
		{"room for all", 100, "", "before\nrecord\n", ""},
		{"room for half", 3, "", "before\n", "no space left on device"},
		{"room for none", 0, "", "before\n", "no space left on device"},
		{"others write on", 3, "other\n", "before\nrecother\n", "no space left on device; the first 3 bytes of the record are in the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "log")
			if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			err = Append(&small{f, c.room, c.meanwhile}, []byte("record\n"))
			if c.text == "" && err != nil || c.text != "" && (!errors.Is(err, syscall.ENOSPC) || err.Error() != fmt.Sprintf("write %s: %s", path, c.text)) {
				t.Errorf("got %v, want %q", err, c.text)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != c.want {
				t.Errorf("the file is %q, want %q", got, c.want)
			}
		})
	}
}

func TestMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if Moved(f, path) {
		t.Error("moved, though nothing happened")
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if !Moved(f, path) {
		t.Error("not moved, though it was renamed")
	}
	other, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if !Moved(f, path) || Moved(other, path) {
		t.Error("a new file of the same name is taken for the old one")
	}
}
