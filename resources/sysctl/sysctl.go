// Package sysctl is the resource kind "sysctl": a kernel parameter that has another
// value while this director owns the group.
//
//	resource = [{ type = "sysctl", key = "net.ipv4.vs.sloppy_tcp", value = "0", stopped = "1" }]
//
// Without stopped, the parameter gets the value back that was found when the group was
// started; it is kept in statedir, so that a daemon that is started anew knows it too.
// A value that somebody else has set meanwhile stays.
package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/state"
	"github.com/monitord/monitord/resources"
)

// Config is the configuration of the kind.
type Config struct {
	Key     string `toml:"key" doc:"The parameter as sysctl(8) names it, a dot inside of a device's name written as a slash; no default."`
	Value   string `toml:"value" doc:"Its value while this director owns the group; no default."`
	Stopped string `toml:"stopped" doc:"Its value while it does not; default the one that was found at the start of the group."`
}

func init() { resources.Register("sysctl", Config{}, build) }

func build(c Config, site resources.Site) (resources.Resource, error) {
	p := &Parameter{key: netif.Sysctl(c.Key), value: fields(c.Value), stopped: fields(c.Stopped)}
	switch {
	case p.key == "":
		return nil, resources.BadKey("key", "missing: write one such as \"net.ipv4.vs.sloppy_tcp\"")
	case p.key.Check() != nil:
		return nil, resources.BadKey("key", "%w", p.key.Check())
	case p.value == "":
		return nil, resources.BadKey("value", "missing: write the value that %s gets", p.key)
	case p.value == p.stopped:
		return nil, resources.BadKey("stopped", "%q is the value too: write another one, or leave it out", c.Stopped)
	case p.stopped == "" && site.StateDir == "":
		return nil, resources.BadKey("stopped", "missing, and there is no statedir to remember the value that is found: write one of them")
	}
	p.dir = filepath.Join(site.StateDir, "sysctl", strings.ReplaceAll(c.Key, "/", ","))
	return p, nil
}

// fields writes several values as the configuration does: the kernel separates them
// with tabs.
func fields(value string) string { return strings.Join(strings.Fields(value), " ") }

// A Parameter is the resource.
type Parameter struct {
	key            netif.Sysctl
	value, stopped string
	dir            string // of the memory
}

// A memory is what was found, written before it is changed: a crash in between leaves
// one that does no harm.
type memory struct {
	// Namespace is where it is true, see [netif.Namespace].
	Namespace string `json:"namespace"`
	Found     string `json:"found"`
	Written   string `json:"written"`
}

func document() state.Document { return state.Document{Name: "sysctl", Version: 1} }

// started is the memory after a Start. What somebody else has set since the last one
// is theirs.
func (m memory) started(found, value string) memory {
	if m.Written != found {
		m.Found = found
	}
	m.Written = value
	return m
}

// stopped is the memory when nothing is to be undone.
func (m memory) stopped() memory { return memory{Namespace: m.Namespace} }

// Start sets the value. One that the kernel makes another of is taken back, and an
// error.
func (p *Parameter) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	found, err := p.key.Get()
	if err != nil {
		return err
	}
	found = fields(found)
	if p.stopped == "" {
		err := p.recall(ctx, func(m memory) (memory, error) { return m.started(found, p.value), nil })
		if err != nil {
			return err
		}
	}
	if found == p.value {
		return nil
	}
	err = p.key.Set(p.value)
	if err == nil {
		err = p.taken(found)
	}
	if err != nil && p.stopped == "" {
		err = errors.Join(err, p.recall(ctx, func(m memory) (memory, error) { return m.stopped(), nil }))
	}
	return err
}

// taken verifies that the kernel has the value as it is written.
func (p *Parameter) taken(found string) error {
	is, err := p.key.Get()
	if err != nil || fields(is) == p.value {
		return err
	}
	return errors.Join(fmt.Errorf("sysctl %s: the kernel made %q of %q", p.key, fields(is), p.value), p.key.Set(found))
}

// Stop sets the value for a director that does not own the group, or the one that was
// found. With the kernel's module, its parameters are gone, which is no error.
func (p *Parameter) Stop(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.stopped != "" {
		return p.restore(p.stopped)
	}
	return p.recall(ctx, func(m memory) (memory, error) {
		if m.Written == "" {
			return m, nil
		}
		is, err := p.key.Get()
		if err == nil && fields(is) == m.Written {
			err = p.restore(m.Found)
		}
		if err != nil && !errors.Is(err, netif.ErrMissing) {
			return m, err
		}
		return m.stopped(), nil
	})
}

func (p *Parameter) restore(value string) error {
	is, err := p.key.Get()
	switch {
	case errors.Is(err, netif.ErrMissing):
		return nil
	case err != nil || fields(is) == value:
		return err
	}
	return p.key.Set(value)
}

// Status compares the parameter with both values, or if one of them is what was found,
// with what was set. One that has neither is Failed.
func (p *Parameter) Status(ctx context.Context) (resources.Status, error) {
	if err := ctx.Err(); err != nil {
		return resources.Stopped, err
	}
	if p.stopped == "" {
		if started, err := p.started(ctx); err != nil || !started {
			return resources.Stopped, err
		}
	}
	is, err := p.key.Get()
	switch {
	case errors.Is(err, netif.ErrMissing) && p.stopped != "":
		return resources.Stopped, nil // as far as Stop can have it
	case err != nil && !errors.Is(err, netif.ErrMissing):
		return resources.Stopped, err
	case err == nil && fields(is) == p.value:
		return resources.Running, nil
	case err == nil && p.stopped != "" && fields(is) == p.stopped:
		return resources.Stopped, nil
	}
	return resources.Failed, nil
}

// started reports whether there is something to be undone.
func (p *Parameter) started(ctx context.Context) (started bool, err error) {
	if _, err := os.Stat(p.dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	err = p.recall(ctx, func(m memory) (memory, error) {
		started = m.Written != ""
		return m, nil
	})
	return started, err
}

// recall opens the memory, waiting for whoever has it open, and saves what do makes of
// it. What was remembered of another namespace, or cannot be read, is nothing.
func (p *Parameter) recall(ctx context.Context, do func(memory) (memory, error)) (err error) {
	now, err := netif.Namespace()
	if err != nil {
		return err
	}
	store, err := state.Await(ctx, p.dir)
	if err != nil {
		return fmt.Errorf("sysctl %s: remember what was found: %w", p.key, err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var m memory
	_, err = store.Load(document(), &m)
	if _, damaged := errors.AsType[*state.Damaged](err); err != nil && !damaged && !errors.Is(err, state.ErrNone) {
		return err
	}
	if err != nil || m.Namespace != now {
		m = memory{Namespace: now}
	}
	next, err := do(m)
	if err != nil || next == m {
		return err
	}
	return store.Save(document(), next)
}
