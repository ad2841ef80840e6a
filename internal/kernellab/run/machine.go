//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/kernellab/plan"
)

// What the machine's init needs before it can see the runner's root, and what it
// reports through.
var initModules = []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"}

const (
	memory     = "1536M"
	processors = "2"
	// The kernel may trust this processor's clock and random numbers, and there is
	// nobody to protect it from. A panic ends the machine.
	kernelLine = "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr tsc=reliable random.trust_cpu=on"
)

// parts are what a machine is made of: unpacked packages and a kernel in them.
type parts struct {
	hardware string // QEMU and the kernel
	tools    string // programs that tests use
	kernel   kernel
}

// gather fetches what is not in the cache.
func gather(ctx context.Context) (parts, error) {
	var p parts
	if runtime.GOARCH != "amd64" {
		return p, fmt.Errorf("the virtual machine is made for amd64, not for %s", runtime.GOARCH)
	}
	var err error
	if p.hardware, err = debian.Fetch(ctx, "linux-image-amd64", "qemu-system-x86"); err != nil {
		return p, fmt.Errorf("kernel and QEMU: %w", err)
	}
	if p.tools, err = debian.Fetch(ctx, kernellab.ToolPackages()...); err != nil {
		return p, fmt.Errorf("programs for the machine: %w", err)
	}
	// What a test finds in the cache need not be fetched in a machine without a network.
	if _, err := os.Stat(kernellab.SystemdPath); err != nil {
		if _, err := debian.Fetch(ctx, "systemd"); err != nil {
			return p, fmt.Errorf("systemd for the machine: %w", err)
		}
	}
	p.kernel, err = findKernel(p.hardware, "/")
	return p, err
}

// inMachine boots a machine and runs the plan in it.
func (l *lab) inMachine(ctx context.Context, p plan.Plan) error {
	start := time.Now()
	parts, err := gather(ctx)
	if err != nil {
		return err
	}
	if p.Modules, err = parts.indexModules(ctx); err != nil {
		return err
	}
	if err := l.writeInitramfs(p.Modules); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	if p.Links, err = missing(parts.tools, "/"); err != nil {
		return err
	}
	p.Env = append(p.Env, kernellab.ToolsVariable+"=1")
	if err := p.Write(l.folder); err != nil {
		return err
	}
	l.tell("machine with Linux %s prepared in %.1f s", parts.kernel.version, time.Since(start).Seconds())
	return l.boot(ctx, parts)
}

// boot runs the machine to its end. Its output comes through one port, its exit
// code through another, known to the guest by name; the console is for what went
// wrong.
func (l *lab) boot(ctx context.Context, p parts) error {
	args, err := l.arguments(p)
	if err != nil {
		return err
	}
	start := time.Now()
	program := filepath.Join(p.hardware, "usr/bin/qemu-system-x86_64")
	cmd := command(ctx, &firstByte{to: os.Stdout, seen: func() {
		l.tell("first output %.1f s after the start", time.Since(start).Seconds())
	}}, program, args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	cmd.Env = append(os.Environ(),
		"LD_LIBRARY_PATH="+strings.Join(glob(p.hardware, "usr/lib/*-linux-gnu", "lib/*-linux-gnu"), ":"),
		"QEMU_MODULE_DIR="+strings.Join(glob(p.hardware, "usr/lib/*-linux-gnu/qemu"), ":"))
	runErr := cmd.Run()
	l.tell("the machine ran for %.1f s", time.Since(start).Seconds())
	console, _ := os.ReadFile(l.path("console"))
	if l.verbose {
		_, _ = os.Stderr.Write(console)
	}
	result, err := os.ReadFile(l.path("result"))
	if err == nil && len(result) > 0 {
		return exit(result)
	}
	if err := errors.Join(runErr, err); err != nil {
		return fmt.Errorf("the machine: %w\n%s%s", err, complaints.Bytes(), console)
	}
	return fmt.Errorf("the machine ended without a result\n%s%s", complaints.Bytes(), console)
}

func exit(result []byte) error {
	if code := strings.TrimSpace(string(result)); code != "0" {
		return errors.New("tests failed")
	}
	return nil
}

// arguments are QEMU's.
func (l *lab) arguments(p parts) ([]string, error) {
	if strings.ContainsAny(l.folder, ", \t\n") {
		return nil, fmt.Errorf("folder %q: QEMU and the kernel take no comma and no space; set TMPDIR", l.folder)
	}
	accelerate, processor := "tcg,thread=multi", "max"
	if virtualizes() {
		accelerate, processor = "kvm", "host"
	}
	args := []string{
		"-accel", accelerate, "-cpu", processor, "-machine", "q35", "-smp", processors, "-m", memory,
		"-nodefaults", "-display", "none", "-no-reboot", "-no-user-config",
		"-kernel", p.kernel.image, "-initrd", l.path("initramfs"),
		"-append", kernelLine + " kernellab=" + l.folder,
		"-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
		"-chardev", "file,id=console,path=" + l.path("console"), "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", "file,id=output,path=/dev/stdout", "-device", "virtserialport,chardev=output,nr=1,name=output",
		"-chardev", "file,id=result,path=" + l.path("result"), "-device", "virtserialport,chardev=result,nr=2,name=result",
	}
	for _, folder := range glob(p.hardware, "usr/share/qemu", "usr/share/seabios") {
		args = append(args, "-L", folder)
	}
	return args, nil
}

// virtualizes reports whether the processor runs machines by itself. A /dev/kvm
// alone says nothing: without the module of the processor's kind a machine hangs.
func virtualizes() bool {
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		if _, err := os.Stat("/sys/module/" + module); err == nil {
			return unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) == nil
		}
	}
	return false
}

// glob returns what there is below root of these patterns.
func glob(root string, patterns ...string) []string {
	var found []string
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(filepath.Join(root, pattern)) // its only error is a bad pattern
		found = append(found, matches...)
	}
	return found
}

// missing returns, by path, links to those programs and libraries of the tree
// that a root does not have.
func missing(tree, root string) (map[string]string, error) {
	links := map[string]string{}
	for _, target := range glob(tree, "bin/*", "sbin/*", "usr/bin/*", "usr/sbin/*", "usr/lib/*-linux-gnu*/*.so*", "lib/*-linux-gnu*/*.so*") {
		path, err := filepath.Rel(tree, target)
		if err != nil {
			return nil, err
		}
		path = "/" + path
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			continue
		}
		// A link of the tree, as /sbin/modprobe to /bin/kmod, means a file of the tree.
		if to, err := os.Readlink(target); err == nil && filepath.IsAbs(to) {
			target = filepath.Join(tree, to)
		}
		links[path] = target
	}
	return links, nil
}

// A firstByte calls seen when the first output comes.
type firstByte struct {
	to   *os.File
	seen func()
}

func (f *firstByte) Write(b []byte) (int, error) {
	if f.seen != nil {
		f.seen()
		f.seen = nil
	}
	return f.to.Write(b)
}
