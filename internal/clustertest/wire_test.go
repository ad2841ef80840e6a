//go:build linux

package clustertest

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// mac is that of a machine on the common network.
func (s *site) mac(machine string) (mac net.HardwareAddr) {
	s.t.Helper()
	s.must(s.Within(machine, func() error {
		link, err := netif.LinkNamed(s.t.Context(), "eth0")
		mac = link.MAC
		return err
	}))
	return mac
}

// TestEndToEndForeignHost: an address that a foreign host uses is never taken, and
// everybody can see by whom it is used.
func TestEndToEndForeignHost(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	s.strangers = true
	s.must(s.Foreign(t.Context(), true))
	mac := s.mac("stranger").String()
	s.must(s.StartAll())
	s.eventually("a director reports the stranger's "+mac+" in the log", func() bool { return strings.Contains(s.Log("dr1")+s.Log("dr2"), mac) })
	s.eventually("monitord cluster shows "+mac, func() bool { return s.shown("dr1", mac) || s.shown("dr2", mac) })
	pass(2 * time.Second)
	if m := s.moves(0); len(m) > 0 {
		t.Errorf("the address was taken: %v", m)
	}
	s.must(s.Foreign(t.Context(), false))
	s.settles() // it is free
}

// shown tells whether "monitord cluster" says something.
func (s *site) shown(node, text string) bool {
	out, err := s.Run(s.t.Context(), node, "cluster", "--socket", s.node(node).Socket())
	return err == nil && strings.Contains(out, text)
}

// TestEndToEndForeignClaim: a foreign host claims what a director holds. It stays, is
// announced again, and people are told who it was.
func TestEndToEndForeignClaim(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	s.strangers = true
	s.begins()
	began := netif.Boottime()
	s.must(s.Foreign(t.Context(), true))
	mac := s.mac("stranger").String()
	s.logged("dr1", mac)
	s.eventually("monitord cluster --json shows "+mac, func() bool {
		v, err := s.view("dr1")
		return err == nil && slices.ContainsFunc(v.Events, func(e daemon.ClusterEvent) bool { return strings.Contains(e.Reason, mac) })
	})
	s.served("dr1")
	s.must(s.Foreign(t.Context(), false))
	s.served("dr1")
	s.still(began, "dr1")
}

// rename gives dr1's device another name, which is how it goes and comes; it is down
// meanwhile.
func (s *site) rename(from, to string, up bool) {
	s.t.Helper()
	s.must(s.Within("dr1", func() error {
		link, err := netlink.LinkByName(from)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetDown(link); err != nil {
			return err
		}
		if err := netlink.LinkSetName(link, to); err != nil || !up {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Gw: net.ParseIP(lab.Gateway().String())})
	}))
}

// TestEndToEndMissingInterface: the device of address and heartbeats is not there at
// boot, and appears later.
func TestEndToEndMissingInterface(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{}, eager(t))
	s.rename("eth0", "later0", false)
	s.must(s.Start("dr1"))
	s.logged("dr1", "msg=started")
	pass(1500 * time.Millisecond) // longer than initdead
	if s.Owner() != "" {
		t.Errorf("%s has the address, without a network", s.Owner())
	}
	s.rename("later0", "eth0", true)
	s.owned("dr1")
	s.served("dr1")
	// Again, with a peer that holds it.
	s.stop("dr1")
	s.rename("eth0", "later0", false)
	s.must(s.Start("dr2"))
	s.owned("dr2")
	s.served("dr2")
	began := netif.Boottime()
	s.must(s.Start("dr1"))
	s.eventually("dr1 runs", func() bool { return s.role("dr1") == "standby" })
	s.rename("later0", "eth0", true)
	s.eventually("they hear each other", func() bool {
		v, err := s.view("dr1")
		return err == nil && v.Connected && v.Nodes[1].State == "alive"
	})
	pass(time.Second)
	s.still(began, "dr2")
	s.outage(lab.Client, began, noise)
	killed := netif.Boottime()
	s.must(s.Kill9(t.Context(), "dr2"))
	s.owned("dr1")
	s.served("dr1")
	s.outage(lab.Client, killed, s.bound(director.DaemonKilled))
}

