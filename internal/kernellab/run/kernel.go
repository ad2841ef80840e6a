//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A kernel is an image and its modules, as Debian packages them.
type kernel struct {
	version string
	image   string
	modules string
}

// findKernel looks into the unpacked packages, and then below the runner's root:
// a Debian that runs the kernel has its package installed, and then apt does not
// fetch it as a dependency.
func findKernel(roots ...string) (kernel, error) {
	for _, root := range roots {
		for _, image := range glob(root, "boot/vmlinuz-*-amd64") {
			version := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
			for _, modules := range glob(root, "lib/modules/"+version, "usr/lib/modules/"+version) {
				if _, err := os.ReadFile(image); err == nil && len(glob(modules, "kernel/net/netfilter/ipvs/ip_vs.ko*")) > 0 {
					return kernel{version: version, image: image, modules: modules}, nil
				}
			}
		}
	}
	return kernel{}, fmt.Errorf("no kernel with ip_vs in the boot folder of %s", strings.Join(roots, " nor "))
}

// indexModules returns a folder with links to the modules and with the lists
// that modprobe reads, which packages leave for depmod to write. It is made once
// for a kernel; it gets its name last, so one that is there is complete.
func (p parts) indexModules(ctx context.Context) (string, error) {
	cache := filepath.Join(p.hardware, "../../kernellab") // the trees are in CACHE/trees
	base := filepath.Join(cache, filepath.Base(p.hardware)+"-"+p.kernel.version)
	folder := filepath.Join(base, "lib/modules", p.kernel.version)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(cache, "partial-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	if err := os.Chmod(partial, 0o755); err != nil {
		return "", err
	}
	if err := p.depmod(ctx, partial); err != nil {
		return "", err
	}
	if err := os.Rename(partial, base); err != nil && !errors.Is(err, fs.ErrExist) { // somebody else's is as good
		return "", err
	}
	return folder, nil
}

func (p parts) depmod(ctx context.Context, base string) error {
	folder := filepath.Join(base, "lib/modules", p.kernel.version)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(p.kernel.modules)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "kernel" && !strings.HasPrefix(e.Name(), "modules.builtin") && e.Name() != "modules.order" {
			continue
		}
		target := filepath.Join(p.kernel.modules, e.Name())
		if strings.HasPrefix(target, p.hardware) { // in the cache, which may be moved
			if target, err = filepath.Rel(folder, target); err != nil {
				return err
			}
		}
		if err := os.Symlink(target, filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	kmod := glob(p.tools, "bin/kmod", "usr/bin/kmod")
	if len(kmod) == 0 {
		return fmt.Errorf("no kmod in %s", p.tools)
	}
	cmd := command(ctx, os.Stderr, kmod[0])
	cmd.Args = []string{"depmod", "-b", base, p.kernel.version} // kmod is what its first argument says
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(glob(p.tools, "usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"), ":"))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("depmod: %w", err)
	}
	return nil
}

// moduleOrder reads modules.dep and returns the files of these modules and of
// all that they need, each after what it needs. What is built into the kernel is
// not among them.
func moduleOrder(folder string, names []string) ([]string, error) {
	needs, err := readDependencies(filepath.Join(folder, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(folder, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	var order []string
	seen := map[string]bool{}
	for _, name := range names {
		files, ok := needs[name]
		if !ok && strings.Contains(string(builtin), "/"+name+".ko") {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("no module %s in %s", name, folder)
		}
		// modules.dep lists what is needed most deeply last.
		for _, path := range slices.Backward(files) {
			if !seen[path] {
				seen[path] = true
				order = append(order, filepath.Join(folder, path))
			}
		}
	}
	return order, nil
}

// readDependencies reads lines of "FILE: FILE...": the module, then what it
// needs, all the way down; by the module's name.
func readDependencies(path string) (map[string][]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	needs := map[string][]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		file, rest, _ := strings.Cut(lines.Text(), ":")
		name, _, _ := strings.Cut(filepath.Base(file), ".ko")
		needs[name] = append([]string{file}, strings.Fields(rest)...)
	}
	return needs, lines.Err()
}
