package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/nft"
)

// A fabric is the switches with what is plugged in. Of each ordered pair of ports it
// knows whether the second is kept from hearing the first.
type fabric struct {
	space *space
	ports []*port
	deaf  map[pair]bool
}

// A port is a switch's end of a cable.
type port struct {
	machine string
	bridge  string // br0 is the common network, br1 the second one
	name    string // of the device
}

// A pair is who sends and who hears.
type pair struct{ from, to *port }

const (
	common = "br0"
	second = "br1"
)

func newFabric(ctx context.Context) (*fabric, error) {
	s, err := newSpace(ctx, "switch")
	if err != nil {
		return nil, err
	}
	f := &fabric{space: s, deaf: map[pair]bool{}}
	err = s.do(func() error { return errors.Join(netif.AddSwitch(ctx, common), netif.AddSwitch(ctx, second)) })
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return f, nil
}

// join lays a cable between a switch and a machine, whose end gets the addresses. It
// returns when both ends are up.
func (f *fabric) join(ctx context.Context, bridge string, s *space, device string, addresses ...netip.Prefix) error {
	p := &port{machine: s.name, bridge: bridge, name: s.name}
	if bridge == second {
		p.name += "-2"
	}
	err := f.space.do(func() error {
		cable := netif.Cable{Port: p.name, Switch: bridge, Device: device, Inside: int(s.net.Fd())}
		if err := netif.AddCable(ctx, cable); err != nil {
			return err
		}
		return netif.SetUp(ctx, p.name, true)
	})
	if err != nil {
		return err
	}
	f.ports = append(f.ports, p)
	return s.do(func() error { return address(ctx, device, addresses...) })
}

func address(ctx context.Context, device string, addresses ...netip.Prefix) error {
	err := netif.SetUp(ctx, device, true)
	for _, a := range addresses {
		bad := netif.AddAddress(ctx, netif.Add{Device: device, Prefix: a, NoDAD: true})
		if a.Addr().Is6() && (errors.Is(bad, netif.ErrPermission) || errors.Is(bad, errors.ErrUnsupported)) {
			continue // A kernel without IPv6, or with it turned off.
		}
		err = errors.Join(err, bad)
	}
	return err
}

// silence keeps the pairs that match from hearing each other, in one step and besides
// those that are kept from it already. The carrier stays.
func (f *fabric) silence(ctx context.Context, match func(pair) bool) error {
	for _, p := range f.pairs() {
		if match(p) {
			f.deaf[p] = true
		}
	}
	return f.apply(ctx)
}

// heal ends every silence.
func (f *fabric) heal(ctx context.Context) error {
	clear(f.deaf)
	return f.apply(ctx)
}

func (f *fabric) apply(ctx context.Context) error {
	var all []nft.PortPair
	for p := range f.deaf {
		all = append(all, nft.PortPair{From: p.from.name, To: p.to.name})
	}
	return f.space.do(func() error { return nft.Silence(ctx, all) })
}

func (f *fabric) pairs() []pair {
	var all []pair
	for _, from := range f.ports {
		for _, to := range f.ports {
			if from != to && from.bridge == to.bridge {
				all = append(all, pair{from, to})
			}
		}
	}
	return all
}

// plug puts a machine's cable to the common network in, or pulls it: the machine sees
// the carrier come and go.
func (f *fabric) plug(ctx context.Context, machine string, in bool) error {
	i := slices.IndexFunc(f.ports, func(p *port) bool { return p.machine == machine && p.bridge == common })
	if i < 0 {
		return fmt.Errorf("%s has no cable to the switch", machine)
	}
	return f.space.do(func() error { return netif.SetUp(ctx, f.ports[i].name, in) })
}
