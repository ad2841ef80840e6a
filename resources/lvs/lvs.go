// Package lvs is the resource kind "lvs": the virtual services that this director
// forwards while it owns the group, and withdraws when it does not. The daemon tests
// the real servers all the time, so that the table is right from the first moment.
//
//	resource = [{ type = "lvs" }, { type = "vip", address = "192.0.2.100" }]
//
// Write it before the addresses: what is started first is there first, and stopped
// last. A virtual service that is in no such resource is always forwarded.
package lvs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/monitord/monitord/resources"
)

// Config is the configuration of the kind.
type Config struct {
	Virtual []string `toml:"virtual" doc:"Names of the virtual services that move with the group; default all."`
}

func init() { resources.Register("lvs", Config{}, build) }

func build(c Config, site resources.Site) (resources.Resource, error) {
	if site.Table == nil {
		return nil, errors.New("there are no virtual services here that could move with the group: write some, or leave this resource out")
	}
	known := site.Table.Virtuals()
	if len(known) == 0 {
		return nil, resources.BadKey("virtual", "there is no virtual service at all: write a [[virtual]], or leave this resource out")
	}
	for i, name := range c.Virtual {
		switch {
		case !slices.Contains(known, name):
			return nil, resources.BadKey("virtual", "there is no virtual service %q: write some of %s", name, strings.Join(known, ", "))
		case slices.Contains(c.Virtual[:i], name):
			return nil, resources.BadKey("virtual", "%q is there twice", name)
		}
	}
	return &Services{site.Table, slices.Clone(c.Virtual)}, nil
}

// Services are the resource.
type Services struct {
	table resources.Table
	names []string
}

var (
	_ resources.Governor   = (*Services)(nil)
	_ resources.Forerunner = (*Services)(nil)
)

// Governs lists the virtual services, none for all.
func (s *Services) Governs() []string { return slices.Clone(s.names) }

// Start has the services forwarded, and returns when they are.
func (s *Services) Start(ctx context.Context) error { return s.table.Hold(ctx, s.names...) }

// Stop withdraws them.
func (s *Services) Stop(ctx context.Context) error { return s.table.Resign(ctx, s.names...) }

// Status compares what is forwarded with what should be. Of services on which nobody
// has decided since the daemon started, and of which something is forwarded, it is
// Failed: another process left them.
func (s *Services) Status(ctx context.Context) (resources.Status, error) {
	return s.table.Standing(ctx, s.names...)
}

// BeforeAddress is so that the address never arrives without its table.
func (s *Services) BeforeAddress() string { return "an address without its table refuses connections" }
