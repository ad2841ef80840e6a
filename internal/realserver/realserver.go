// Package realserver makes a machine a real server: it takes the packets for a
// virtual address (VIP) that a director sends to it, and never says on the network
// that the address is its own. What [Up] changes [Down] undoes exactly, and
// nothing else.
//
// # What is needed, and why
//
// Direct routing (dr): the packet comes with the VIP as its destination, to this
// machine's MAC. The VIP has to be an address of this machine, on a device that is
// not on the network: lo. But Linux answers ARP for each of its addresses on each
// of its devices. The kernel's Documentation/networking/ip-sysctl.rst has the two
// remedies, for both of which "the max value from conf/{all,interface} is used",
// so that conf/all is enough, for devices that come later too, and conf/lo, which
// many guides set as well, does nothing, as no ARP arrives at lo:
//
//   - arp_ignore = 1 on all: "reply only if the target IP address is local address
//     configured on the incoming interface".
//   - arp_announce = 2 on all: do not name the VIP as sender in own ARP requests,
//     which is what an answer to a client otherwise would do, and what a
//     neighbour learns from as well as from replies. Level 1 is not enough: it
//     keeps the sender's address if that is of the device's network, as a VIP
//     mostly is.
//
// The VIP gets the scope "host" (IPv4) or is deprecated (IPv6, RFC 6724 rule 3), so
// that the kernel never chooses it for connections of this machine's own.
//
// IPv6 needs no sysctl: a neighbour solicitation is answered only for an address of
// the device that it arrives at (ndisc_recv_ns in net/ipv6/ndisc.c looks it up with
// that device; anycast addresses and configured proxies apart), and a solicitation
// names its sender only if that is an address of the outgoing device
// (ndisc_solicit). The search for duplicates is left out (nodad).
//
// Tunnels (tun): the packet comes inside of another one for this machine's own
// address. A tunnel device that receives from anywhere unpacks it and has the VIP.
// To the check of rp_filter the client's packet arrives from the wrong side, for the
// way back is not through the tunnel. Here too the maximum of conf/all and the
// device's own value counts; 2 (loose: "If using asymmetric routing … loose mode is
// recommended") on the device alone therefore repairs the strict 1 of either, while
// the usual advice, 0 on both, would drop the protection of all devices.
// GUE comes to a UDP port that the module fou unpacks, and goes on to the same
// tunnel device as without it.
//
// # Memory
//
// What is going to be changed is written, with the value it had, to a file in
// [Config.StateDir] before it is changed. A value that somebody else has changed
// since is left alone by Down, and said. What was right before Up was not changed,
// so Down leaves it. What several VIPs need stays until the last one is down.
//
// The memory holds for one network namespace in one run of the kernel; after a
// reboot Up starts anew. Namespaces must not share a StateDir.
package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultStateDir is monitord's; the memory is in a folder "realserver" of it.
const DefaultStateDir = "/var/lib/monitord"

// A Mode is how the director forwards.
type Mode string

// The modes.
const (
	DR  Mode = "dr"
	Tun Mode = "tun"
)

// An Encapsulation is what a director wraps packets in: ipvsadm's --tun-type.
type Encapsulation string

// The encapsulations.
const (
	IPIP Encapsulation = "ipip"
	GUE  Encapsulation = "gue"
	GRE  Encapsulation = "gre"
)

// Config says which virtual addresses this machine serves, and how their packets
// come to it.
type Config struct {
	VIPs []netip.Addr
	Mode Mode // default DR
	// Tunnel is for Tun only; default IPIP.
	Tunnel Encapsulation
	// Port is the UDP port of GUE.
	Port uint16
	// Outer is the IP version of the packets that carry, 4 or 6, for Tun only;
	// default (0) the VIP's.
	Outer int
	// Device gets the VIP in DR; default lo. It must not answer ARP: lo, or a
	// dummy device. In Tun the tunnel's device gets it.
	Device string
	// Via are devices at which the director's packets arrive although the way to
	// the clients is by another one: a strict rp_filter there is made loose.
	Via []string
	// StateDir is where the memory is; default DefaultStateDir.
	StateDir string
}

// A Report says what was done, in sentences for people.
type Report struct {
	// Done is what was changed.
	Done []string `json:"done,omitempty"`
	// Left is what was not undone, and why, and what else is worth knowing.
	Left []string `json:"left,omitempty"`
}

