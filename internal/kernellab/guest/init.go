//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/kernellab/plan"
)

// The names of the machine's ports.
const (
	outputPort = "output" // what the tests print
	resultPort = "result" // the exit code, as text: nothing if it never came to that
)

// The machine's root is the runner's own, read-only, under a layer of memory.
const (
	lower = "/lower" // the runner's root, by 9p
	layer = "/layer"
	root  = "/root"
)

// initialize is process 1. It never returns: a kernel whose init ends panics.
func initialize() error {
	if err := machine(); err != nil {
		fmt.Fprintln(os.Stderr, "kernellab: init:", err) // the console: shown by the runner
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func machine() error {
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := mountRoot(); err != nil {
		return err
	}
	folder, err := runFolder()
	if err != nil {
		return err
	}
	p, err := plan.Read(folder)
	if err != nil {
		return err
	}
	if err := furnish(p); err != nil {
		return err
	}
	return runInMachine(folder)
}

// loadModules loads the kernel's modules in the order of their names.
func loadModules(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		flags := 0
		if !strings.HasSuffix(e.Name(), ".ko") { // .ko.xz, .ko.zst
			flags = unix.MODULE_INIT_COMPRESSED_FILE
		}
		err = unix.FinitModule(int(f.Fd()), "", flags)
		_ = f.Close()
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("load module %s: %w", e.Name(), err)
		}
	}
	return nil
}

// A mount is the arguments of mount(2); its target is made.
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
		}
	}
	return nil
}

// mountRoot puts the root together and moves into it, as switch_root(8) does.
func mountRoot() error {
	err := mountAll([]mount{
		{"root", lower, "9p", unix.MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose"},
		{"tmpfs", layer, "tmpfs", 0, "mode=755"},
	})
	if err != nil {
		return err
	}
	for _, folder := range []string{layer + "/upper", layer + "/work"} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	err = mountAll([]mount{
		{"root", root, "overlay", 0, "lowerdir=" + lower + ",upperdir=" + layer + "/upper,workdir=" + layer + "/work"},
		{"proc", root + "/proc", "proc", 0, ""},
		{"sysfs", root + "/sys", "sysfs", 0, ""},
		{"dev", root + "/dev", "devtmpfs", 0, ""},
		{"devpts", root + "/dev/pts", "devpts", 0, ""},
		{"shm", root + "/dev/shm", "tmpfs", 0, ""},
		{"run", root + "/run", "tmpfs", 0, "mode=755"},
	})
	if err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

// runFolder reads which run this is from the kernel's command line.
func runFolder() (string, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", err
	}
	for word := range strings.FieldsSeq(string(line)) {
		if folder, ok := strings.CutPrefix(word, "kernellab="); ok {
			return folder, nil
		}
	}
	return "", fmt.Errorf("no kernellab=FOLDER among %s", line)
}

// furnish gives the root what programs expect and the runner's root may lack:
// the modules of this kernel, Debian's programs, standard file names in /dev.
func furnish(p plan.Plan) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	links := map[string]string{
		filepath.Join("/lib/modules", unix.ByteSliceToString(name.Release[:])): p.Modules,
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	}
	maps.Copy(links, p.Links)
	for path, target := range links {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	if err := os.Chmod("/tmp", 0o777|fs.ModeSticky); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("kernellab")); err != nil {
		return err
	}
	return loopbackUp()
}

// runInMachine runs the plan in a child, reaps whatever the tests orphan, and
// tells the runner the child's exit code.
func runInMachine(folder string) error {
	out, err := openPort(outputPort)
	if err != nil {
		return err
	}
	child, err := os.StartProcess("/proc/self/exe", []string{"guest", "plan", folder}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb"},
		Files: []*os.File{nil, out, out},
	})
	if err != nil {
		return err
	}
	var status unix.WaitStatus
	for {
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the tests: %w", err)
		}
		if pid == child.Pid {
			break
		}
	}
	_ = out.Close()
	result, err := openPort(resultPort)
	if err != nil {
		return err
	}
	defer func() { _ = result.Close() }()
	_, err = fmt.Fprintln(result, status.ExitStatus())
	return err
}

// openPort waits for a port to appear: the kernel agrees with QEMU about its
// ports some time after the driver was loaded.
func openPort(name string) (*os.File, error) {
	const pause, tries = 20 * time.Millisecond, 500
	for range tries {
		if port := findPort(name); port != "" {
			return os.OpenFile(port, os.O_WRONLY, 0)
		}
		time.Sleep(pause)
	}
	return nil, fmt.Errorf("the machine has no port %q", name)
}

func findPort(name string) string {
	found, _ := filepath.Glob("/sys/class/virtio-ports/*/name") // its only error is a bad pattern
	for _, file := range found {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == name {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(file)))
		}
	}
	return ""
}
