package debian

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/runcmd"
)

// fresh is how old package lists may be; an older list may name versions that
// the archive no longer has.
const fresh = 24 * time.Hour

// noHooks takes out what the machine's apt runs after an update: this is not an
// update of the machine.
const noHooks = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`

// tree answers a request from the cache, or fetches and unpacks.
func (c cache) tree(ctx context.Context, names []string) (string, error) {
	request := c.path("requests", requestName(names))
	if hash, err := os.ReadFile(request); err == nil {
		root := c.path("trees", string(hash))
		if _, err := os.Stat(root); err == nil {
			return root, nil
		}
	}
	debs, err := c.fetch(ctx, names)
	if err != nil {
		return "", err
	}
	hash, err := c.unpack(ctx, debs)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(c.path("requests"), 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(request, []byte(hash), 0o644); err != nil {
		return "", err
	}
	return c.path("trees", hash), nil
}

// requestName is the file name for a set of packages on this kind of machine.
func requestName(names []string) string {
	release := "unknown"
	if text, err := os.ReadFile("/etc/debian_version"); err == nil {
		release, _, _ = strings.Cut(strings.TrimSpace(string(text)), ".")
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	return fmt.Sprintf("debian%s-%s-%s", url.PathEscape(release), runtime.GOARCH, strings.Join(sorted, "+"))
}

// fetch downloads the named packages and what the machine lacks of their
// dependencies, and returns their files.
func (c cache) fetch(ctx context.Context, names []string) ([]string, error) {
	// The named ones are wanted in the tree even if the machine has them.
	steps := [][]string{{"download"}, {"install", "--no-install-recommends"}}
	updateErr := c.update(ctx)
	var debs []string
	for _, step := range steps {
		uris, err := c.aptIn(ctx, "empty", slices.Concat([]string{"--print-uris"}, step, names)...)
		if err != nil {
			return nil, unreachable(err, updateErr)
		}
		debs = append(debs, files(uris)...)
	}
	slices.Sort(debs)
	debs = slices.Compact(debs)
	var exact []string
	for _, deb := range debs {
		p, err := exactPackage(deb)
		if err != nil {
			return nil, err
		}
		exact = append(exact, p)
	}
	if _, err := c.apt(ctx, append([]string{"download"}, exact...)...); err != nil {
		return nil, unreachable(err, updateErr)
	}
	return debs, c.present(debs)
}

// unreachable tells why packages cannot be had: most likely because the archive
// cannot be reached.
func unreachable(err, updateErr error) error {
	if updateErr == nil {
		return err
	}
	return fmt.Errorf("the package archive cannot be reached (is this machine offline?): %w (then: %w)", updateErr, err)
}

func (c cache) present(debs []string) error {
	for _, deb := range debs {
		if _, err := os.Stat(c.archive(deb)); err != nil {
			return err
		}
	}
	return nil
}

func (c cache) archive(deb string) string { return c.path("apt", "archives", deb) }

// update reads the package lists anew if they are old. Its error counts only if
// the packages cannot be had either: one unreachable third-party archive must
// not hide Debian's.
func (c cache) update(ctx context.Context) error {
	stamp := c.path("apt", "updated")
	if info, err := os.Stat(stamp); err == nil && time.Since(info.ModTime()) < fresh {
		return nil
	}
	_, err := c.apt(ctx, "update")
	if err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// files reads the file names out of apt-get --print-uris: 'URI' FILE SIZE HASH.
func files(uris []byte) []string {
	var found []string
	for line := range strings.Lines(string(uris)) {
		if fields := strings.Fields(line); len(fields) >= 2 && strings.HasPrefix(fields[0], "'") && strings.HasSuffix(fields[1], ".deb") {
			found = append(found, fields[1])
		}
	}
	return found
}

// exactPackage is what to ask apt for to get this file: NAME:ARCH=VERSION.
func exactPackage(deb string) (string, error) {
	parts := strings.Split(strings.TrimSuffix(deb, ".deb"), "_")
	if len(parts) != 3 {
		return "", fmt.Errorf("apt-get names a file %q, want NAME_VERSION_ARCH.deb", deb)
	}
	version, err := url.PathUnescape(parts[1])
	if err != nil {
		return "", fmt.Errorf("apt-get names a file %q: %w", deb, err)
	}
	if parts[2] == "all" {
		return parts[0] + "=" + version, nil
	}
	return parts[0] + ":" + parts[2] + "=" + version, nil
}

// apt calls apt-get with folders of its own and returns what it prints.
func (c cache) apt(ctx context.Context, args ...string) ([]byte, error) {
	return c.aptIn(ctx, "archives", args...)
}

// aptIn runs apt-get in a folder below apt/. "download" writes into the working
// folder, and with --print-uris leaves out what is there already.
func (c cache) aptIn(ctx context.Context, folder string, args ...string) ([]byte, error) {
	conf := c.path("apt", "conf")
	for _, folder := range []string{"state/lists/partial", "cache/archives/partial", "log", "archives", "empty"} {
		if err := os.MkdirAll(c.path("apt", folder), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(conf, []byte(noHooks), 0o644); err != nil {
		return nil, err
	}
	options := []string{"-qq", "-y", "-c", conf}
	for _, o := range []string{
		"Dir::State=" + c.path("apt", "state"),
		"Dir::State::status=/var/lib/dpkg/status",
		"Dir::Cache=" + c.path("apt", "cache"),
		"Dir::Log=" + c.path("apt", "log"),
		"Debug::NoLocking=true",       // the machine's dpkg is not touched; our own lock is held
		"APT::Sandbox::User=",         // root stays root: _apt may not be able to write here
		"APT::Update::Error-Mode=any", // an archive out of reach is an error, not a warning
		"Acquire::Languages=none",
		"Acquire::Retries=2",
		"Acquire::http::Timeout=20",
		"Acquire::https::Timeout=20",
	} {
		options = append(options, "-o", o)
	}
	return command(ctx, c.path("apt", folder), "/usr/bin/apt-get", append(options, args...)...)
}

// unpack makes the tree of these packages, unless it is there already, and
// returns its name.
func (c cache) unpack(ctx context.Context, debs []string) (hash string, err error) {
	list := strings.Join(debs, "\n") + "\n"
	hash = fmt.Sprintf("%.12x", sha256.Sum256([]byte(list)))
	root := c.path("trees", hash)
	if _, err := os.Stat(root); err == nil {
		return hash, nil
	}
	if err := os.MkdirAll(c.path("trees"), 0o755); err != nil {
		return "", err
	}
	// A tree that is there is complete: it gets its name last.
	partial, err := os.MkdirTemp(c.path("trees"), "partial-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	for _, deb := range debs {
		if _, err := command(ctx, partial, "/usr/bin/dpkg-deb", "--extract", c.archive(deb), partial); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(root+".txt", []byte(list), 0o644); err != nil {
		return "", err
	}
	if err := os.Chmod(partial, 0o755); err != nil {
		return "", err
	}
	return hash, os.Rename(partial, root)
}

// command runs a program of the system and returns its standard output.
func command(ctx context.Context, folder, path string, args ...string) ([]byte, error) {
	name := filepath.Base(path)
	r, err := runcmd.Run(ctx, runcmd.Command{
		Path: path, Args: append([]string{name}, args...), Dir: folder,
		Env:            append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"),
		SeparateStderr: true, Grace: 5 * time.Second,
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("this machine has no %s, so it is no Debian: %w", name, err)
	case err != nil:
		return nil, err
	case r.TimedOut || r.Exit != 0 || r.Dropped > 0:
		return nil, fmt.Errorf("%s: %s: %s", name, r, gist(r.Stderr))
	}
	return r.Output, nil
}

// gist is the first line of what a program complains about: apt repeats itself
// for each list of each archive.
func gist(stderr []byte) string {
	first, _, _ := strings.Cut(strings.TrimSpace(string(stderr)), "\n")
	return first
}
