package monprog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A fake is a file of a system that is made up.
type fake struct {
	name     string
	mode     fs.FileMode
	uid, gid int
	link     string
}

func (f fake) Name() string       { return f.name }
func (f fake) Size() int64        { return 0 }
func (f fake) Mode() fs.FileMode  { return f.mode }
func (f fake) ModTime() time.Time { return time.Time{} }
func (f fake) IsDir() bool        { return f.mode.IsDir() }
func (f fake) Sys() any           { return f }

// madeUp is a walker through these files, and good ones above them.
func madeUp(uid int, files ...fake) *walker {
	all := map[string]fake{
		"/": {mode: fs.ModeDir | 0o755}, "/usr": {mode: fs.ModeDir | 0o755}, "/usr/lib": {mode: fs.ModeDir | 0o755},
		"/usr/lib/mon": {mode: fs.ModeDir | 0o755}, "/usr/lib/mon/a.monitor": {mode: 0o755},
		"/tmp": {mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	for _, f := range files {
		all[f.name] = f
	}
	return &walker{
		uid: uid,
		lstat: func(path string) (fs.FileInfo, error) {
			f, ok := all[path]
			if !ok {
				return nil, &fs.PathError{Op: "lstat", Path: path, Err: fs.ErrNotExist}
			}
			return f, nil
		},
		readlink: func(path string) (string, error) { return all[path].link, nil },
		owner:    func(info fs.FileInfo) (uid, gid int, ok bool) { f := info.(fake); return f.uid, f.gid, true },
	}
}

func TestWhoMayChangeAProgram(t *testing.T) {
	const program = "/usr/lib/mon/a.monitor"
	dir, link := fs.ModeDir, fs.ModeSymlink|0o777
	for _, tt := range []struct {
		name  string
		uid   int
		path  string
		files []fake
		want  string // empty: it is trusted
	}{
		{name: "root's", path: program},
		{name: "not clean", path: "/usr//lib/./mon/../mon/a.monitor"},
		{name: "the file, by all", path: program, files: []fake{{name: program, mode: 0o777}}, want: program + ` (mode -rwxrwxrwx): everybody may write it: whoever may write there would be root; mend it with "chmod go-w ` + program + `"`},
		{name: "the file, by a group", path: program, files: []fake{{name: program, mode: 0o775, gid: 50}}, want: `group 50 may write it`},
		{name: "the file, by root's group", path: program, files: []fake{{name: program, mode: 0o775}}},
		{name: "a folder, by all", path: program, files: []fake{{name: "/usr/lib/mon", mode: dir | 0o757}}, want: `/usr/lib/mon (mode drwxr-xrwx): everybody may write it`},
		{name: "a folder far up", path: program, files: []fake{{name: "/usr", mode: dir | 0o775, gid: 4}}, want: `mend it with "chmod go-w /usr"`},
		{name: "the root", path: program, files: []fake{{name: "/", mode: dir | 0o777}}, want: `/ (mode drwxrwxrwx)`},
		{name: "another's file", path: program, files: []fake{{name: program, mode: 0o755, uid: 7}}, want: `belongs to user 7: whoever may write there would be root; mend it with "chown root ` + program + ` && chmod go-w ` + program + `"`},
		{name: "another's folder", path: program, files: []fake{{name: "/usr/lib/mon", mode: dir | 0o755, uid: 7}}, want: `/usr/lib/mon (mode drwxr-xr-x): it belongs to user 7`},
		{name: "one's own, of a user", uid: 7, path: program, files: []fake{{name: program, mode: 0o755, uid: 7}}},
		{name: "a user's own group", uid: 7, path: program, files: []fake{{name: program, mode: 0o775, uid: 7, gid: 7}}},
		{name: "a user's other group", uid: 7, path: program, files: []fake{{name: program, mode: 0o775, uid: 7, gid: 8}}, want: "group 8 may write it"},
		{name: "root's in a sticky folder", path: "/tmp/a", files: []fake{{name: "/tmp/a", mode: 0o755}}},
		{name: "another's in a sticky folder", path: "/tmp/a", files: []fake{{name: "/tmp/a", mode: 0o755, uid: 7}}, want: `/tmp/a (mode -rwxr-xr-x): it belongs to user 7`},
		{name: "in another's sticky folder", path: "/tmp/x/a", files: []fake{{name: "/tmp/x", mode: dir | fs.ModeSticky | 0o755, uid: 7}, {name: "/tmp/x/a", mode: 0o755}}, want: "/tmp/x (mode dtrwxr-xr-x): it belongs to user 7"},
		{name: "a sticky file", path: program, files: []fake{{name: program, mode: fs.ModeSticky | 0o777}}, want: "everybody may write it"},
		{name: "by a link", path: "/tmp/a", files: []fake{{name: "/tmp/a", mode: link, link: program}}},
		{name: "by another's link", path: "/tmp/a", files: []fake{{name: "/tmp/a", mode: link, uid: 7, link: program}}, want: "/tmp/a (mode Lrwxrwxrwx): it belongs to user 7: whoever may write there would be root; mend it with \"chown -h root /tmp/a\""},
		{
			name: "by two links, the folder between", path: "/usr/lib/one", want: "/open (mode drwxrwxrwx)",
			files: []fake{{name: "/usr/lib/one", mode: link, link: "../../open/two"}, {name: "/open", mode: dir | 0o777}, {name: "/open/two", mode: link, link: program}},
		},
		{name: "by a linked folder", path: "/usr/lib/mon.d/a.monitor", files: []fake{{name: "/usr/lib/mon.d", mode: link, link: "mon"}}},
		{
			name: "by .. behind a link", path: "/usr/current/../mon/a.monitor", want: "/open (mode drwxrwxrwx)",
			files: []fake{
				{name: "/usr/current", mode: link, link: "/open/app"},
				{name: "/open", mode: dir | 0o777},
				{name: "/open/app", mode: dir | 0o755},
				{name: "/usr/mon", mode: dir | 0o755},
				{name: "/usr/mon/a.monitor", mode: 0o755},
			},
		},
		{name: "by .. of the root", path: "/../usr/../../usr/lib/mon/a.monitor"},
		{name: "in a circle", path: "/usr/lib/one", files: []fake{{name: "/usr/lib/one", mode: link, link: "one"}}, want: "more than 40 symbolic links"},
		{name: "nothing", path: "/usr/lib/none", want: "file does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := madeUp(tt.uid, tt.files...).walk(tt.path)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestTrustedLooksAtRealFiles(t *testing.T) {
	folder := t.TempDir()
	program := filepath.Join(folder, "a")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Trusted(program); err != nil {
		t.Errorf("one's own program in a folder of one's own: %v", err)
	}
	if err := os.Chmod(folder, 0o757); err != nil { //nolint:gosec // that is the mistake
		t.Fatal(err)
	}
	err := Suspicious(program)
	if !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), folder+" (mode drwxr-xrwx)") {
		t.Errorf("a folder that everybody may write gives %v", err)
	}
	t.Chdir(folder)
	if err := Suspicious("a"); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), folder+" (mode drwxr-xrwx)") {
		t.Errorf("by a path from there it gives %v", err)
	}
	if refused := Trusted(program) != nil; refused != (os.Geteuid() == 0) {
		t.Errorf("user %d is refused it: %t", os.Geteuid(), refused)
	}
}
