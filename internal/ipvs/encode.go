package ipvs

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
)

// allFlags is the mask of a struct ip_vs_flags that sets every flag.
const allFlags = 0xffffffff

// attributes encodes what f puts.
func attributes(f func(*netlink.AttributeEncoder)) ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	f(e)
	return e.Encode()
}

func nest(e *netlink.AttributeEncoder, kind uint16, f func(*netlink.AttributeEncoder)) {
	e.Nested(kind, func(inner *netlink.AttributeEncoder) error {
		f(inner)
		return nil
	})
}

// putKey names a service. The kernel finds it by the mark if there is one, which
// is why the address is left out then.
func putKey(e *netlink.AttributeEncoder, k Key) {
	e.Uint16(svcFamily, uint16(k.Family))
	if k.FWMark != 0 {
		e.Uint32(svcFWMark, k.FWMark)
		return
	}
	e.Uint16(svcProtocol, uint16(k.Protocol))
	e.Bytes(svcAddress, k.Address.Addr().AsSlice())
	e.Bytes(svcPort, bigEndian(k.Address.Port()))
}

// bigEndian is a port as the network has it.
func bigEndian(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// keyOnly is what finds a service.
func keyOnly(k Key) ([]byte, error) {
	return attributes(func(e *netlink.AttributeEncoder) {
		nest(e, attrService, func(e *netlink.AttributeEncoder) { putKey(e, k) })
	})
}

func encodeService(s Service) ([]byte, error) {
	return attributes(func(e *netlink.AttributeEncoder) {
		nest(e, attrService, func(e *netlink.AttributeEncoder) {
			putKey(e, s.Key)
			e.String(svcScheduler, s.Scheduler)
			if s.Engine != "" {
				e.String(svcEngine, s.Engine)
			}
			flags := binary.NativeEndian.AppendUint32(nil, uint32(s.Flags&^hashed))
			e.Bytes(svcFlags, binary.NativeEndian.AppendUint32(flags, allFlags))
			e.Uint32(svcTimeout, s.Timeout)
			e.Uint32(svcNetmask, s.netmask())
		})
	})
}

// netmask is the mask's four bytes in the network's order for IPv4, the length
// as a number for IPv6.
func (s Service) netmask() uint32 {
	if s.Key.Family == INET6 {
		return uint32(s.prefix())
	}
	return binary.NativeEndian.Uint32(net.CIDRMask(s.prefix(), 32))
}

// encodeDestination is d, and with it the service that it belongs to. Of a
// destination to be removed the kernel needs no settings.
func encodeDestination(k Key, d Destination, settings bool) ([]byte, error) {
	return attributes(func(e *netlink.AttributeEncoder) {
		nest(e, attrService, func(e *netlink.AttributeEncoder) { putKey(e, k) })
		nest(e, attrDest, func(e *netlink.AttributeEncoder) {
			e.Bytes(destAddress, d.Address.Addr().AsSlice())
			e.Bytes(destPort, bigEndian(d.Address.Port()))
			e.Uint16(destFamily, uint16(familyOf(d.Address.Addr())))
			if settings {
				putSettings(e, d)
			}
		})
	})
}

func putSettings(e *netlink.AttributeEncoder, d Destination) {
	e.Uint32(destForward, uint32(d.Forward&forwardMask))
	e.Uint32(destWeight, uint32(d.Weight))
	e.Uint32(destUpper, d.Upper)
	e.Uint32(destLower, d.Lower)
	if d.Forward&forwardMask == Tunnel {
		e.Uint8(destTunnelType, uint8(d.Tunnel.Type))
		e.Bytes(destTunnelPort, bigEndian(d.Tunnel.Port))
		e.Uint16(destTunnelFlags, uint16(d.Tunnel.Flags))
	}
}

func encodeTimeouts(t Timeouts) ([]byte, error) {
	return attributes(func(e *netlink.AttributeEncoder) {
		put := func(kind uint16, d time.Duration) {
			if d != 0 {
				e.Uint32(kind, uint32(d/time.Second))
			}
		}
		put(attrTimeoutTCP, t.TCP)
		put(attrTimeoutTCPFin, t.TCPFin)
		put(attrTimeoutUDP, t.UDP)
	})
}

func encodeDaemon(d Daemon) ([]byte, error) {
	return attributes(func(e *netlink.AttributeEncoder) {
		nest(e, attrDaemon, func(e *netlink.AttributeEncoder) {
			e.Uint32(daemonRole, uint32(d.Role))
			e.String(daemonInterface, d.Interface)
			e.Uint32(daemonSyncID, uint32(d.SyncID))
			if d.MaxLength != 0 {
				e.Uint16(daemonMaxLength, d.MaxLength)
			}
			putGroup(e, d.Group)
			if d.Port != 0 {
				e.Uint16(daemonPort, d.Port) // in the machine's order, unlike other ports
			}
			if d.TTL != 0 {
				e.Uint8(daemonTTL, d.TTL)
			}
		})
	})
}

func putGroup(e *netlink.AttributeEncoder, group netip.Addr) {
	switch {
	case group.Is4():
		e.Bytes(daemonGroup, group.AsSlice())
	case group.Is6():
		e.Bytes(daemonGroup6, group.AsSlice())
	}
}

// encodeRole names a daemon that is to be stopped.
func encodeRole(r Role) ([]byte, error) {
	return attributes(func(e *netlink.AttributeEncoder) {
		nest(e, attrDaemon, func(e *netlink.AttributeEncoder) { e.Uint32(daemonRole, uint32(r)) })
	})
}
