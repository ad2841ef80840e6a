package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/kernel"
	"github.com/monitord/monitord/internal/lvs/record"
	"github.com/monitord/monitord/internal/lvs/relay"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/state"
)

// The documents of the state folder that this package keeps; the engine keeps its
// own.
var (
	poolDocument   = state.Document{Name: "pool", Version: 1}
	kernelDocument = state.Document{Name: "kernel", Version: 1}
)

// A forwarder is a backend that can be looked into.
type forwarder interface {
	lvs.Backend
	// inspect returns what is forwarded, ours and others', and what a Set of the
	// table would change.
	inspect(ctx context.Context, wanted lvs.Table) (ours, others lvs.Table, changes []lvs.Change, err error)
	// configure takes over the settings of a reload.
	configure(site *config.Site)
}

// backend makes what the site asks for.
func backend(ctx context.Context, site *config.Site, store *state.Store, log logrus.FieldLogger) (forwarder, error) {
	switch site.LVS.Backend {
	case lvs.BackendKernel:
		return openKernel(ctx, site, store, log)
	case lvs.BackendRecord:
		return recorder{record.New(func(change string) { log.WithField("ipvsadm", change).Info("the table would change") })}, nil
	}
	return forwarding{relay.New(func(err error) { log.WithError(err).Warn("relay") })}, nil
}

// forwarding is the relay.
type forwarding struct{ *relay.Relay }

func (f forwarding) configure(*config.Site) {}

func (f forwarding) inspect(_ context.Context, wanted lvs.Table) (ours, others lvs.Table, changes []lvs.Change, err error) {
	now := f.Table()
	return now, nil, lvs.Changes(now, wanted), nil
}

type recorder struct{ *record.Recorder }

func (r recorder) configure(*config.Site) {}

func (r recorder) inspect(_ context.Context, wanted lvs.Table) (ours, others lvs.Table, changes []lvs.Change, err error) {
	now := r.Table()
	return now, nil, lvs.Changes(now, wanted), nil
}

// ipvsBackend is the kernel's IPVS with the connection to it.
type ipvsBackend struct {
	*kernel.Kernel
	access *ipvs.Client
	keeper *keeper[kernel.Memory]
}

func openKernel(ctx context.Context, site *config.Site, store *state.Store, log logrus.FieldLogger) (forwarder, error) {
	access, err := ipvs.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("[lvs] backend = %q: %w", lvs.BackendKernel, err)
	}
	namespace, err := netif.Namespace()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find out whose kernel this is: %w", err), access.Close())
	}
	var memory kernel.Memory
	recall(store, kernelDocument, &memory, log)
	keeper := newKeeper[kernel.Memory](store, kernelDocument, 0, log)
	k := kernel.New(kernel.Config{
		Access: access, Settings: settings(site), Memory: memory, Namespace: namespace,
		Remember: func(m kernel.Memory) error { keeper.keep(m); return nil }, // the keeper tells of its errors
		Tell:     func(r kernel.Repair) { tellRepair(log, r) },
	})
	return ipvsBackend{k, access, keeper}, nil
}

func (d ipvsBackend) configure(site *config.Site) { d.Configure(settings(site)) }

func (d ipvsBackend) inspect(ctx context.Context, wanted lvs.Table) (ours, others lvs.Table, changes []lvs.Change, err error) {
	if ours, others, err = d.Actual(ctx); err != nil {
		return nil, nil, nil, err
	}
	changes, err = d.Diff(ctx, wanted)
	return ours, others, changes, err
}

// Close leaves the kernel as the configuration says, and then the kernel.
func (d ipvsBackend) Close() error {
	return errors.Join(d.Kernel.Close(), d.access.Close(), d.keeper.close())
}

