// Package state keeps what outlives a restart: named documents in one folder, the
// site's statedir. A document is replaced as a whole or not at all: whoever reads
// it after a crash, a full disk or a power cut finds the old one or the new one.
//
// A document is a file NAME.state. Its first line tells what it is, the rest is
// JSON, so that a person can read it ("tail -n +2 watches.state | jq"):
//
//	monitord-state name=watches version=1 saved=2026-07-01T12:00:00.5Z sha256=…
//	{"watches":[…]}
//
// # Why not a database
//
// The documents are small (ten thousand watches are a few megabytes) and each is
// read once, at the start. In a database one damaged page takes everything with
// it; here damage costs one document, which is set aside and said, and no tool is
// needed to look at it. What is only added to is a [Journal] in the same folder.
package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Errors of a [Store].
var (
	// ErrNone is a document that was never saved.
	ErrNone = errors.New("there is no such document")
	// ErrClosed is a store or a saver that is closed.
	ErrClosed = errors.New("the state is closed")
)

// A Damaged document is one that nothing can be read from: written half, changed
// by something else, or by a newer version of this program. It was set aside; the
// caller says so once and goes on without it.
type Damaged struct {
	Name string
	// Moved is where the file is now; empty if it could not be set aside.
	Moved string
	// Why is what is wrong with it.
	Why string
}

func (d *Damaged) Error() string {
	if d.Moved == "" {
		return fmt.Sprintf("the saved document %q cannot be used: %s; it could not be set aside", d.Name, d.Why)
	}
	return fmt.Sprintf("the saved document %q cannot be used: %s; it is now %s", d.Name, d.Why, d.Moved)
}

// A Store is an open folder of documents. Its methods may be called from any
// goroutine; of two that save the same document at once one wins.
type Store struct {
	dir  string
	lock *os.File

	mu     sync.Mutex // protects closed
	closed bool
}

const (
	// keepDamaged is how many damaged files of one document are kept.
	keepDamaged = 5
	suffix      = ".state"
	aside       = ".damaged-"
	unfinished  = ".unfinished-"
)

// Open makes the folder if it is missing (mode 0700) and holds it until Close or
// the end of the process. An [InUse] error means that another process holds it.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for the state: %w", err)
	}
	lock, err := hold(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, lock: lock}
	s.sweep()
	return s, nil
}

// again is how often somebody who waits for a folder looks.
const again = 20 * time.Millisecond

// Await is Open that waits until no other process holds the folder, or ctx is done: then
// it is an [InUse] error as well. A process that was killed while it started a program
// holds the folder for an instant longer than it lives: until that program is executed.
func Await(ctx context.Context, dir string) (*Store, error) {
	for {
		store, err := Open(dir)
		if _, held := errors.AsType[*InUse](err); !held || ctx.Err() != nil {
			return store, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// Close lets another process have the folder. Nothing is saved afterwards.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	return s.lock.Close()
}

func (s *Store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return nil
}

// sweep removes what a crash left behind; what cannot be removed does no harm.
func (s *Store) sweep() {
	for _, name := range s.files(".") {
		if strings.Contains(name, suffix+unfinished) {
			_ = os.Remove(filepath.Join(s.dir, name))
		}
	}
}

// files lists the names in the folder that begin with prefix, in order.
func (s *Store) files(prefix string) []string {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// Save replaces a document by value, as JSON. When it returns nil the new one is
// on the disk; with an error, as when the disk is full, the old one stays whole.
func (s *Store) Save(d Document, value any) error {
	if err := s.usable(); err != nil {
		return fmt.Errorf("save %s: %w", d.Name, err)
	}
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("save %s: %w", d.Name, err)
	}
	if err := s.replace(d.file(), d.encode(time.Now(), body)); err != nil {
		return fmt.Errorf("save %s: %w", d.Name, err)
	}
	return nil
}

// replace puts text in place of a file, by way of a second file: a name points to
// a whole file at any moment.
func (s *Store) replace(name string, text []byte) (err error) {
	f, err := os.CreateTemp(s.dir, "."+name+unfinished+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(s.dir, name)); err != nil {
		return err
	}
	return s.sync()
}

// sync makes the folder itself durable: a rename is not before that.
func (s *Store) sync() error {
	folder, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Peek reads a document of a folder that another process may hold, and changes
// nothing; its errors are those of Load, but that a damaged document stays where it
// is.
func Peek(dir string, d Document, into any) (saved time.Time, err error) {
	saved, body, err := read(dir, d)
	if err != nil {
		return time.Time{}, err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return time.Time{}, fmt.Errorf("load %s: %w", d.Name, err)
	}
	return saved, nil
}

func read(dir string, d Document) (saved time.Time, body []byte, err error) {
	text, err := os.ReadFile(filepath.Join(dir, d.file()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return saved, nil, fmt.Errorf("load %s: %w", d.Name, ErrNone)
	case err != nil:
		return saved, nil, fmt.Errorf("load %s: %w", d.Name, err)
	}
	if saved, body, err = d.decode(text); err != nil {
		return saved, nil, &Damaged{Name: d.Name, Why: err.Error()}
	}
	return saved, body, nil
}

// Load reads a document into what into points to, and returns when it was saved.
// The error is [ErrNone] if there is none, and a [*Damaged] if it cannot be used;
// into may be half filled then. Any other error is the disk's.
func (s *Store) Load(d Document, into any) (saved time.Time, err error) {
	if err := s.usable(); err != nil {
		return saved, fmt.Errorf("load %s: %w", d.Name, err)
	}
	saved, body, err := read(s.dir, d)
	damaged, isDamaged := errors.AsType[*Damaged](err)
	if err != nil && !isDamaged {
		return time.Time{}, err
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	} else {
		err = errors.New(damaged.Why)
	}
	if err != nil {
		return time.Time{}, s.setAside(d, err.Error())
	}
	return saved, nil
}

// setAside keeps a damaged file for who wants to look at it, but not for ever.
func (s *Store) setAside(d Document, why string) *Damaged {
	damaged := &Damaged{Name: d.Name, Why: why}
	moved := filepath.Join(s.dir, d.file()+aside+time.Now().UTC().Format("20060102T150405.000000000Z"))
	if os.Rename(filepath.Join(s.dir, d.file()), moved) == nil {
		damaged.Moved = moved
	}
	all := s.files(d.file() + aside)
	slices.Sort(all)
	for _, old := range all[:max(len(all)-keepDamaged, 0)] {
		_ = os.Remove(filepath.Join(s.dir, old))
	}
	return damaged
}
