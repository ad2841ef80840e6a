// Package started remembers what was started although nothing shows it: a mail
// that went out, a program that has no status. Linux-HA calls such a resource a
// pseudo resource.
//
// The memory is a file, so that a restarted daemon knows too, with the boot in
// it, so that a restarted machine begins anew. What cannot be written is remembered
// by the process alone: a full disk stops no takeover.
package started

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// folder is where the marks are in the folder for the state.
const folder = "started"

// A Mark is the memory of one thing. Its methods may be called by one goroutine
// at a time.
type Mark struct {
	file, boot string
	// unsaved is what the file should say and does not; nil if it does.
	unsaved *bool
}

// New returns the mark in the folder for the state of what these words identify:
// for the same words it is the same mark. Nothing is written yet.
func New(stateDir string, identity ...string) *Mark {
	sum := sha256.New()
	for _, word := range identity {
		fmt.Fprintf(sum, "%d:%s", len(word), word) // "a", "bc" is not "ab", "c"
	}
	return &Mark{
		file: filepath.Join(stateDir, folder, hex.EncodeToString(sum.Sum(nil)[:16])),
		boot: boot(),
	}
}

// boot identifies the time since the machine was started; it is the same for ever
// where the kernel does not tell.
func boot() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "boot"
	}
	return strings.TrimSpace(string(id))
}

// Set remembers that it was started.
func (m *Mark) Set() {
	err := os.MkdirAll(filepath.Dir(m.file), 0o700)
	if err == nil {
		err = os.WriteFile(m.file, []byte(m.boot+"\n"), 0o600)
	}
	m.saved(true, err)
}

// Clear remembers that it was stopped.
func (m *Mark) Clear() {
	err := os.Remove(m.file)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	m.saved(false, err)
}

func (m *Mark) saved(set bool, err error) {
	m.unsaved = nil
	if err != nil {
		m.unsaved = &set
	}
}

// IsSet reports whether it was started, and not stopped since, on this boot.
func (m *Mark) IsSet() (bool, error) {
	if m.unsaved != nil {
		return *m.unsaved, nil
	}
	text, err := os.ReadFile(m.file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("whether it was started: %w", err)
	}
	return strings.TrimSpace(string(text)) == m.boot, nil
}
