package fencing

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/internal/timeup"
)

// script makes a program of the site's, in a folder of its own, which is $D.
func script(t *testing.T, text string) Program {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "power")
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return Program{Path: path, Env: []string{"D=" + dir}, Timeout: 20 * time.Second, Pause: time.Millisecond}
}

// lines are what the program wrote into a file of its folder.
func lines(t *testing.T, p Program, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(p.Path), name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestPowerOff(t *testing.T) {
	const brief = 300 * time.Millisecond
	for name, c := range map[string]struct {
		script  string
		timeout time.Duration
		want    []string // the calls; empty: it is not verified
	}{
		"at once":                {`[ $1 = off ] || echo off`, 0, []string{"off dr2", "status dr2"}},
		"a fence agent":          {`[ $1 = off ] || { echo "Status: OFF"; exit 2; }`, 0, []string{"off dr2", "status dr2"}},
		"after talking":          {`[ $1 = off ] || printf 'asking dr2\nOff\n\n'`, 0, []string{"off dr2", "status dr2"}},
		"slowly":                 {`[ $1 = off ] || { n=$(grep -c status $D/calls); [ $n -gt 2 ] && echo off || echo on; }`, 0, []string{"off dr2", "status dr2", "status dr2", "status dr2"}},
		"refused at first":       {`[ $1 = status ] && echo off; [ $(wc -l <$D/calls) -gt 1 ]`, 0, []string{"off dr2", "off dr2", "status dr2"}},
		"never off":              {`echo on`, brief, nil},
		"off is refused":         {`echo off; [ $1 = status ]`, brief, nil},
		"status fails":           {`echo off; [ $1 = off ]`, brief, nil},
		"status on stderr":       {`echo off >&2`, brief, nil},
		"says more than off":     {`echo off or on`, brief, nil},
		"takes it back":          {`printf 'off\non\n'`, brief, nil},
		"hangs":                  {`[ $1 = off ] || { echo off; exec sleep 1000; }`, brief, nil},
		"killed":                 {`[ $1 = off ] || { echo off; kill -9 $$; }`, brief, nil},
		"says nothing":           {`:`, brief, nil},
		"leaves somebody behind": {`[ $1 = off ] || { echo off; sleep 1000 & }`, brief, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := script(t, `echo $1 $2 >>$D/calls; `+c.script)
			if c.timeout != 0 {
				p.Timeout = c.timeout
			}
			err := NewStonith(p).PowerOff(t.Context(), "dr2")
			if c.want == nil {
				if !errors.Is(err, ErrUnverified) || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v, want %v", err, ErrUnverified)
				}
				t.Log(err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(t, p, "calls"); !slices.Equal(got, c.want) {
				t.Errorf("calls %q, want %q", got, c.want)
			}
		})
	}
}

// TestCall has a fence agent's way of being called: options on standard input.
func TestCall(t *testing.T) {
	p := script(t, `[ "$1" = -o ] || exit 1; cat >$D/last; cat $D/last >>$D/input; ! grep -q status $D/last || echo "Status: OFF"`)
	p.Call = func(action, node string) ([]string, []byte) {
		return []string{"-o"}, []byte("action=" + action + "\nplug=" + node + "\n")
	}
	if err := NewStonith(p).PowerOff(t.Context(), "dr2"); err != nil {
		t.Fatal(err)
	}
	want := []string{"action=off", "plug=dr2", "action=status", "plug=dr2"}
	if got := lines(t, p, "input"); !slices.Equal(got, want) {
		t.Errorf("it read %q, want %q", got, want)
	}
}

// TestPowerOffTellsWhy lets time run out in the middle of the second try: the reason is
// that of the first, not that time is up.
func TestPowerOffTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s := NewStonith(Program{
			Path: "/nonexistent/power",
			Call: func(string, string) ([]string, []byte) {
				if tries++; tries > 1 {
					time.Sleep(2 * DefaultTimeout)
				}
				return nil, nil
			},
		})
		err := s.PowerOff(t.Context(), "dr2")
		if !errors.Is(err, os.ErrNotExist) || !errors.Is(err, ErrUnverified) || tries != 2 {
			t.Errorf("after %d tries: %v", tries, err)
		}
	})
}

// TestPowerOffTellsTheReason: a try that is cut short by the end of the time does not hide
// why the one before it failed.
func TestPowerOffTellsTheReason(t *testing.T) {
	p := script(t, `[ ! -e $D/tried ] || { echo >$D/again; exec sleep 1000; }; : >$D/tried; echo "no such plug" >&2; exit 1`)
	p.Timeout = time.Hour
	ctx := timeup.AtWord(t, filepath.Join(filepath.Dir(p.Path), "again"))
	err := NewStonith(p).PowerOff(ctx, "dr2")
	if !errors.Is(err, ErrUnverified) || !strings.Contains(err.Error(), "no such plug") {
		t.Errorf("error %v", err)
	}
}

func TestPowerOffNeedsANode(t *testing.T) {
	s := NewStonith(Program{Path: "/nonexistent/power"})
	for _, node := range []string{"", "-f"} {
		if err := s.PowerOff(t.Context(), node); err == nil || errors.Is(err, ErrUnverified) {
			t.Errorf("node %q: %v", node, err)
		}
	}
}

// TestOneAtATime holds a power-off in a program that waits for a pipe to be opened.
func TestOneAtATime(t *testing.T) {
	p := script(t, `[ $1 = off ] && { [ $2 != dr2 ] || : >$D/pipe; } || echo off`)
	pipe := filepath.Join(filepath.Dir(p.Path), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStonith(p)
	first := make(chan error, 1)
	go func() { first <- s.PowerOff(t.Context(), "dr2") }()
	for { // until the first is at it
		s.mu.Lock()
		begun := s.running["dr2"]
		s.mu.Unlock()
		if begun {
			break
		}
	}
	if err := s.PowerOff(t.Context(), "dr2"); !errors.Is(err, ErrRunning) {
		t.Errorf("second: %v", err)
	}
	if err := s.PowerOff(t.Context(), "dr3"); err != nil {
		t.Errorf("another node: %v", err)
	}
	reader, err := os.Open(pipe) // lets the first go on
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if err := <-first; err != nil {
		t.Errorf("first: %v", err)
	}
}

// TestPowerOffEnds with its context, and the program with it.
func TestPowerOffEnds(t *testing.T) {
	p := script(t, `: >$D/pipe; exec sleep 1000`)
	pipe := filepath.Join(filepath.Dir(p.Path), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if reader, err := os.Open(pipe); err == nil { // the program runs
			_ = reader.Close()
		}
		cancel()
	}()
	if err := NewStonith(p).PowerOff(ctx, "dr2"); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnverified) {
		t.Errorf("error %v", err)
	}
}
