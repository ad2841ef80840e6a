package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"

	"github.com/monitord/monitord/internal/netif"
)

// RelaySettings say how to reach others by way of a gateway.
type RelaySettings struct {
	Gateway netip.Addr
	// Device is the one that the gateway is on; empty: the one that covers it.
	Device string
	// Local is the own address on the gateway's network, with a port that is used for
	// nothing else.
	Local netip.AddrPort
	// Peers are the other nodes' addresses of that kind, by name.
	Peers map[string]netip.AddrPort
}

// A Relay is a link between nodes that goes by way of a gateway (see
// [netif.Hairpin]): a heartbeat.Link. It proves nothing about the cables between the
// nodes, and everything about those to the gateway. The gateway has to forward; a
// plain router does.
type Relay struct {
	settings RelaySettings
	hairpin  *netif.Hairpin
	lookout  *lookout
	close    sync.Once
	closed   error
}

// OpenRelay opens the sockets. The own address, the device and the gateway may appear
// later. An error says that the relay can never work: the port is taken, no
// permission, settings that contradict each other.
func OpenRelay(s RelaySettings) (*Relay, error) {
	s.Peers = maps.Clone(s.Peers)
	for name, at := range s.Peers {
		s.Peers[name] = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	hairpin, err := netif.OpenHairpin(context.Background(), s.Local)
	if err != nil {
		return nil, fmt.Errorf("relay by %s: %w", s.Gateway, err)
	}
	r := &Relay{settings: s, hairpin: hairpin}
	if r.lookout, err = openLookout(s.Device, s.Gateway, hairpin.Aim); err != nil {
		return nil, errors.Join(fmt.Errorf("relay by %s: %w", s.Gateway, err), hairpin.Close())
	}
	return r, nil
}

func (s RelaySettings) check() error {
	local := s.Local.Addr().Unmap()
	if !s.Gateway.IsValid() || s.Gateway.Unmap() == local {
		return fmt.Errorf("relay by %s: not another machine's address", s.Gateway)
	}
	for name, at := range s.Peers {
		switch a := at.Addr(); {
		case !at.IsValid() || at.Port() == 0 || a.Is4() != local.Is4():
			return fmt.Errorf("relay by %s: %v of %s cannot be reached from %v", s.Gateway, at, name, s.Local)
		case a == s.Gateway.Unmap():
			// What it gets it would not forward: the relay would be the direct link.
			return fmt.Errorf("relay by %s: that is an address of %s", s.Gateway, name)
		case a.IsLinkLocalUnicast():
			return fmt.Errorf("relay by %s: routers do not forward to %s of %s", s.Gateway, a, name)
		}
	}
	return nil
}

// Send hands a packet to the wire, towards a node. It waits for nothing.
func (r *Relay) Send(node string, packet []byte) error {
	to, ok := r.settings.Peers[node]
	if !ok {
		return fmt.Errorf("relay by %s: %s has no address there", r.settings.Gateway, node)
	}
	err := r.hairpin.Send(to, packet)
	if errors.Is(err, netif.ErrMissing) {
		err = errors.Join(err, r.lookout.problem())
	}
	return err
}

// Receive waits for the next packet that came by way of the gateway.
func (r *Relay) Receive(packet []byte) (n int, from netip.AddrPort, err error) {
	return r.hairpin.Receive(packet)
}

// A RelayState is for people.
type RelayState struct {
	Device string           // empty: not found yet
	MAC    net.HardwareAddr // the gateway's, nil: not known yet
	// Direct counts the packets for the relay that did not come by way of the gateway,
	// and did not count.
	Direct uint64
	// Err is why the gateway is not found now.
	Err error
}

// State is what is known of the way to the gateway.
func (r *Relay) State() RelayState {
	way := r.lookout.last()
	return RelayState{way.Device, way.MAC, r.hairpin.Direct(), r.lookout.problem()}
}

// Close ends Receive, which then returns net.ErrClosed. It may be called again.
func (r *Relay) Close() error {
	r.close.Do(func() {
		r.lookout.close()
		r.closed = r.hairpin.Close()
	})
	return r.closed
}
