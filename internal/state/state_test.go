package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var pool = Document{Name: "pool", Version: 2, Older: map[int]func(json.RawMessage) (json.RawMessage, error){
	1: func(old json.RawMessage) (json.RawMessage, error) {
		var names []string
		if err := json.Unmarshal(old, &names); err != nil {
			return nil, err
		}
		return json.Marshal(content{Names: names})
	},
}}

type content struct{ Names []string }

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func save(t testing.TB, s *Store, d Document, value any) {
	t.Helper()
	if err := s.Save(d, value); err != nil {
		t.Fatal(err)
	}
}

// folder lists what is in a folder, the lock apart.
func folder(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir)
	var got content
	if _, err := s.Load(pool, &got); !errors.Is(err, ErrNone) {
		t.Errorf("before the first save: %v, want ErrNone", err)
	}
	before := time.Now()
	save(t, s, pool, content{[]string{"old"}})
	save(t, s, pool, content{[]string{"w1", "w2 \n ü"}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	saved, err := open(t, dir).Load(pool, &got)
	if err != nil || saved.Before(before.Truncate(0)) || saved.After(time.Now()) {
		t.Errorf("saved %s, %v", saved, err)
	}
	if diff := cmp.Diff(content{[]string{"w1", "w2 \n ü"}}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"pool.state"}, folder(t, dir)); diff != "" {
		t.Errorf("in the folder:\n%s", diff)
	}
	for name, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "pool.state"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
}

func TestAClosedStore(t *testing.T) {
	s := open(t, t.TempDir())
	_ = s.Close()
	if err := s.Save(pool, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("save: %v", err)
	}
	if _, err := s.Load(pool, new(content)); !errors.Is(err, ErrClosed) {
		t.Errorf("load: %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("close: %v", err)
	}
}

// TestDamaged: whatever is wrong with a file, it is said, set aside, and the next
// save works.
func TestDamaged(t *testing.T) {
	whole := pool.encode(time.Now(), []byte(`{"Names":["w1"]}`))
	later := Document{Name: "pool", Version: 3}
	ancient := Document{Name: "pool", Version: 0}
	for _, tt := range []struct {
		name string
		text []byte
		why  string
	}{
		{"zero length", nil, "it is empty"},
		{"half written", whole[:len(whole)-8], "its checksum is wrong"},
		{"the first line only", whole[:slices.Index(whole, '\n')+1], "its checksum is wrong"},
		{"half the first line", whole[:40], "its first line is not"},
		{"garbage", []byte(strings.Repeat("\x00\xff\n", 5000)), "its first line is not"},
		{"one bit", slices.Replace(slices.Clone(whole), len(whole)-4, len(whole)-3, 'X'), "its checksum is wrong"},
		{"another moment", []byte(strings.Replace(string(whole), "saved=2", "saved=1", 1)), "its checksum is wrong"},
		{"something after it", append(slices.Clone(whole), '\n'), "its checksum is wrong"},
		{"not JSON", pool.encode(time.Now(), []byte("no")), "invalid character"},
		{"another shape", pool.encode(time.Now(), []byte(`{"Names":7}`)), "cannot unmarshal"},
		{"another document", Document{Name: "other", Version: 2}.encode(time.Now(), []byte("{}")), `it is the document "other"`},
		{"a newer version", later.encode(time.Now(), []byte("{}")), "written by a newer monitord: its version is 3, this one knows 2"},
		{"too old a version", ancient.encode(time.Now(), []byte("{}")), "its version 0 is too old"},
		{"an old version that cannot be turned", Document{Name: "pool", Version: 1}.encode(time.Now(), []byte("7")), "its version 1 cannot be turned into 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "pool.state"), tt.text, 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir)
			_, err := s.Load(pool, new(content))
			damaged, ok := errors.AsType[*Damaged](err)
			if !ok || damaged.Name != "pool" || !strings.Contains(damaged.Why, tt.why) || !strings.Contains(err.Error(), damaged.Moved) {
				t.Fatalf("got %v, want damage because %q", err, tt.why)
			}
			if kept, err := os.ReadFile(damaged.Moved); err != nil || string(kept) != string(tt.text) {
				t.Errorf("set aside is %q, %v", kept, err)
			}
			if _, err := s.Load(pool, new(content)); !errors.Is(err, ErrNone) {
				t.Errorf("the second time: %v, want ErrNone", err)
			}
			save(t, s, pool, content{})
			if _, err := s.Load(pool, new(content)); err != nil {
				t.Errorf("after the next save: %v", err)
			}
		})
	}
}

