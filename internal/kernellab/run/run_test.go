//go:build linux

package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParse(t *testing.T) {
	l, err := parse([]string{"-vm", "-run", "X", "./a", "./b"})
	if err != nil || !l.machine || l.pattern != "X" || !cmp.Equal(l.packages, []string{"./a", "./b"}) {
		t.Errorf("got %+v, %v", l, err)
	}
	if _, err := parse([]string{"-vm", "-native"}); err == nil {
		t.Error("both places are accepted")
	}
}

func TestAnyMatch(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "a_test.go"), "package a\n\n// func TestKernelNot\nfunc TestOther(t *testing.T) {}\n")
	write(t, filepath.Join(folder, "b_test.go"), "package a\n\nfunc TestKernelDR(t *testing.T) {}\n")
	for want, files := range map[bool][]string{false: {"a_test.go"}, true: {"a_test.go", "b_test.go"}} {
		if got, err := anyMatch(folder, files); got != want || err != nil {
			t.Errorf("%v: got %v, %v", files, got, err)
		}
	}
}

// Modules come after what they need, each once; what is built in is left out.
func TestModuleOrder(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "modules.dep"), `kernel/fs/9p/9p.ko.xz: kernel/fs/netfs.ko.xz kernel/net/9pnet.ko.xz
kernel/net/9pnet_virtio.ko.xz: kernel/virtio_ring.ko.xz kernel/virtio.ko.xz kernel/net/9pnet.ko.xz
kernel/fs/netfs.ko.xz:
kernel/net/9pnet.ko.xz:
kernel/virtio.ko.xz:
kernel/virtio_ring.ko.xz: kernel/virtio.ko.xz
`)
	write(t, filepath.Join(folder, "modules.builtin"), "kernel/fs/overlayfs/overlay.ko\n")
	got, err := moduleOrder(folder, []string{"9pnet_virtio", "9p", "overlay"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range got {
		names = append(names, filepath.Base(file))
	}
	want := []string{"9pnet.ko.xz", "virtio.ko.xz", "virtio_ring.ko.xz", "9pnet_virtio.ko.xz", "netfs.ko.xz", "9p.ko.xz"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := moduleOrder(folder, []string{"nothing"}); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("a module that is not there: %v", err)
	}
}

func TestFindKernel(t *testing.T) {
	tree, own := t.TempDir(), t.TempDir()
	if k, err := findKernel(tree, own); err == nil {
		t.Errorf("found %+v in nothing", k)
	}
	write(t, filepath.Join(own, "boot/vmlinuz-6.12.0-1-amd64"), "own")
	write(t, filepath.Join(own, "usr/lib/modules/6.12.0-1-amd64/kernel/net/netfilter/ipvs/ip_vs.ko.xz"), "")
	write(t, filepath.Join(tree, "boot/vmlinuz-6.1.0-9-amd64"), "without modules")
	if k, err := findKernel(tree, own); err != nil || k.version != "6.12.0-1-amd64" {
		t.Errorf("got %+v, %v", k, err)
	}
	write(t, filepath.Join(tree, "lib/modules/6.1.0-9-amd64/kernel/net/netfilter/ipvs/ip_vs.ko"), "")
	if k, err := findKernel(tree, own); err != nil || k.version != "6.1.0-9-amd64" || k.modules != filepath.Join(tree, "lib/modules/6.1.0-9-amd64") {
		t.Errorf("got %+v, %v", k, err)
	}
}

// What the root has is left alone, and absolute links of a package mean the
// package's own files.
func TestMissing(t *testing.T) {
	tree, root := t.TempDir(), t.TempDir()
	kmod := write(t, filepath.Join(tree, "bin/kmod"), "")
	write(t, filepath.Join(tree, "bin/ls"), "")
	write(t, filepath.Join(root, "bin/ls"), "")
	lib := write(t, filepath.Join(tree, "usr/lib/x86_64-linux-gnu/libx.so.1"), "")
	if err := os.MkdirAll(filepath.Join(tree, "sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/kmod", filepath.Join(tree, "sbin/modprobe")); err != nil {
		t.Fatal(err)
	}
	got, err := missing(tree, root)
	want := map[string]string{"/bin/kmod": kmod, "/sbin/modprobe": kmod, "/usr/lib/x86_64-linux-gnu/libx.so.1": lib}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}

// The archive, read back by the rules of the kernel's own reader.
func TestArchive(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "f"), "hello")
	var out bytes.Buffer
	a := archive{to: &out}
	a.folder("dev")
	a.device("dev/console", 5, 1)
	a.file("init", file)
	a.end()
	if a.err != nil {
		t.Fatal(a.err)
	}
	want := []string{"dev 40755 0:0 ", "dev/console 20600 5:1 ", "init 100755 0:0 hello", "TRAILER!!! 0 0:0 "}
	if diff := cmp.Diff(want, unarchive(t, out.Bytes())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	a.file("missing", file+"x")
	if a.err == nil {
		t.Error("a file that is not there is archived")
	}
}

func unarchive(t *testing.T, b []byte) []string {
	t.Helper()
	var entries []string
	aligned := func(n int) int { return (n + 3) &^ 3 }
	for at := 0; at < len(b); {
		header := string(b[at : at+110])
		if !strings.HasPrefix(header, "070701") {
			t.Fatalf("at %d: %s", at, hex.Dump(b[at:at+16]))
		}
		field := func(n int) int {
			value, err := strconv.ParseInt(header[6+8*n:14+8*n], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(value)
		}
		name := at + 110
		content := at + aligned(110+field(11))
		entries = append(entries, fmt.Sprintf("%s %o %d:%d %s", b[name:name+field(11)-1], field(1), field(9), field(10), b[content:content+field(6)]))
		at = content + aligned(field(6))
	}
	return entries
}
