package netiftest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/monitord/monitord/internal/netif"
)

// A Switch connects many namespaces: a bridge in one of its own.
type Switch struct {
	space *Space
	ports int
}

// NewSwitch makes one without ports.
func NewSwitch(t testing.TB) *Switch {
	t.Helper()
	s := &Switch{space: New(t)}
	s.space.Do(func(ctx context.Context) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "switch"
		return errors.Join(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}), netif.SetUp(ctx, "switch", true))
	})
	return s
}

// Plug connects a device, which it makes, and returns the port's name. It returns
// when both ends have a carrier.
func (s *Switch) Plug(to *Space, device string) (port string) {
	s.space.t.Helper()
	s.ports++
	port = fmt.Sprintf("port%d", s.ports)
	Cable(s.space, port, to, device)
	s.space.Do(func(context.Context) error {
		l, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		bridge, err := netlink.LinkByName("switch")
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(l, bridge)
	})
	return port
}

// Isolate keeps ports from talking to each other, or lets them; they go on talking
// to those that are not isolated.
func (s *Switch) Isolate(isolated bool, ports ...string) {
	s.space.t.Helper()
	s.space.Do(func(context.Context) error {
		for _, port := range ports {
			l, err := netlink.LinkByName(port)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetIsolated(l, isolated); err != nil {
				return err
			}
		}
		return nil
	})
}

// Forward makes the namespace a router.
func (s *Space) Forward() {
	s.t.Helper()
	s.Do(func(context.Context) error {
		return errors.Join(netif.Sysctl("net.ipv4.ip_forward").Set("1"), netif.Sysctl("net.ipv6.conf.all.forwarding").Set("1"))
	})
}