func TestDamagedFilesDoNotPileUp(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	save(t, s, Document{Name: "pool2", Version: 1}, 0)
	last := ""
	for i := range 9 {
		if err := os.WriteFile(filepath.Join(dir, "pool.state"), fmt.Append(nil, i), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Load(pool, new(content))
		damaged, ok := errors.AsType[*Damaged](err)
		if !ok {
			t.Fatal(err)
		}
		last = damaged.Moved
	}
	names := folder(t, dir)
	if len(names) != keepDamaged+1 || names[len(names)-1] != "pool2.state" {
		t.Errorf("left: %q", names)
	}
	if text, err := os.ReadFile(last); err != nil || string(text) != "8" {
		t.Errorf("the newest is %q, %v", text, err)
	}
}

func TestAnOlderVersionIsTurned(t *testing.T) {
	s := open(t, t.TempDir())
	save(t, s, Document{Name: "pool", Version: 1}, []string{"w1"})
	var got content
	if _, err := s.Load(pool, &got); err != nil || !slices.Equal(got.Names, []string{"w1"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestWhatACrashLeaves: half a temporary file does no harm, and goes.
func TestWhatACrashLeaves(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	save(t, s, pool, content{[]string{"w1"}})
	_ = s.Close()
	if err := os.WriteFile(filepath.Join(dir, ".pool.state"+unfinished+"123"), []byte("monitord-st"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got content
	if _, err := open(t, dir).Load(pool, &got); err != nil || len(got.Names) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"pool.state"}, folder(t, dir)); diff != "" {
		t.Errorf("in the folder:\n%s", diff)
	}
}

func TestWhatCannotBeSaved(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	save(t, s, pool, content{[]string{"old"}})
	if err := s.Save(pool, make(chan int)); err == nil {
		t.Error("a channel was saved")
	}
	var got content
	if _, err := s.Load(pool, &got); err != nil || !slices.Equal(got.Names, []string{"old"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestAnyDamageIsFound changes any byte, or cuts anywhere.
func TestAnyDamageIsFound(t *testing.T) {
	whole := pool.encode(time.Now(), []byte(`{"Names":["w1","w2"]}`))
	rapid.Check(t, func(t *rapid.T) {
		text := slices.Clone(whole)
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "cut") {
			text = text[:at]
		} else {
			text[at] ^= rapid.ByteRange(1, 255).Draw(t, "bits")
		}
		_, body, err := pool.decode(text)
		// The line end that closes the file is for who reads it, and may be missing.
		if err == nil && !slices.Equal(text, whole[:len(whole)-1]) {
			t.Fatalf("%q was taken for whole: %q", text, body)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(""))
	f.Add(pool.encode(time.Now(), []byte("{}")))
	f.Fuzz(func(t *testing.T, text []byte) {
		saved, body, err := pool.decode(text)
		if err == nil && string(pool.encode(saved, body)) != string(text) && string(pool.encode(saved, body)) != string(text)+"\n" && !strings.Contains(string(text), "version=1") {
			t.Errorf("%q decodes to %q", text, body)
		}
	})
}

// TestPeekHoldsNothing: another process's document is read while it holds the
// folder, and a damaged one stays where it is.
func TestPeekHoldsNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	d := Document{Name: "peek", Version: 1}
	if _, err := Peek(dir, d, new(int)); !errors.Is(err, ErrNone) {
		t.Errorf("without a document: %v", err)
	}
	if err := s.Save(d, 42); err != nil {
		t.Fatal(err)
	}
	var got int
	if saved, err := Peek(dir, d, &got); err != nil || got != 42 || saved.IsZero() {
		t.Errorf("peeked %d of %s, %v", got, saved, err)
	}
	file := filepath.Join(dir, d.file())
	if err := os.Truncate(file, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := Peek(dir, d, &got); err == nil {
		t.Error("a damaged document was read")
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the damaged document is gone: %v", err)
	}
}