// settings are the kernel backend's.
func settings(site *config.Site) kernel.Settings {
	s := kernel.Settings{
		Own: kernel.Own(site.LVS.Own), OnExit: kernel.OnExit(site.LVS.OnExit),
		Timeouts: ipvs.Timeouts{TCP: site.LVS.TCPTimeout.Std(), TCPFin: site.LVS.TCPFinTimeout.Std(), UDP: site.LVS.UDPTimeout.Std()},
	}
	if y := site.Sync; y != nil {
		s.Sync = &kernel.SyncSettings{
			Role: role(*y), Interface: y.Interface, SyncID: y.SyncID,
			MaxLength: uint16(y.MaxLength), Group: y.Group, Port: y.Port, TTL: uint8(y.TTL), // in range, says SyncConfig.Build
		}
	}
	return s
}

func role(y lvs.Sync) kernel.SyncRole {
	switch {
	case y.Master && y.Backup:
		return kernel.SyncBoth
	case y.Master:
		return kernel.SyncMaster
	}
	return kernel.SyncBackup
}

// mostLines bounds what one repair writes into the log.
const mostLines = 50

// tellRepair says what was found in the kernel's table, and mended.
func tellRepair(log logrus.FieldLogger, r kernel.Repair) {
	lines := lvs.Lines(r.Changes)
	if len(lines) > mostLines {
		lines = append(lines[:mostLines:mostLines], fmt.Sprintf("and %d more", len(lines)-mostLines))
	}
	log = log.WithFields(logrus.Fields{"ipvsadm": lines, "other": r.Other})
	if r.Start {
		log.WithField("adopted", len(r.Adopted)).Info("the kernel's table is taken over")
		return
	}
	log.Warn("somebody changed the kernel's table, it is mended")
}

// recall reads a document; one that cannot be read or is damaged, which is said, is
// as good as none. saved is when it was written, zero if there is none.
func recall(store *state.Store, d state.Document, into any, log logrus.FieldLogger) (saved time.Time) {
	if store == nil {
		return time.Time{}
	}
	saved, err := store.Load(d, into)
	damaged, isDamaged := errors.AsType[*state.Damaged](err)
	switch {
	case err == nil:
		return saved
	case isDamaged:
		log.WithFields(logrus.Fields{"state": d.Name, "why": damaged.Why, "moved": damaged.Moved}).Error("saved state cannot be used and was set aside")
	case !errors.Is(err, state.ErrNone):
		log.WithError(err).WithField("state", d.Name).Error("saved state cannot be read")
	}
	return time.Time{}
}

// newPool makes the pool with what an earlier one left, and what the backend
// forwards. remembers says that it left something.
func newPool(ctx context.Context, d *daemon, backend forwarder) (pool *lvs.Pool, remembers bool, err error) {
	var memory lvs.Memory
	saved := recall(d.store, poolDocument, &memory, d.Log)
	remembers = !saved.IsZero()
	if age := time.Since(saved); remembers && d.site.StateAge > 0 && age > d.site.StateAge {
		d.Log.WithFields(logrus.Fields{"age": age.Round(time.Second).String(), "state_age": d.site.StateAge.String()}).
			Warn("the saved state of the pools is too old: all real servers start untested; what operators drained stays so")
		memory, remembers = memory.Aged(), false
	}
	ours, others, _, err := backend.inspect(ctx, nil)
	if err != nil {
		return nil, false, fmt.Errorf("read what is forwarded now: %w", err)
	}
	return lvs.NewPool(lvs.PoolConfig{
		Backend: backend, Memory: memory, Found: append(ours, others...),
		Remember: d.poolState.keep,
		Quorum:   func(q lvs.QuorumChange) { d.engine.Quorum(q) },
	}), remembers, nil
}

// Networks are those that this machine is on; nil if they cannot be found out.
func Networks() []netip.Prefix {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Prefix
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
			all = append(all, p.Masked())
		}
	}
	return all
}

// Addresses lists those that this machine has, nil if they cannot be found out.
func Addresses() []netip.Addr {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Addr
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Addr())
		}
	}
	return all
}
