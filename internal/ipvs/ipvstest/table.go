package ipvstest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/monitord/monitord/internal/ipvs"
)

func (k *Kernel) Services(ctx context.Context) (all []ipvs.Service, err error) {
	err = k.do(ctx, Call{Op: ipvs.OpServices}, func() error {
		for _, e := range k.table {
			all = append(all, e.service)
		}
		return nil
	})
	return all, err
}

func (k *Kernel) Destinations(ctx context.Context, key ipvs.Key) (all []ipvs.Destination, err error) {
	err = k.do(ctx, Call{Op: ipvs.OpDestinations, Key: key}, func() error {
		e, err := k.find(key)
		if err == nil {
			all = slices.Clone(e.destinations)
		}
		return err
	})
	return all, err
}

func (k *Kernel) AddService(ctx context.Context, s ipvs.Service) error {
	return k.do(ctx, Call{Op: ipvs.OpAddService, Key: s.Key, Service: s}, func() error { return k.addService(s) })
}

// addService refuses in the kernel's order: a service that exists does so
// whatever its scheduler.
func (k *Kernel) addService(s ipvs.Service) error {
	if err := s.Check(); err != nil {
		return err
	}
	if _, err := k.find(s.Key); err == nil {
		return syscall.EEXIST
	}
	if !k.schedulers[s.Scheduler] || (s.Engine != "" && s.Engine != "sip") {
		return syscall.ENOENT
	}
	k.table = append(k.table, &entry{service: settle(s, ipvs.Stats{})})
	return nil
}

// settle is the service as it is read back.
func settle(s ipvs.Service, stats ipvs.Stats) ipvs.Service {
	s.Flags &^= 2 // IP_VS_SVC_F_HASHED
	if s.Prefix == 0 {
		s.Prefix = 32
		if s.Key.Family == ipvs.INET6 {
			s.Prefix = 128
		}
	}
	s.Stats = stats
	return s
}

func (k *Kernel) UpdateService(ctx context.Context, s ipvs.Service) error {
	return k.do(ctx, Call{Op: ipvs.OpUpdateService, Key: s.Key, Service: s}, func() error {
		if err := s.Check(); err != nil {
			return err
		}
		e, err := k.find(s.Key)
		if err != nil {
			return err
		}
		if !k.schedulers[s.Scheduler] || (s.Engine != "" && s.Engine != "sip") {
			return syscall.ENOENT
		}
		e.service = settle(s, e.service.Stats)
		return nil
	})
}

func (k *Kernel) RemoveService(ctx context.Context, key ipvs.Key) error {
	return k.do(ctx, Call{Op: ipvs.OpRemoveService, Key: key}, func() error {
		e, err := k.find(key)
		if err == nil {
			k.table = slices.DeleteFunc(k.table, func(o *entry) bool { return o == e })
		}
		return err
	})
}

func (k *Kernel) AddDestination(ctx context.Context, key ipvs.Key, d ipvs.Destination) error {
	return k.do(ctx, Call{Op: ipvs.OpAddDestination, Key: key, Address: d.Address, Destination: d}, func() error {
		e, err := k.accept(key, d)
		if err != nil {
			return err
		}
		if e.index(d.Address) >= 0 {
			return syscall.EEXIST
		}
		// The kernel's list has the newest first.
		e.destinations = slices.Insert(e.destinations, 0, fresh(d, ipvs.Destination{}))
		return nil
	})
}

func (k *Kernel) UpdateDestination(ctx context.Context, key ipvs.Key, d ipvs.Destination) error {
	return k.do(ctx, Call{Op: ipvs.OpUpdateDestination, Key: key, Address: d.Address, Destination: d}, func() error {
		e, err := k.accept(key, d)
		if err != nil {
			return err
		}
		i := e.index(d.Address)
		if i < 0 {
			return syscall.ENOENT
		}
		e.destinations[i] = fresh(d, e.destinations[i])
		return nil
	})
}

// fresh is the destination as it is read back, with the counters of the old one.
func fresh(d, old ipvs.Destination) ipvs.Destination {
	d.Active, d.Inactive, d.Persistent, d.Stats = old.Active, old.Inactive, old.Persistent, old.Stats
	if d.Forward != ipvs.Tunnel {
		d.Tunnel = ipvs.Encapsulation{}
	}
	return d
}

// accept finds the service for a destination that is allowed there.
func (k *Kernel) accept(key ipvs.Key, d ipvs.Destination) (*entry, error) {
	if err := d.Check(key); err != nil {
		return nil, err
	}
	e, err := k.find(key)
	if err != nil {
		return nil, err
	}
	if k.noTunnels && d.Forward == ipvs.Tunnel && d.Tunnel.Type != ipvs.IPIP {
		return nil, ipvs.ErrNoTunnel
	}
	if mixed(key, d) && len(k.daemons) > 0 {
		return nil, syscall.EINVAL // the sync protocol cannot carry it
	}
	return e, nil
}

func mixed(key ipvs.Key, d ipvs.Destination) bool {
	return d.Address.Addr().Is4() != (key.Family == ipvs.INET)
}

