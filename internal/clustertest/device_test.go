//go:build linux

package clustertest

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// A card is a machine's network card, with all that is configured on it.
type card struct {
	s         *site
	machine   string
	space     *os.File
	addresses []netif.Address
}

func (s *site) card(machine string) *card {
	s.t.Helper()
	c := &card{s: s, machine: machine}
	s.must(s.Within(machine, func() (err error) {
		if c.space, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		all, err := netif.Addresses(s.t.Context())
		for _, a := range all {
			if a.Device == "eth0" && a.Valid == netif.Forever && a.Scope == netif.Universe {
				c.addresses = append(c.addresses, a)
			}
		}
		return err
	}))
	s.t.Cleanup(func() { s.must(c.space.Close()) })
	return c
}

// out takes the card out, and what it carried with it.
func (c *card) out() {
	c.s.t.Helper()
	c.s.must(c.s.Within(c.machine, func() error { return netif.RemoveLink(c.s.t.Context(), "eth0") }))
}

// in puts another one in, under the same name, with the same addresses and routes.
func (c *card) in() (index int) {
	c.s.t.Helper()
	ctx := c.s.t.Context()
	c.s.must(c.s.Within("switch", func() error {
		cable := netif.Cable{Port: c.machine, Switch: "br0", Device: "eth0", Inside: int(c.space.Fd())}
		return errors.Join(netif.AddCable(ctx, cable), netif.SetUp(ctx, c.machine, true))
	}))
	c.s.must(c.s.Within(c.machine, func() error {
		err := netif.SetUp(ctx, "eth0", true)
		for _, a := range c.addresses {
			err = errors.Join(err, netif.AddAddress(ctx, netif.Add{Device: "eth0", Prefix: a.Prefix, NoDAD: true}))
		}
		everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		err = errors.Join(err, netif.PutRoute(ctx, netif.NewRoute{Destination: everywhere, Gateway: lab.Gateway()}))
		// The card has another hardware address, and the gateway would believe in the first
		// for up to half a minute, in which dr1 is now fit, now not.
		w, bad := netif.OpenWire(ctx, "eth0")
		if err = errors.Join(err, bad); err != nil {
			return err
		}
		for _, a := range c.addresses {
			err = errors.Join(err, w.Announce(a.Prefix.Addr()))
		}
		link, bad := netif.LinkNamed(ctx, "eth0")
		index = link.Index
		return errors.Join(err, bad, w.Close())
	}))
	return index
}

// fit tells whether a node holds the group, or could, by its own word.
func (s *site) fit(node string) bool {
	v, err := s.view(node)
	if err != nil {
		return false
	}
	for _, g := range v.Groups {
		for _, c := range g.Nodes {
			if c.Node == node {
				return c.Role == "active" || c.Role == "standby" && c.Able
			}
		}
	}
	return false
}

// TestEndToEndRemovedDevice: a device that is removed while it carries the addresses has
// them move; it comes back under another index, and its director holds them again.
func TestEndToEndRemovedDevice(t *testing.T) {
	t.Parallel()
	own := addresses(20, 5)
	s := open(t, lab.Settings{}, oneGroup(t, own, "  device = \"eth0\"\n"))
	e := s.estate()
	s.begins()
	e.all(s, "dr1", own)
	c := s.card("dr1")
	began := netif.Boottime()
	c.out()
	e.all(s, "dr2", own)
	s.served("dr2")
	s.logged("dr1", "eth0 is missing")
	first := c.in()
	again := func() {
		t.Helper()
		s.regains("dr1", func() bool { return e.has("dr1", own) })
	}
	again()
	// Out and in at once: whoever has the addresses then has all of them, alone.
	for range 3 {
		c.out()
		if next := c.in(); next == first {
			t.Errorf("the device came back with its index, %d", next)
		}
		e.owner(s, own)
		again()
	}
	t.Log(e.since(began, own))
	if v := e.since(began, own); v.dual > 0 {
		t.Errorf("two had the addresses: %s", v)
	}
}
