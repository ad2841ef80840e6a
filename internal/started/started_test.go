package started

import (
	"os"
	"path/filepath"
	"testing"
)

func want(t *testing.T, m *Mark, set bool, when string) {
	t.Helper()
	got, err := m.IsSet()
	if err != nil || got != set {
		t.Errorf("%s: %t, error %v; want %t", when, got, err, set)
	}
}

func TestMark(t *testing.T) {
	dir := t.TempDir()
	m, restarted := New(dir, "mail", "a", "bc"), New(dir, "mail", "a", "bc")
	other := New(dir, "mail", "ab", "c")
	want(t, m, false, "at first")
	m.Clear()
	want(t, m, false, "cleared before it was set")
	m.Set()
	m.Set()
	want(t, m, true, "set")
	want(t, restarted, true, "set, to a restarted daemon")
	want(t, other, false, "what has other words")
	restarted.Clear()
	want(t, m, false, "cleared by a restarted daemon")
}

func TestAnotherBootForgets(t *testing.T) {
	m := New(t.TempDir(), "x")
	m.boot = "the one before"
	m.Set()
	want(t, m, true, "on the same boot")
	m.boot = "this one"
	want(t, m, false, "on another boot")
	m.Set()
	want(t, m, true, "set anew")
}

// A file in the way of the folder is what a full or read-only disk is, also to
// root.
func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	m := New(dir, "x")
	if err := os.WriteFile(filepath.Join(dir, folder), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.Set()
	want(t, m, true, "set")
	if set, err := New(dir, "x").IsSet(); err == nil {
		t.Errorf("a restarted daemon says %t, want an error: it cannot know", set)
	}
	m.Clear()
	want(t, m, false, "cleared")
	if err := os.Remove(filepath.Join(dir, folder)); err != nil {
		t.Fatal(err)
	}
	m.Set()
	want(t, New(dir, "x"), true, "once the disk is well again")
}
