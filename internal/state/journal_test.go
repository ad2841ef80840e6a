package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var roomy = JournalLimits{Records: 1000, Bytes: 1 << 20}

func openJournal(t *testing.T, s *Store, limits JournalLimits) *Journal {
	t.Helper()
	j, err := s.Journal("history", limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func (j *Journal) add(t *testing.T, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func (j *Journal) want(t *testing.T, damaged int, want ...string) {
	t.Helper()
	var got []string
	bad, err := j.Read(func(raw json.RawMessage) bool {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		got = append(got, text)
		return true
	})
	if err != nil || bad != damaged {
		t.Errorf("read: %d damaged, want %d; %v", bad, damaged, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestAJournalSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	j := openJournal(t, s, roomy)
	j.add(t, "one", "two\nlines", "caf\u00e9")
	_ = j.Close()
	j = openJournal(t, s, roomy)
	j.add(t, "four")
	j.want(t, 0, "one", "two\nlines", "caf\u00e9", "four")
	n := 0
	if _, err := j.Read(func(json.RawMessage) bool { n++; return n < 2 }); err != nil || n != 2 {
		t.Errorf("read goes on after false: %d records, %v", n, err)
	}
}

// TestAHalfRecordIsCutOff cuts the file at each byte: what was whole stays, and what
// is added then is read.
func TestAHalfRecordIsCutOff(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	path := filepath.Join(dir, "history.journal")
	j := openJournal(t, s, roomy)
	j.add(t, "one", "two")
	_ = j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(whole, '\n') + 1
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j := openJournal(t, s, roomy)
		j.add(t, "three")
		want := []string{"three"}
		if n >= first {
			want = []string{"one", "three"}
		}
		j.want(t, 0, want...)
		_ = j.Close()
	}
}

// TestADamagedRecordCostsItself and no other.
func TestADamagedRecordCostsItself(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	path := filepath.Join(dir, "history.journal")
	j := openJournal(t, s, roomy)
	j.add(t, "one", "two", "three")
	_ = j.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("two"), []byte("2wo"), 1)
	text = append(text, strings.Repeat("x", 3<<20)+"\n00000000 \"four\"\n"...) // no end of it is a record
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, s, roomy)
	j.want(t, 1, "one", "three")
	j.add(t, "five")
	j.want(t, 1, "one", "three", "five")
}

func TestAJournalIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	j := openJournal(t, s, JournalLimits{Records: 10, Bytes: 1 << 20})
	var all []string
	for i := range 95 {
		all = append(all, fmt.Sprint(i))
	}
	j.add(t, all...)
	j.want(t, 0, all[80:]...)
	_ = j.Close()
	j = openJournal(t, s, JournalLimits{Records: 1000, Bytes: 100})
	big := strings.Repeat("x", 60)
	j.add(t, big, big, big, big, big)
	j.want(t, 0, big, big, big, big) // two files of two of them
	if diff := cmp.Diff([]string{"history.journal", "history.journal.old"}, folder(t, dir)); diff != "" {
		t.Errorf("in the folder:\n%s", diff)
	}
	_ = j.Close()

	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "history.journal.old"), old, old); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, s, JournalLimits{Records: 1000, Bytes: 1 << 20, Age: time.Hour})
	j.want(t, 0, big, big)
}

// TestAJournalOnAFullDisk: what does not fit is not in it, not even half; what fits
// later is.
func TestAJournalOnAFullDisk(t *testing.T) {
	dir := ownDisk(t, "size=64k")
	if dir == "" {
		return
	}
	s := open(t, dir)
	j := openJournal(t, s, roomy)
	j.add(t, "one")
	if err := j.Append("two", strings.Repeat("x", 100_000)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("append on a full disk: %v, want ENOSPC", err)
	}
	j.want(t, 0, "one")
	j.add(t, "three")
	j.want(t, 0, "one", "three")
	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	for i := range 5000 { // what is left of the last page
		if err := j.Append(i); err != nil {
			break
		}
	}
	_ = j.Close()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, s, roomy)
	if bad, err := j.Read(func(json.RawMessage) bool { return true }); bad != 0 || err != nil {
		t.Errorf("after a full disk: %d damaged, %v", bad, err)
	}
}

func TestAJournalThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	path := filepath.Join(dir, "history.journal")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	j, err := s.Journal("history", roomy)
	if err == nil || !strings.Contains(err.Error(), "open the journal history") {
		t.Fatalf("a folder in its place: %v", err)
	}
	if err := j.Append("one"); err == nil {
		t.Error("an append says nothing")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	j.add(t, "two")
	j.want(t, 0, "two")
	_ = s.Close()
	if err := j.Append("three"); !errors.Is(err, ErrClosed) {
		t.Errorf("after the store was closed: %v", err)
	}
	_ = j.Close()
}

// TestAJournalWhoseFileIsLost, as that of a disk that went away, is opened again.
func TestAJournalWhoseFileIsLost(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, open(t, dir), roomy)
	j.add(t, "one")
	_ = j.file.Close()
	if err := j.Append("two"); err == nil {
		t.Error("an append to a closed file says nothing")
	}
	j.add(t, "three")
	j.want(t, 0, "one", "three")
}

// TestAHugeJournal, most of it garbage in one line, costs no time at the start and
// little memory when it is read, and goes like any other.
func TestAHugeJournal(t *testing.T) {
	const huge = 256 << 20
	dir := t.TempDir()
	s := open(t, dir)
	path := filepath.Join(dir, "history.journal")
	j := openJournal(t, s, roomy)
	j.add(t, "one")
	_ = j.Close()
	if err := os.Truncate(path, huge); err != nil { // a hole: it takes no disk
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	j = openJournal(t, s, roomy)
	if info, err := os.Stat(path + journalOld); err != nil || info.Size() != huge {
		t.Errorf("the huge file was read, not put aside: %v", err)
	}
	j.add(t, "two")
	j.want(t, 1, "one", "two")
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("it took %d bytes of memory", n)
	}
	_ = j.Close()
	j = openJournal(t, s, JournalLimits{Records: 1, Bytes: 1 << 20})
	j.add(t, "three") // a new file: the huge one goes
	j.want(t, 0, "two", "three")
}

// TestKilledWhileAppending: whatever was said to be written is there.
func TestKilledWhileAppending(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		j := openJournal(t, open(t, dir), roomy)
		for n := 0; ; n++ {
			j.add(t, strings.Repeat("x", 1+n*7919%5000))
			fmt.Println("added")
		}
	}
	dir := t.TempDir()
	for round := range 8 {
		c := child(t.Context(), t, dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		awaitLines(out, "added", 3)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // it was killed
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		j, err := s.Journal("history", roomy)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if bad, err := j.Read(func(json.RawMessage) bool { n++; return true }); bad != 0 || err != nil || n < 3*(round+1) {
			t.Fatalf("round %d: %d records, %d damaged, %v", round, n, bad, err)
		}
		_, _ = j.Close(), s.Close()
	}
	if got := folder(t, dir); !slices.Contains(got, "history.journal") {
		t.Errorf("in the folder: %v", got)
	}
}
