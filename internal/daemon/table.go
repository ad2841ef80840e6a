package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/kernel"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/state"
)

// Table is what "monitord ipvs" shows: what should be forwarded, and what is.
type Table struct {
	Backend string `json:"backend"`
	// Assumed says why Wanted is not what a daemon wants now; empty if it is.
	Assumed string            `json:"assumed,omitempty"`
	Wanted  []lvs.ServiceView `json:"wanted"`
	// Actual are the services that are ours, or should be there.
	Actual []lvs.ServiceView `json:"actual"`
	// Others are services of the kernel's table that are not monitord's.
	Others []lvs.ServiceView `json:"others"`
	// Lines are Actual and Others as "ipvsadm -S -n" writes them.
	Lines []string `json:"lines"`
	// Difference leads from what is to what should be, as lines of ipvsadm -R; with
	// the kernel as backend they are what would be done.
	Difference []string `json:"difference"`
	// Problem is why what is could not be found out.
	Problem string `json:"problem,omitempty"`
}

// table answers "monitord ipvs".
func (d *daemon) table(ctx context.Context) Table {
	return inspect(ctx, d.current().LVS.Backend, d.backend, d.pool.Wanted())
}

func inspect(ctx context.Context, name string, b forwarder, wanted lvs.Table) Table {
	var counts lvs.Counts
	var problems []error
	if c, ok := b.(lvs.Counter); ok {
		var err error
		if counts, err = c.Counts(ctx); err != nil {
			problems = append(problems, fmt.Errorf("count: %w", err))
		}
	}
	ours, others, changes, err := b.inspect(ctx, wanted)
	problems = append(problems, err)
	t := Table{
		Backend: name, Wanted: wanted.View(nil), Actual: ours.View(counts), Others: others.View(counts),
		Lines: lvs.Lines(lvs.Changes(nil, append(ours.Clone(), others...))), Difference: lvs.Lines(changes),
	}
	if err := errors.Join(problems...); err != nil {
		t.Problem = err.Error()
	}
	return t
}

// Inspect is the answer to "monitord ipvs" for a configuration, whether a daemon
// runs it or not: what should be forwarded if every real server were up, and what
// the kernel holds. It changes nothing.
func Inspect(ctx context.Context, configFile string) (Table, error) {
	site, err := load(ctx, Options{ConfigFile: configFile}, &latePool{})
	if err != nil {
		return Table{}, err
	}
	unknown := lookUp(ctx, site.Virtuals)
	t, err := inspectSite(ctx, site, lvs.Full(site.Virtuals))
	t.Assumed = strings.TrimSuffix("of "+configFile+", as if every real server were up; "+t.Assumed, "; ")
	if len(unknown) > 0 {
		t.Assumed += "; left out, for their names are not known: " + strings.Join(unknown, ", ")
	}
	return t, err
}

// lookUp gives the servers with names their addresses, and returns those that have
// none.
func lookUp(ctx context.Context, virtuals []lvs.Virtual) (unknown []string) {
	for i := range virtuals {
		v := &virtuals[i]
		for j := range v.Reals {
			r := &v.Reals[j]
			if r.Name == "" {
				continue
			}
			addresses, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", r.Name)
			same := slices.IndexFunc(addresses, func(a netip.Addr) bool { return a.Unmap().BitLen() == v.Family().BitLen() })
			if same < 0 {
				unknown = append(unknown, r.Name)
				continue
			}
			r.Address = netip.AddrPortFrom(addresses[same].Unmap(), r.Port)
		}
	}
	return unknown
}

func inspectSite(ctx context.Context, site *config.Site, wanted lvs.Table) (Table, error) {
	empty := Table{Backend: site.LVS.Backend, Wanted: wanted.View(nil), Difference: lvs.Lines(lvs.Changes(nil, wanted))}
	if site.LVS.Backend != lvs.BackendKernel {
		return empty, nil
	}
	access, err := ipvs.Open(ctx)
	if err != nil {
		empty.Problem = err.Error()
		return empty, nil //nolint:nilerr // what is wanted can be told without the kernel
	}
	namespace, err := netif.Namespace()
	if err != nil {
		return empty, errors.Join(err, access.Close())
	}
	var memory kernel.Memory // none, or one that cannot be read: nothing is ours then
	_, unread := state.Peek(site.StateDir, kernelDocument, &memory)
	k := ipvsBackend{kernel.New(kernel.Config{Access: access, Settings: settings(site), Memory: memory, Namespace: namespace}), access, nil}
	t := inspect(ctx, site.LVS.Backend, k, wanted)
	if unread != nil && !errors.Is(unread, state.ErrNone) {
		t.Assumed = "which services are monitord's is not known: " + unread.Error()
	}
	return t, access.Close()
}

// drain and undrain carry out an operator's order.
func (d *daemon) drain(ctx context.Context, o control.Order) ([]string, error) {
	const most = 366 * 24 * time.Hour
	if !(o.Seconds >= 0 && o.Seconds <= most.Seconds()) { // NaN is neither
		return nil, fmt.Errorf("%g seconds is no time to wait", o.Seconds)
	}
	names, err := d.pool.Drain(ctx, o.Virtual, o.Host, time.Duration(o.Seconds*float64(time.Second)))
	return names, d.ordered("drain", o, names, err)
}

func (d *daemon) undrain(ctx context.Context, o control.Order) ([]string, error) {
	names, err := d.pool.Undrain(ctx, o.Virtual, o.Host)
	return names, d.ordered("undrain", o, names, err)
}

// ordered says what an operator did. What the backend could not do yet is tried
// again, as ever.
func (d *daemon) ordered(what string, o control.Order, names []string, err error) error {
	if names == nil {
		return err
	}
	log := d.Log.WithField("host", o.Host).WithField("virtual_services", names)
	if err != nil {
		log = log.WithError(err)
	}
	log.Info(what + ", says an operator")
	return nil
}
