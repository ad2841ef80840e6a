package ipvs

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
)

// each calls f for every attribute of one level.
func each(data []byte, f func(*netlink.AttributeDecoder)) error {
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return fmt.Errorf("the kernel's answer: %w", err)
	}
	for d.Next() {
		f(d)
	}
	if err := d.Err(); err != nil {
		return fmt.Errorf("the kernel's answer: %w", err)
	}
	return nil
}

// inside calls f for every attribute within those of that kind.
func inside(data []byte, kind uint16, f func(*netlink.AttributeDecoder)) error {
	found := false
	err := each(data, func(d *netlink.AttributeDecoder) {
		if d.Type() != kind {
			return
		}
		found = true
		d.Nested(func(d *netlink.AttributeDecoder) error {
			for d.Next() {
				f(d)
			}
			return nil
		})
	})
	if err == nil && !found {
		return fmt.Errorf("the kernel's answer: attribute %d is missing", kind)
	}
	return err
}

// port is in the network's order.
func port(d *netlink.AttributeDecoder) uint16 {
	if b := d.Bytes(); len(b) == 2 {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// address takes the family's part of a union nf_inet_addr.
func address(b []byte, f Family) (netip.Addr, error) {
	n := f.bits() / 8
	if len(b) < n {
		return netip.Addr{}, fmt.Errorf("the kernel's answer: %d bytes for an address of %s", len(b), f)
	}
	a, _ := netip.AddrFromSlice(b[:n])
	return a, nil
}

func decodeService(data []byte) (Service, error) {
	var s Service
	var ip, mask []byte
	var at uint16
	counted := false
	err := inside(data, attrService, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case svcFamily:
			s.Key.Family = Family(d.Uint16())
		case svcProtocol:
			s.Key.Protocol = Protocol(d.Uint16())
		case svcAddress:
			ip = d.Bytes()
		case svcPort:
			at = port(d)
		case svcFWMark:
			s.Key.FWMark = d.Uint32()
		case svcScheduler:
			s.Scheduler = d.String()
		case svcFlags:
			s.Flags = flags(d.Bytes())
		case svcTimeout:
			s.Timeout = d.Uint32()
		case svcNetmask:
			mask = d.Bytes()
		case svcEngine:
			s.Engine = d.String()
		case svcStats, svcStats64:
			decodeStats(d, d.Type() == svcStats64, &counted, &s.Stats)
		}
	})
	if err != nil {
		return Service{}, err
	}
	s.Prefix = prefix(mask, s.Key.Family)
	if s.Key.FWMark != 0 {
		return s, nil
	}
	a, err := address(ip, s.Key.Family)
	s.Key.Address = netip.AddrPortFrom(a, at)
	return s, err
}

// flags is the first half of a struct ip_vs_flags; the other is a mask.
func flags(b []byte) Flags {
	if len(b) < 4 {
		return 0
	}
	return Flags(binary.NativeEndian.Uint32(b)) &^ hashed
}

// prefix is the length of a netmask, -1 for one that has none.
func prefix(b []byte, f Family) int {
	if len(b) != 4 {
		return -1
	}
	if f == INET6 {
		if n := binary.NativeEndian.Uint32(b); n >= 1 && n <= 128 {
			return int(n)
		}
		return -1
	}
	m := binary.BigEndian.Uint32(b)
	n := bits.LeadingZeros32(^m)
	if n == 0 || m<<n != 0 {
		return -1
	}
	return n
}

// decodeDestination: before Linux 3.18 a destination did not say its family, and
// had that of its service.
func decodeDestination(data []byte, family Family) (Destination, error) {
	var t Destination
	var ip []byte
	var at uint16
	counted := false
	err := inside(data, attrDest, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case destAddress:
			ip = d.Bytes()
		case destPort:
			at = port(d)
		case destFamily:
			family = Family(d.Uint16())
		case destForward:
			t.Forward = Forward(d.Uint32()) & forwardMask
		case destWeight:
			t.Weight = int(int32(d.Uint32()))
		case destUpper:
			t.Upper = d.Uint32()
		case destLower:
			t.Lower = d.Uint32()
		case destActive:
			t.Active = d.Uint32()
		case destInactive:
			t.Inactive = d.Uint32()
		case destPersistent:
			t.Persistent = d.Uint32()
		case destStats, destStats64:
			decodeStats(d, d.Type() == destStats64, &counted, &t.Stats)
		case destTunnelType:
			t.Tunnel.Type = TunnelType(d.Uint8())
		case destTunnelPort:
			t.Tunnel.Port = port(d)
		case destTunnelFlags:
			t.Tunnel.Flags = TunnelFlags(d.Uint16())
		}
	})
	if err != nil {
		return Destination{}, err
	}
	a, err := address(ip, family)
	t.Address = netip.AddrPortFrom(a, at)
	if t.Forward != Tunnel {
		t.Tunnel = Encapsulation{} // left over from when it was one
	}
	return t, err
}

// decodeStats takes the counters of 64 bits where both kinds are there,
// whichever comes first.
func decodeStats(d *netlink.AttributeDecoder, wide bool, counted *bool, s *Stats) {
	if *counted && !wide {
		return
	}
	*counted = wide
	fields := [...]*uint64{
		statsConnections: &s.Connections, statsInPackets: &s.InPackets, statsOutPackets: &s.OutPackets,
		statsInBytes: &s.InBytes, statsOutBytes: &s.OutBytes,
		statsCPS: &s.CPS, statsInPPS: &s.InPPS, statsOutPPS: &s.OutPPS, statsInBPS: &s.InBPS, statsOutBPS: &s.OutBPS,
	}
	d.Nested(func(d *netlink.AttributeDecoder) error {
		for d.Next() {
			if kind := int(d.Type()); kind < len(fields) && fields[kind] != nil {
				*fields[kind] = number(d.Bytes())
			}
		}
		return nil
	})
}

// number has 32 or 64 bits.
func number(b []byte) uint64 {
	switch len(b) {
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	case 8:
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

func decodeInfo(data []byte) (Info, error) {
	var i Info
	err := each(data, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case infoVersion:
			v := d.Uint32()
			i.Version = fmt.Sprintf("%d.%d.%d", v>>16&0xff, v>>8&0xff, v&0xff)
		case infoTableSize:
			i.ConnectionTableSize = int(d.Uint32())
		}
	})
	return i, err
}

func decodeTimeouts(data []byte) (Timeouts, error) {
	var t Timeouts
	err := each(data, func(d *netlink.AttributeDecoder) {
		seconds := func() time.Duration { return time.Duration(d.Uint32()) * time.Second }
		switch d.Type() {
		case attrTimeoutTCP:
			t.TCP = seconds()
		case attrTimeoutTCPFin:
			t.TCPFin = seconds()
		case attrTimeoutUDP:
			t.UDP = seconds()
		}
	})
	return t, err
}

func decodeDaemon(data []byte) (Daemon, error) {
	var m Daemon
	err := inside(data, attrDaemon, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case daemonRole:
			m.Role = Role(d.Uint32())
		case daemonInterface:
			m.Interface = d.String()
		case daemonSyncID:
			m.SyncID = int(d.Uint32())
		case daemonMaxLength:
			m.MaxLength = d.Uint16()
		case daemonGroup, daemonGroup6:
			m.Group, _ = netip.AddrFromSlice(d.Bytes())
		case daemonPort:
			m.Port = d.Uint16()
		case daemonTTL:
			m.TTL = d.Uint8()
		}
	})
	return m, err
}
