package ipvs

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// nameLength is the most that the kernel takes in the name of a scheduler, a
// persistence engine (IP_VS_SCHEDNAME_MAXLEN, IP_VS_PENAME_MAXLEN) or an
// interface, each with a 0 behind it.
const nameLength = 15

// Check reports what the kernel could only answer with "invalid argument".
func (k Key) Check() error {
	if k.Family != INET && k.Family != INET6 {
		return fmt.Errorf("a service is of IPv4 or of IPv6, not of %s", k.Family)
	}
	if k.FWMark != 0 {
		if k != MarkKey(k.FWMark, k.Family) {
			return errors.New("a service has a firewall mark or an address, not both")
		}
		return nil
	}
	switch k.Protocol {
	case TCP, UDP, SCTP:
	default:
		return fmt.Errorf("a service is of tcp, udp or sctp, not of %s", k.Protocol)
	}
	if err := checkAddress(k.Address.Addr()); err != nil {
		return err
	}
	if k != AddressKey(k.Protocol, k.Address) {
		return fmt.Errorf("%s is not an address of %s", k.Address.Addr(), k.Family)
	}
	return nil
}

func checkAddress(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return errors.New("the address is missing")
	case a.Zone() != "":
		return fmt.Errorf("%s: the kernel's IPVS has no zones of addresses", a)
	case a.Is4In6():
		return fmt.Errorf("%s is to be written %s", a, a.Unmap())
	}
	return nil
}

// Check reports what the kernel could only answer with "invalid argument".
func (s Service) Check() error {
	if err := s.Key.Check(); err != nil {
		return err
	}
	if err := checkName("scheduler", s.Scheduler); err != nil {
		return err
	}
	if s.Engine != "" {
		if err := checkName("persistence engine", s.Engine); err != nil {
			return err
		}
	}
	if s.Prefix < 0 || s.Prefix > s.Key.Family.bits() {
		return fmt.Errorf("the persistence mask is 1 to %d bits long, not %d", s.Key.Family.bits(), s.Prefix)
	}
	if s.Timeout > longestPersistence {
		return fmt.Errorf("the persistence timeout is at most %d seconds, not %d", longestPersistence, s.Timeout)
	}
	return nil
}

// longestPersistence is ipvsadm's: 31 days. The kernel takes more, and
// multiplies it by its HZ in 32 bits.
const longestPersistence = 31 * 24 * 60 * 60

func checkName(what, name string) error {
	if name == "" || len(name) > nameLength || strings.ContainsAny(name, "\x00/ \t\n") {
		return fmt.Errorf("the name of the %s is 1 to %d letters long: %q", what, nameLength, name)
	}
	return nil
}

// Check reports what the kernel could only answer with "invalid argument" or
// "out of range" to the destination of that service.
func (d Destination) Check(key Key) error {
	if err := checkAddress(d.Address.Addr()); err != nil {
		return err
	}
	switch d.Forward {
	case Masq, Local, Tunnel, Route:
	default:
		return fmt.Errorf("no way of forwarding: %s", d.Forward)
	}
	switch {
	case d.Weight < 0 || d.Weight > math.MaxInt32:
		return fmt.Errorf("the weight is 0 to %d, not %d", math.MaxInt32, d.Weight)
	case d.Upper > math.MaxInt32:
		return fmt.Errorf("the upper threshold is at most %d, not %d", math.MaxInt32, d.Upper) // Linux 6.1 says EINVAL
	case d.Lower > d.Upper:
		return fmt.Errorf("the lower threshold %d is above the upper %d", d.Lower, d.Upper)
	case familyOf(d.Address.Addr()) != key.Family && d.Forward != Tunnel:
		return fmt.Errorf("a service of %s reaches %s by a tunnel only", key.Family, d.Address.Addr())
	}
	return d.checkTunnel()
}

func (d Destination) checkTunnel() error {
	t := d.Tunnel
	if d.Forward != Tunnel {
		return nil
	}
	switch t.Type {
	case IPIP:
		if t != (Encapsulation{}) {
			return errors.New("ipip has neither port nor checksums")
		}
	case GUE:
		if t.Port == 0 {
			return errors.New("gue needs a port")
		}
	case GRE:
		if t.Port != 0 {
			return errors.New("gre has no port")
		}
	default:
		return fmt.Errorf("unknown %s", t.Type)
	}
	return nil
}

// Check reports what the kernel could only answer with "invalid argument".
func (d Daemon) Check() error {
	if d.Role != Master && d.Role != Backup {
		return fmt.Errorf("a sync daemon is master or backup, not %s", d.Role)
	}
	if err := checkName("interface", d.Interface); err != nil {
		return err
	}
	if d.SyncID < 0 || d.SyncID > 255 {
		return fmt.Errorf("the sync id is 0 to 255, not %d", d.SyncID)
	}
	if d.Group.IsValid() && !d.Group.IsMulticast() {
		return fmt.Errorf("%s is not a multicast group", d.Group)
	}
	if d.Group.Is4In6() || d.Group.Zone() != "" {
		return fmt.Errorf("%s is to be written without zone, as IPv4 or as IPv6", d.Group)
	}
	return nil
}

// Check reports what the kernel would misunderstand.
func (t Timeouts) Check() error {
	for _, d := range []struct {
		name  string
		value int64
	}{{"tcp", int64(t.TCP)}, {"tcp_fin", int64(t.TCPFin)}, {"udp", int64(t.UDP)}} {
		switch {
		case d.value < 0:
			return fmt.Errorf("the %s timeout is negative", d.name)
		case d.value%1e9 != 0:
			return fmt.Errorf("the %s timeout is not in whole seconds", d.name)
		case d.value/1e9 > math.MaxInt32/1000: // the kernel's jiffies are an int
			return fmt.Errorf("the %s timeout is too long", d.name)
		}
	}
	return nil
}
