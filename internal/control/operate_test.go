package control

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestWhoSaysSo: the kernel's word counts; what root says of itself is taken.
func TestWhoSaysSo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SO_PEERCRED is Linux's")
	}
	path := filepath.Join(t.TempDir(), "s")
	var got Operation
	stop := serve(t, path, Handlers{Operate: func(_ context.Context, o Operation) ([]string, error) {
		got = o
		return []string{"done"}, nil
	}})
	defer stop()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	root := os.Getuid() == 0
	for sudo, want := range map[string]string{
		"":                       me.Username,
		"ann":                    "ann (sudo)",
		"root":                   me.Username,
		"ann\nroot: all is well": me.Username,
		"a b":                    me.Username,
		strings.Repeat("a", 65):  me.Username,
	} {
		if !root {
			want = me.Username
		}
		said, err := NewClient(path).Operate(t.Context(), Operation{Do: "ack", Group: "web", Why: "y", Sudo: sudo, By: "mallory"})
		if err != nil || len(said) != 1 || said[0] != "done" {
			t.Errorf("said %q, %v", said, err)
		}
		if got.By != want || got.Do != "ack" || got.Group != "web" || got.Why != "y" {
			t.Errorf("with sudo of %q: %+v, want it by %q", sudo, got, want)
		}
	}
}

func TestACallerWithoutAName(t *testing.T) {
	for uid, want := range map[uint32]string{4294967294: "uid 4294967294", 0: "ann (sudo)"} {
		if got := caller(context.WithValue(t.Context(), callerKey{}, uid), "ann"); got != want {
			t.Errorf("uid %d is %q, want %q", uid, got, want)
		}
	}
	if got := caller(t.Context(), "ann"); got != "somebody" {
		t.Errorf("a caller that the kernel does not know is %q", got)
	}
}