func (k *Kernel) RemoveDestination(ctx context.Context, key ipvs.Key, address netip.AddrPort) error {
	return k.do(ctx, Call{Op: ipvs.OpRemoveDestination, Key: key, Address: address}, func() error {
		e, err := k.find(key)
		if err != nil {
			return err
		}
		i := e.index(address)
		if i < 0 {
			return syscall.ENOENT
		}
		e.destinations = slices.Delete(e.destinations, i, i+1)
		return nil
	})
}

func (k *Kernel) Zero(ctx context.Context, key *ipvs.Key) error {
	c := Call{Op: ipvs.OpZero}
	if key != nil {
		c.Key = *key
	}
	return k.do(ctx, c, func() error {
		if key == nil {
			for _, e := range k.table {
				e.zero()
			}
			return nil
		}
		e, err := k.find(*key)
		if err == nil {
			e.zero()
		}
		return err
	})
}

func (e *entry) zero() {
	e.service.Stats = ipvs.Stats{}
	for i := range e.destinations {
		e.destinations[i].Stats = ipvs.Stats{}
	}
}

func (e *entry) index(a netip.AddrPort) int {
	return slices.IndexFunc(e.destinations, func(d ipvs.Destination) bool { return d.Address == a })
}

// find answers as the kernel does for a service that is not there.
func (k *Kernel) find(key ipvs.Key) (*entry, error) {
	for _, e := range k.table {
		if e.service.Key == key {
			return e, nil
		}
	}
	return nil, syscall.ESRCH
}

func (k *Kernel) Daemons(ctx context.Context) (all []ipvs.Daemon, err error) {
	err = k.do(ctx, Call{Op: ipvs.OpDaemons}, func() error { all = slices.Clone(k.daemons); return nil })
	return all, err
}

func (k *Kernel) StartDaemon(ctx context.Context, d ipvs.Daemon) error {
	return k.do(ctx, Call{Op: ipvs.OpStartDaemon, Daemon: d}, func() error {
		if err := d.Check(); err != nil {
			return err
		}
		for _, e := range k.table {
			for _, to := range e.destinations {
				if mixed(e.service.Key, to) {
					return syscall.EINVAL
				}
			}
		}
		if k.running(d.Role) >= 0 {
			return syscall.EEXIST
		}
		k.daemons = append(k.daemons, defaults(d))
		slices.SortFunc(k.daemons, func(a, b ipvs.Daemon) int { return int(a.Role) - int(b.Role) })
		return nil
	})
}

// defaults fills in what the kernel does, on an Ethernet.
func defaults(d ipvs.Daemon) ipvs.Daemon {
	if d.MaxLength == 0 {
		d.MaxLength = 1472
	}
	if !d.Group.IsValid() {
		d.Group = netip.MustParseAddr("224.0.0.81")
	}
	if d.Port == 0 {
		d.Port = 8848
	}
	if d.TTL == 0 {
		d.TTL = 1
	}
	return d
}

func (k *Kernel) StopDaemon(ctx context.Context, role ipvs.Role) error {
	return k.do(ctx, Call{Op: ipvs.OpStopDaemon, Daemon: ipvs.Daemon{Role: role}}, func() error {
		i := k.running(role)
		if i < 0 {
			return syscall.ESRCH
		}
		k.daemons = slices.Delete(k.daemons, i, i+1)
		return nil
	})
}

func (k *Kernel) running(role ipvs.Role) int {
	return slices.IndexFunc(k.daemons, func(d ipvs.Daemon) bool { return d.Role == role })
}

// Admin changes the table behind the back of who uses the Kernel, as somebody
// with ipvsadm does: f's changes are not recorded, and no fault befalls them.
func (k *Kernel) Admin(f func(ipvs.Access) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	other := &Kernel{
		table: k.table, schedulers: k.schedulers, timeouts: k.timeouts, daemons: k.daemons,
		conns: k.conns, unloaded: k.unloaded, noTunnels: k.noTunnels,
	}
	err := f(other)
	k.table, k.timeouts, k.daemons = other.table, other.timeouts, other.daemons
	return err
}

// Flush removes all services, as ipvsadm -C does.
func (k *Kernel) Flush() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.table = nil
}

// Count has f change the counters of a destination.
func (k *Kernel) Count(key ipvs.Key, address netip.AddrPort, f func(*ipvs.Destination)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, err := k.find(key)
	if err != nil {
		return err
	}
	i := e.index(address)
	if i < 0 {
		return errors.New("no such destination")
	}
	f(&e.destinations[i])
	return nil
}

// CountService has f change the counters of a service.
func (k *Kernel) CountService(key ipvs.Key, f func(*ipvs.Stats)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, err := k.find(key)
	if err == nil {
		f(&e.service.Stats)
	}
	return err
}

// SetConnections says what the connection table holds.
func (k *Kernel) SetConnections(all ...ipvs.Connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns = slices.Clone(all)
}

// Save is the table as ipvsadm -S writes it, sorted.
func (k *Kernel) Save() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var blocks []string
	for _, e := range k.table {
		var servers []string
		for _, d := range e.destinations {
			servers = append(servers, "\n-a "+d.Line(e.service.Key))
		}
		slices.Sort(servers)
		blocks = append(blocks, "-A "+e.service.Line()+strings.Join(servers, ""))
	}
	slices.Sort(blocks)
	if len(blocks) == 0 {
		return nil
	}
	return strings.Split(strings.Join(blocks, "\n"), "\n")
}
