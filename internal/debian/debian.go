// Package debian is support for tests that run programs of Debian packages: it
// fetches the packages, and those of their dependencies that the machine lacks,
// into a cache folder of the checkout and unpacks them there.
//
// Nothing is installed and nothing outside of the cache is written: apt gets
// lists, archives and state folders of its own below the cache and only reads
// which packages the machine has. No privilege is needed. apt checks the
// signatures, as ever.
package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The environment variables that this package reads.
const (
	// RequireVariable set to 1 makes a missing package a failure and not a
	// reason to skip: CI promises these tests.
	RequireVariable = "MONITORD_REQUIRE_DEBIAN"
	// CacheVariable names another cache folder than .cache/debian beside go.mod.
	CacheVariable = "MONITORD_DEBIAN_CACHE"
)

// patience bounds the fetching of one set of packages.
const patience = 10 * time.Minute

// Tree returns the folder into which the packages of these names are unpacked,
// with what the machine lacks of their dependencies (not what they recommend).
// The first call fetches them, later ones find them even without a network; a
// lock makes test programs that run side by side fetch once. Delete the cache
// folder to get newer versions.
//
// If the packages cannot be had the test is skipped with the reason, or fails
// if MONITORD_REQUIRE_DEBIAN is 1.
func Tree(t testing.TB, names ...string) string {
	t.Helper()
	root, err := tree(t.Context(), names)
	switch {
	case err == nil:
		return root
	case os.Getenv(RequireVariable) == "1":
		t.Fatalf("debian packages %s: %v", strings.Join(names, ", "), err)
	default:
		t.Skipf("debian packages %s: %v", strings.Join(names, ", "), err)
	}
	return ""
}

// Fetch is [Tree] for what is no test: it returns why the packages cannot be had.
func Fetch(ctx context.Context, names ...string) (root string, err error) { return tree(ctx, names) }

// Setenv lets programs of the tree find each other, their Perl modules and their
// libraries, for the duration of the test: PATH, PERL5LIB and LD_LIBRARY_PATH.
func Setenv(t testing.TB, root string) {
	t.Helper()
	prepend := func(variable string, patterns ...string) {
		var folders []string
		for _, pattern := range patterns {
			found, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil {
				t.Fatal(err)
			}
			folders = append(folders, found...)
		}
		if before := os.Getenv(variable); before != "" {
			folders = append(folders, before)
		}
		t.Setenv(variable, strings.Join(folders, ":"))
	}
	prepend("PATH", "usr/sbin", "usr/bin", "sbin", "bin")
	prepend("PERL5LIB", "usr/share/perl5", "usr/lib/*/perl5/*", "usr/lib/*/perl-base", "usr/share/perl/*", "usr/lib/*/perl/*")
	prepend("LD_LIBRARY_PATH", "usr/lib/*-linux-gnu*", "lib/*-linux-gnu*")
}

func tree(ctx context.Context, names []string) (string, error) {
	folder, err := cacheFolder()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := cache{folder: folder}
	unlock, err := c.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	return c.tree(ctx, names)
}

// cacheFolder is .cache/debian beside the go.mod above the working folder, where
// "go test" runs tests.
func cacheFolder() (string, error) {
	if folder := os.Getenv(CacheVariable); folder != "" {
		return filepath.Abs(folder)
	}
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		_, err := os.Stat(filepath.Join(folder, "go.mod"))
		switch {
		case err == nil:
			return filepath.Join(folder, ".cache", "debian"), nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		case folder == filepath.Dir(folder):
			return "", fmt.Errorf("no go.mod above %s: set %s to a folder for the packages", start, CacheVariable)
		}
	}
}

// A cache is the folder with apt's own folders and the unpacked trees.
//
//	apt/              lists, archives and state of apt
//	trees/HASH/       one set of packages, each in one version, unpacked
//	trees/HASH.txt    which they are
//	requests/NAMES    the HASH that a call of Tree was answered with
type cache struct{ folder string }

func (c cache) path(parts ...string) string {
	return filepath.Join(append([]string{c.folder}, parts...)...)
}

// lock waits for other test programs that use the cache. The lock ends with the
// process at the latest.
func (c cache) lock() (unlock func(), err error) {
	if err := os.MkdirAll(c.folder, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(c.path("lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}