func (r *Report) done(format string, args ...any) {
	r.Done = append(r.Done, fmt.Sprintf(format, args...))
}

func (r *Report) left(format string, args ...any) {
	r.Left = append(r.Left, fmt.Sprintf(format, args...))
}

// Check says what is wrong with the configuration as such.
func (c Config) Check() error {
	_, err := c.entries()
	return err
}

// entries are the checked VIPs of a configuration.
func (c Config) entries() ([]entry, error) {
	var all []entry
	var wrong []error
	for _, vip := range c.VIPs {
		e, err := c.entry(vip.Unmap())
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		if !slices.ContainsFunc(all, func(o entry) bool { return o.VIP == e.VIP }) {
			all = append(all, e)
		}
	}
	return all, errors.Join(wrong...)
}

func (c Config) entry(vip netip.Addr) (entry, error) {
	if err := usable(vip); err != nil {
		return entry{}, err
	}
	e := entry{VIP: vip, Mode: c.Mode, Device: c.Device, Via: c.Via}
	switch c.Mode {
	case DR, "":
		e.Mode = DR
		if c.Tunnel != "" || c.Port != 0 || c.Outer != 0 {
			return entry{}, errors.New("mode dr has no tunnel: leave out tunnel type, port and outer version, or take mode tun")
		}
		if e.Device == "" {
			e.Device = "lo"
		}
		return e, checkDevices(append([]string{e.Device}, e.Via...))
	case Tun:
		if c.Device != "" {
			return entry{}, fmt.Errorf("device %s: in mode tun the address goes on the tunnel's own device", c.Device)
		}
		if err := c.tunnel(&e); err != nil {
			return entry{}, err
		}
		return e, checkDevices(e.Via)
	}
	return entry{}, fmt.Errorf("mode %q: take dr or tun", c.Mode)
}

// tunnel chooses the device that unpacks: the one of the kernel's own that
// receives from anywhere, of which there can be one only.
func (c Config) tunnel(e *entry) error {
	outer := c.Outer
	switch {
	case outer == 0 && e.VIP.Is4():
		outer = 4
	case outer == 0:
		outer = 6
	case outer != 4 && outer != 6:
		return fmt.Errorf("outer IP version %d: take 4 or 6", outer)
	}
	if (c.Tunnel == GUE) != (c.Port != 0) {
		return errors.New("a UDP port belongs to the tunnel type gue, and to it alone")
	}
	e.Tunnel, e.Port, e.Outer = c.Tunnel, c.Port, outer
	switch c.Tunnel {
	case IPIP, GUE, "":
		if c.Tunnel == "" {
			e.Tunnel = IPIP
		}
		switch {
		case e.VIP.Is4() && outer == 6:
			return fmt.Errorf("%s: IPv4 inside of IPv6 has no device that receives from anywhere: take the tunnel type gre", e.VIP)
		case e.VIP.Is4():
			e.Device = "tunl0"
		case outer == 6:
			e.Device = "ip6tnl0"
		default:
			e.Device = "sit0"
		}
	case GRE:
		e.Device = "gre0"
		if outer == 6 {
			e.Device = "ip6gre0"
		}
	default:
		return fmt.Errorf("tunnel type %q: take ipip, gue or gre", c.Tunnel)
	}
	return nil
}

// usable refuses what no director can have as the address of a service.
func usable(vip netip.Addr) error {
	switch {
	case !vip.IsValid():
		return errors.New("a VIP is missing")
	case vip.Zone() != "" || vip.IsLinkLocalUnicast():
		return fmt.Errorf("VIP %s: an address of one link cannot be shared between machines", vip)
	case vip.IsUnspecified(), vip.IsLoopback(), vip.IsMulticast(), vip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("VIP %s: take the unicast address that clients connect to", vip)
	}
	return nil
}

// checkDevices keeps names that no device can have (dev_valid_name of
// net/core/dev.c) out of paths.
func checkDevices(names []string) error {
	for _, name := range names {
		if name == "" || len(name) > 15 || name == "." || name == ".." || name == "all" || name == "default" || strings.ContainsAny(name, "/: \t\n") {
			return fmt.Errorf("device %q: not the name of a network device", name)
		}
	}
	return nil
}

func (c Config) dir() string {
	if c.StateDir == "" {
		return filepath.Join(DefaultStateDir, "realserver")
	}
	return filepath.Join(c.StateDir, "realserver")
}
