package timeup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(t.Context())
		child, cancel := context.WithTimeout(c, time.Hour)
		defer cancel()
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.Err() != nil || child.Err() != nil {
			t.Fatalf("over before its end: %v, %v", c.Err(), child.Err())
		}
		c.End()
		c.End()
		<-child.Done()
		if !errors.Is(c.Err(), context.DeadlineExceeded) || !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("ended with %v, %v", c.Err(), child.Err())
		}
	})
}

func TestAtWord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	c := AtWord(t, path)
	if c.Err() != nil {
		t.Fatalf("over before a word: %v", c.Err())
	}
	if err := os.WriteFile(path, []byte("there\n"), 0); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
}

// Nobody says a word: the test still ends.
func TestWithoutAWord(t *testing.T) { AtWord(t, filepath.Join(t.TempDir(), "fifo")) }
