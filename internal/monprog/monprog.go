// Package monprog is mon's contract with the programs it calls, as mon(8)
// describes it and as mon 1.3.6 does it: where a program is looked up, and the
// arguments, the environment and the standard input that it gets.
//
// It runs nothing and reads no clock.
package monprog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Program is a monitor or an alert as the configuration names it.
type Program struct {
	// Path is the program's file, see [Lookup].
	Path string
	// Args are the user's own arguments.
	Args []string
}

// An Invocation is one call of a program.
type Invocation struct {
	// Args is the argument vector; Args[0] is the program's file.
	Args []string
	// Env is what the program gets on top of the daemon's own environment: the
	// watch's variables, then mon's.
	Env []string
	// Stdin is an alert's input. Monitors read /dev/null (nil).
	Stdin []byte
}

// Environ returns the whole environment: the daemon's own with Env on top of it.
// mon's variables are taken out of the daemon's own, so that one which mon leaves
// unset is unset even in a daemon that was itself started by mon.
func (i Invocation) Environ(own []string) []string {
	env := slices.DeleteFunc(slices.Clone(own), isContract)
	return append(env, i.Env...)
}

// Lookup finds a program's file. A name with a slash is taken as it is; for any
// other the first folder of path that holds an executable file of this name
// counts, as in mon. The error says where was searched; it wraps
// fs.ErrPermission if there is such a file which is not executable, otherwise
// fs.ErrNotExist.
func Lookup(name string, path []string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("no program is named: %w", fs.ErrNotExist)
	}
	if strings.ContainsRune(name, '\x00') {
		return "", fmt.Errorf("%q is no file name: %w", name, fs.ErrNotExist)
	}
	if strings.ContainsRune(name, filepath.Separator) {
		return name, executable(name)
	}
	var refused error
	for _, folder := range path {
		file := filepath.Join(folder, name)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			refused = cmp.Or(refused, err)
		}
	}
	switch {
	case refused != nil:
		return "", refused
	case len(path) == 0:
		return "", fmt.Errorf("no program %q, and no folder is configured to look for it: %w", name, fs.ErrNotExist)
	}
	return "", fmt.Errorf("no program %q in %s: %w", name, strings.Join(path, ", "), fs.ErrNotExist)
}

func executable(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder: %w", file, fs.ErrPermission)
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable (mode %s): %w", file, info.Mode().Perm(), fs.ErrPermission)
	}
	return nil
}
