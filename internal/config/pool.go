package config

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/lvs"
)

// A pool stands before the daemon's pool: alerts are built against the virtual
// services of the configuration that is being read, which that pool does not know
// yet, and report to it later.
type pool struct {
	behind   alerts.Pool
	virtuals []lvs.Virtual
	// broken are the names of services that have mistakes: their followers should
	// not be told that there is no such service.
	broken []string

	// asked are the services that alerts asked for while asking is true: the site
	// is being built, by one goroutine.
	asking bool
	asked  []string
}

// Servers implements [alerts.Pool].
func (p *pool) Servers(virtual string) (hosts []string, ok bool) {
	for _, v := range p.virtuals {
		if v.Name != virtual {
			continue
		}
		if p.asking {
			p.asked = append(p.asked, virtual)
		}
		for _, r := range v.Reals {
			hosts = append(hosts, r.Host)
		}
		return hosts, true
	}
	return nil, p.asking && slices.Contains(p.broken, virtual)
}

// Virtuals implements [alerts.Pool].
func (p *pool) Virtuals() []string {
	names := make([]string, len(p.virtuals))
	for i, v := range p.virtuals {
		names[i] = v.Name
	}
	return names
}

// Report implements [alerts.Pool].
func (p *pool) Report(ctx context.Context, virtual, source string, hosts map[string]alerts.HostState) error {
	if p.behind == nil {
		return errors.New("this configuration was only checked: there is no pool behind it")
	}
	return p.behind.Report(ctx, virtual, source, hosts)
}

// elem is the struct that a pointer points to.
func elem(pointer any) reflect.Value { return reflect.ValueOf(pointer).Elem() }
