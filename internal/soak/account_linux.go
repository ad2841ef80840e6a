package soak

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// account keeps what was done and logged, and says where if something was bad.
func (r *run) account(bad error) error {
	folder, err := r.keep()
	if err != nil || bad == nil {
		return errors.Join(bad, err)
	}
	fmt.Fprintf(r.o.Out, "\nNOT AS PROMISED: %v\nseed %d, the script so far:\n%s\n", bad, r.o.Seed, r.script.String())
	for _, n := range r.lab.Nodes() {
		fmt.Fprintf(r.o.Out, "log of %s, the end:\n%s\n", n.Name, tail(r.lab.Log(n.Name), 150))
	}
	if folder == "" {
		return bad
	}
	return fmt.Errorf("%w\nall of it is in %s; again: bin/monitord lab --near --script %[2]s/script", bad, folder)
}

// keep writes the script, what happened and what was logged into a folder of the seed.
func (r *run) keep() (folder string, err error) {
	if r.o.Folder == "" {
		return "", nil
	}
	files := map[string]string{"script": r.script.String()}
	for _, n := range r.lab.Nodes() {
		files[n.Name+".log"] = r.lab.Log(n.Name)
	}
	var events strings.Builder
	for _, e := range r.lab.Timeline() {
		fmt.Fprintf(&events, "%10.3f  %s\n", e.At.Seconds(), e)
	}
	files["timeline"] = events.String()
	folder = filepath.Join(r.o.Folder, fmt.Sprint(r.o.Seed))
	err = os.MkdirAll(folder, 0o755)
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644))
	}
	return folder, err
}

// tail is the last lines of a text.
func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
