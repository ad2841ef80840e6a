// Package link is the resource "link": a symbolic link that is there while this
// director owns the group, such as the configuration of a cron job that only the
// active one should run.
//
//	resource = [{ type = "link", path = "/etc/cron.d/shop", target = "/etc/shop/cron" }]
package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/monitord/monitord/resources"
)

// Config is the table of the kind.
type Config struct {
	Path   string `toml:"path" doc:"Where the link is, an absolute path; no default."`
	Target string `toml:"target" doc:"What it leads to; no default."`
}

func init() { resources.Register("link", Config{}, build) }

type link struct{ Config }

func build(c Config, _ resources.Site) (resources.Resource, error) {
	if !filepath.IsAbs(c.Path) {
		return nil, resources.BadKey("path", "%q is no absolute path: write one like \"/etc/cron.d/shop\"", c.Path)
	}
	if c.Target == "" {
		return nil, resources.BadKey("target", "missing: write what the link leads to")
	}
	return &link{c}, nil
}

// Start implements resources.Resource. What is there already is kept, so that a daemon
// that is started anew disturbs nothing.
func (l *link) Start(ctx context.Context) error {
	switch s, err := l.Status(ctx); {
	case err != nil:
		return err
	case s == resources.Running:
		return nil
	case s == resources.Failed:
		return fmt.Errorf("link %s: something else is there", l.Path)
	}
	if err := os.Symlink(l.Target, l.Path); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	return nil
}

// Stop implements resources.Resource. Nobody else may start the resource until it has
// succeeded; so what is not there is no error, and what is not ours is let be.
func (l *link) Stop(ctx context.Context) error {
	if s, err := l.Status(ctx); err != nil || s != resources.Running {
		return err
	}
	if err := os.Remove(l.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("link: %w", err)
	}
	return nil
}

// Status implements resources.Resource: it looks at what is there, and does not
// remember what it did, for another process may have done it.
func (l *link) Status(ctx context.Context) (resources.Status, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("link %s: %w", l.Path, err)
	}
	target, err := os.Readlink(l.Path)
	switch {
	case err == nil && target == l.Target:
		return resources.Running, nil
	case errors.Is(err, fs.ErrNotExist):
		return resources.Stopped, nil
	case err == nil || isOther(l.Path):
		return resources.Failed, nil
	}
	return 0, fmt.Errorf("link: %w", err)
}

// isOther reports whether there is something that is no link.
func isOther(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink == 0
}