// TestEndToEndFlapping: a cable with a loose contact, ten times a second. The other
// director takes over once, and keeps the group.
func TestEndToEndFlapping(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	s.begins()
	began := netif.Boottime()
	for range 30 {
		s.must(s.Pull(t.Context(), "dr1"))
		pass(50 * time.Millisecond)
		s.must(s.Plug(t.Context(), "dr1"))
		pass(50 * time.Millisecond)
	}
	// Who was cut off last has to find its gateway again, and may rightly hand over until then.
	for _, node := range []string{"dr1", "dr2"} {
		s.eventually(node+" hears the other, who could take over", func() bool { return s.hears(node) })
	}
	owner := s.settles()
	moved := s.moves(began)
	t.Logf("%d changes of the owner, outage %s", len(moved), s.Outage(lab.Client, began, 0))
	if len(moved) > 6 {
		t.Errorf("the address moved to and fro: %v", moved)
	}
	calm := netif.Boottime()
	pass(1500 * time.Millisecond)
	s.still(calm, owner)
	s.outage(lab.Client, calm, noise)
}

// small has the common network carry packets of so many bytes at most.
func (s *site) small(mtu int) {
	s.t.Helper()
	for _, machine := range []string{"dr1", "dr2", "gateway"} {
		s.must(s.Within(machine, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.LinkSetMTU(link, mtu)
		}))
	}
}

// thereAndBack has the group moved to dr2 by an operator, and back by a pulled cable.
func (s *site) thereAndBack() {
	s.t.Helper()
	planned := netif.Boottime()
	s.switchover("dr2")
	s.owned("dr2")
	s.served("dr2")
	s.outage(lab.Client, planned, s.bound(director.Planned))
	s.must(s.Pull(s.t.Context(), "dr2"))
	s.owned("dr1")
	s.served("dr1")
}

// TestEndToEndSmallMTU: packets may be no longer than must be; 576 is IPv4's least, 1280
// IPv6's.
func TestEndToEndSmallMTU(t *testing.T) {
	for _, mtu := range []int{1280, 576} {
		t.Run(map[int]string{1280: "1280", 576: "576"}[mtu], func(t *testing.T) {
			t.Parallel()
			s := open(t, lab.Settings{})
			s.small(mtu)
			s.begins()
			parted := netif.Boottime()
			s.must(s.Partition(t.Context(), "dr1", "dr2"))
			pass(time.Second)
			s.still(parted, "dr1") // heartbeats by the gateway
			s.outage(lab.Client, parted, noise)
			s.must(s.Heal(t.Context()))
			s.thereAndBack()
		})
	}
}

// TestEndToEndHeartbeatsInPieces: heartbeats about many groups are longer than a packet
// may be, and go in pieces.
func TestEndToEndHeartbeatsInPieces(t *testing.T) {
	t.Parallel()
	groups := ownResource
	for i := range 20 {
		groups += fmt.Sprintf("\n[[group]]\nname = \"more%d\"\n  [[group.resource]]\n  type = \"vip\"\n  address = \"10.7.0.%d\"\n  device = \"eth0\"\n", i, 101+i)
	}
	s := open(t, lab.Settings{}, replaced(t, ownResource, groups))
	s.small(576)
	e := s.ear("dr2")
	s.begins()
	if !e.pieces(net.IPv4(10, 7, 0, 11)) {
		t.Error("no packet of dr1 came in pieces")
	}
	began := netif.Boottime()
	pass(2 * time.Second)
	s.still(began, "dr1")
	s.outage(lab.Client, began, noise)
	s.thereAndBack()
}
