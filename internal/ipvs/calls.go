package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// through has the library make a call if it can be used, and otherwise makes it
// without. A library that panics is not asked again.
func (l *link) through(can bool, with func(library) error, without func() error) error {
	return l.settled(func() error {
		if !can || l.library == nil {
			return without()
		}
		err := guarded(func() error { return with(l.library) })
		if errors.Is(err, errPanicked) {
			l.library = nil
		}
		return err
	})
}

// errPanicked is what a panic of the library becomes.
var errPanicked = errors.New("the library moby/ipvs panicked")

// guarded turns a panic into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanicked, r)
		}
	}()
	return f()
}

func (l *link) addService(s Service) error {
	return l.through(true, func(lib library) error { return lib.AddService(s) }, func() error {
		data, err := encodeService(s)
		return l.setOnce(cmdNewService, data, err)
	})
}

func (l *link) updateService(s Service) error {
	return l.through(true, func(lib library) error { return lib.UpdateService(s) }, func() error {
		data, err := encodeService(s)
		return l.setOnce(cmdSetService, data, err)
	})
}

func (l *link) removeService(k Key) error {
	return l.through(true, func(lib library) error { return lib.RemoveService(k) }, func() error {
		data, err := keyOnly(k)
		return l.setOnce(cmdDelService, data, err)
	})
}

// ordinary reports whether the library can express the destination.
func ordinary(k Key, d Destination) bool {
	return familyOf(d.Address.Addr()) == k.Family && (d.Forward != Tunnel || d.Tunnel == Encapsulation{})
}

func (l *link) addDestination(k Key, d Destination) error {
	err := l.through(ordinary(k, d), func(lib library) error { return lib.AddDestination(k, d) }, func() error {
		data, err := encodeDestination(k, d, true)
		return l.setOnce(cmdNewDest, data, err)
	})
	if err != nil {
		return err
	}
	err = l.understood(k, d)
	if errors.Is(err, ErrNoTunnel) {
		// Its packets would come in the wrong capsule.
		if left := l.removeDestination(k, d.Address); left != nil {
			return fmt.Errorf("%w; and it could not be removed again: %w", err, left)
		}
	}
	return err
}

func (l *link) updateDestination(k Key, d Destination) error {
	err := l.through(ordinary(k, d), func(lib library) error { return lib.UpdateDestination(k, d) }, func() error {
		data, err := encodeDestination(k, d, true)
		return l.setOnce(cmdSetDest, data, err)
	})
	if err != nil {
		return err
	}
	return l.understood(k, d)
}

// understood looks whether the kernel knew what it was told: one from before
// 5.2 ignores the attributes of tunnels and sends ipip.
func (l *link) understood(k Key, d Destination) error {
	if l.tunnels || d.Forward != Tunnel || d.Tunnel.Type == IPIP {
		return nil
	}
	all, err := l.destinations(k)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(o Destination) bool { return o.Address == d.Address })
	if i >= 0 && all[i].Tunnel.Type != d.Tunnel.Type {
		return ErrNoTunnel
	}
	l.tunnels = true
	return nil
}

func (l *link) removeDestination(k Key, a netip.AddrPort) error {
	d := Destination{Address: a}
	return l.through(ordinary(k, d), func(lib library) error { return lib.RemoveDestination(k, a) }, func() error {
		data, err := encodeDestination(k, d, false)
		return l.setOnce(cmdDelDest, data, err)
	})
}

// services drops what came twice: a list of several messages is read by
// position, and somebody else may remove an earlier service meanwhile.
func (l *link) services() ([]Service, error) {
	all, err := dump(l, cmdGetService, nil, decodeService)
	seen := make(map[Key]bool, len(all))
	return slices.DeleteFunc(all, func(s Service) bool {
		twice := seen[s.Key]
		seen[s.Key] = true
		return twice
	}), err
}

func (l *link) destinations(k Key) ([]Destination, error) {
	data, err := keyOnly(k)
	if err != nil {
		return nil, err
	}
	all, err := dump(l, cmdGetDest, data, func(b []byte) (Destination, error) { return decodeDestination(b, k.Family) })
	if err != nil || len(all) > 0 {
		seen := make(map[netip.AddrPort]bool, len(all))
		return slices.DeleteFunc(all, func(d Destination) bool {
			twice := seen[d.Address]
			seen[d.Address] = true
			return twice
		}), err
	}
	// The list of a service that is not there is empty too (ip_vs_genl_dump_dests).
	_, err = single(l, cmdGetService, data, decodeService)
	return nil, err
}

func (l *link) zero(k *Key) error {
	if k == nil {
		return l.set(cmdZero, nil, nil)
	}
	data, err := keyOnly(*k)
	return l.set(cmdZero, data, err)
}
