package ipvs

import (
	"fmt"
	"net"
	"strings"
)

// Line is the service as ipvsadm(8) writes it after -A:
// "-t 10.0.0.1:80 -s wlc -p 50".
func (s Service) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s -s %s", s.Key, s.Scheduler)
	if s.Flags&Persistent != 0 {
		fmt.Fprintf(&b, " -p %d", s.Timeout)
		if prefix := s.prefix(); prefix > 0 && prefix != s.Key.Family.bits() {
			fmt.Fprintf(&b, " -M %s", mask(s.Key.Family, prefix))
		}
	}
	if s.Engine != "" {
		b.WriteString(" --pe " + s.Engine)
	}
	if s.Flags&OnePacket != 0 {
		b.WriteString(" -o")
	}
	if names := s.Flags.Names(s.Scheduler); names != "" {
		b.WriteString(" -b " + names)
	}
	return b.String()
}

// mask is dotted for IPv4, a length for IPv6.
func mask(f Family, prefix int) string {
	if f == INET {
		return net.IP(net.CIDRMask(prefix, 32)).String()
	}
	return fmt.Sprint(prefix)
}

// Line is the destination as ipvsadm(8) writes it after -a:
// "-t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1". The kernel's own way of forwarding,
// [Local], has no option and is left out.
func (d Destination) Line(key Key) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s -r %s", key, d.Address)
	switch d.Forward & forwardMask {
	case Masq:
		b.WriteString(" -m")
	case Tunnel:
		b.WriteString(" -i" + d.Tunnel.options())
	case Route:
		b.WriteString(" -g")
	case Local:
	}
	fmt.Fprintf(&b, " -w %d", d.Weight)
	if d.Upper != 0 {
		fmt.Fprintf(&b, " -x %d -y %d", d.Upper, d.Lower)
	}
	return b.String()
}

// options are ipvsadm's for what is not plain ipip.
func (e Encapsulation) options() string {
	if e.Type == IPIP {
		return ""
	}
	text := " --tun-type " + e.Type.String()
	if e.Port != 0 {
		text += fmt.Sprintf(" --tun-port %d", e.Port)
	}
	if e.Flags&Checksum != 0 {
		text += " --tun-csum"
	}
	if e.Flags&RemoteChecksum != 0 {
		text += " --tun-remcsum"
	}
	return text
}
