//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writeInitramfs writes what the kernel starts with: the guest as its init, and
// the modules by which it reaches the rest, named in the order of loading.
func (l *lab) writeInitramfs(modules string) (err error) {
	f, err := os.Create(l.path("initramfs"))
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	buffered := bufio.NewWriter(f)
	a := archive{to: buffered}
	a.folder("dev")
	a.device("dev/console", 5, 1)
	a.file("init", l.path("guest"))
	a.folder("modules")
	files, err := moduleOrder(modules, initModules)
	if err != nil {
		return err
	}
	for i, file := range files {
		a.file(fmt.Sprintf("modules/%02d-%s", i, filepath.Base(file)), file)
	}
	a.end()
	if a.err != nil {
		return a.err
	}
	return buffered.Flush()
}

// An archive is a cpio archive of the kind that the kernel unpacks: "newc", see
// Documentation/driver-api/early-userspace/buffer-format.rst of Linux. The first
// error stays.
type archive struct {
	to    io.Writer
	inode int
	err   error
}

const (
	modeFolder = 0o040755
	modeFile   = 0o100755
	modeDevice = 0o020600
)

func (a *archive) folder(name string) { a.entry(name, modeFolder, 0, 0, nil) }

func (a *archive) device(name string, major, minor int) { a.entry(name, modeDevice, major, minor, nil) }

func (a *archive) file(name, path string) {
	content, err := os.ReadFile(path)
	if a.err == nil {
		a.err = err
	}
	a.entry(name, modeFile, 0, 0, content)
}

func (a *archive) end() { a.entry("TRAILER!!!", 0, 0, 0, nil) }

// entry writes a header of hexadecimal numbers, the name, and the content, each
// padded to four bytes.
func (a *archive) entry(name string, mode, major, minor int, content []byte) {
	if a.err != nil {
		return
	}
	a.inode++
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0, name)
	for _, part := range [][]byte{[]byte(header), content} {
		padding := make([]byte, (4-len(part)%4)%4)
		if _, a.err = a.to.Write(append(part, padding...)); a.err != nil {
			return
		}
	}
}
