package main

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unread is a pipe that is full and that nobody reads yet.
func unread(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = reader.Close(), writer.Close() })
	if err := writer.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	full := []byte(strings.Repeat("x", 4095) + "\n")
	for err == nil {
		_, err = writer.Write(full)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return reader, writer
}

// TestEndToEndLogThatNobodyReads: a daemon whose standard error is a pipe that nobody
// reads starts, answers, reloads and ends; and when somebody reads it goes on there.
func TestEndToEndLogThatNobodyReads(t *testing.T) {
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR2} {
		t.Run(end.String(), func(t *testing.T) {
			p := newPlace(t, site(listen(t).Addr().String())+"[log]\nlevel = \"debug\"\n")
			_, writer := unread(t)
			d := startWith(t, writer, "run", "-c", p.config)
			appears(t, p.socket)
			before := p.status(t).Engine.Watches[0].Runs
			for deadline := time.Now().Add(patience); p.status(t).Engine.Watches[0].Runs < before+3; {
				if time.Now().After(deadline) {
					t.Fatal("the watch does not run")
				}
			}
			if out, errs, exit := program(t, "reload", "-s", p.socket); exit != 0 {
				t.Errorf("reload: exit %d, %s%s", exit, out, errs)
			}
			d.signal(end)
			d.wantEnd()
		})
	}
}

func TestEndToEndLogIsReadLater(t *testing.T) {
	p := newPlace(t, site(listen(t).Addr().String()))
	reader, writer := unread(t)
	startWith(t, writer, "run", "-c", p.config)
	appears(t, p.socket)
	p.status(t)
	if err := reader.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(reader); ; {
		if !lines.Scan() {
			t.Fatalf("no line of the daemon: %v", lines.Err())
		}
		if strings.Contains(lines.Text(), "msg=started") {
			return
		}
	}
}

// startWith is start with another standard error.
func startWith(t *testing.T, stderr *os.File, args ...string) *process {
	t.Helper()
	return launch(t, func(p *process) { p.cmd.Stderr = stderr }, args...)
}

// TestEndToEndLogFile: the log goes to a file, follows it when it is rotated, and one
// that cannot be had is an error which changes nothing.
func TestEndToEndLogFile(t *testing.T) {
	text := site(listen(t).Addr().String())
	p := newPlace(t, text+"[log]\nfile = \"monitord.log\"\n")
	file := filepath.Join(p.folder, "monitord.log")
	d := start(t, "run", "-c", p.config)
	wantLine(t, file, "msg=started")
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	p.write(t, text+"[log]\nfile = \"nowhere/monitord.log\"\n")
	d.signal(syscall.SIGHUP)
	wantLine(t, file, "nowhere/monitord.log")
	wantLine(t, file, "the old one stays in force")
	p.write(t, text+"[log]\nfile = \"monitord.log\"\nformat = \"json\"\n")
	d.signal(syscall.SIGHUP)
	wantLine(t, file, `"msg":"configuration reloaded"`)
	d.signal(syscall.SIGTERM)
	d.wantEnd()
	wantLine(t, file, `"msg":"ended"`)
	if d.text() != "" {
		t.Errorf("standard error has %s", d.text())
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	bad := newPlace(t, text+"[log]\nfile = \"nowhere/monitord.log\"\n")
	if _, errs, exit := program(t, "run", "-c", bad.config); exit != 1 || !strings.Contains(errs, "[log]: file: ") || !strings.Contains(errs, "nowhere") {
		t.Errorf("exit %d, %s", exit, errs)
	}
}

// wantLine waits until a file holds a text.
func wantLine(t *testing.T, file, text string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if have, err := os.ReadFile(file); err == nil && strings.Contains(string(have), text) {
			return
		}
	}
	have, err := os.ReadFile(file)
	t.Fatalf("no %q in %s: %s, %v", text, file, have, err)
}
