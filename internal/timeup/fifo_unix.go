//go:build unix

package timeup

import (
	"os"
	"syscall"
	"testing"
)

// AtWord makes a named pipe and returns a context whose time is up as soon as
// somebody wrote into it, or at the end of the test: "echo there >PATH" is how a
// script says how far it is. Whoever opens the pipe never waits for another.
func AtWord(t testing.TB, path string) *Context {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, read := New(t.Context()), make(chan struct{})
	go func() {
		defer close(read)
		defer c.End()
		_, _ = pipe.Read(make([]byte, 1))
	}()
	t.Cleanup(func() {
		_ = pipe.Close()
		<-read
	})
	return c
}
