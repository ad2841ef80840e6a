package lvs

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/monitord/monitord/internal/plugin"
)

// mostOfRange is how many addresses one range may have; a longer one is taken for
// a mistake.
const mostOfRange = 4096

// addressRange returns the addresses from the first to the last one of
// "10.0.0.1-9", "10.0.0.1-10.0.0.9", "2001:db8::1-f" or a single address. In the
// short form the last part of the address goes from one to the other, inclusive.
func addressRange(text string) ([]netip.Addr, error) {
	first, last, isRange := strings.Cut(text, "-")
	from, err := netip.ParseAddr(first)
	if err != nil {
		return nil, err
	}
	from = from.Unmap()
	if !isRange {
		return []netip.Addr{from}, nil
	}
	to, err := endOfRange(from, last)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for a := from; a.Compare(to) <= 0; a = a.Next() {
		if len(all) == mostOfRange {
			return nil, fmt.Errorf("%q is a range of more than %d addresses", text, mostOfRange)
		}
		all = append(all, a)
	}
	return all, nil
}

// addresses are those of a range, or the one that is written.
func addresses(text string) ([]netip.Addr, error) {
	if looksLikeRange(text) {
		return addressRange(text)
	}
	a, err := netip.ParseAddr(text)
	return []netip.Addr{a.Unmap()}, err
}

func endOfRange(from netip.Addr, last string) (netip.Addr, error) {
	if !strings.ContainsAny(last, ".:") {
		whole, separator := from.String(), "."
		if from.Is6() {
			whole, separator = from.StringExpanded(), ":"
		}
		last = whole[:strings.LastIndex(whole, separator)+1] + last
	}
	to, err := netip.ParseAddr(last)
	if err != nil {
		return to, err
	}
	if to = to.Unmap(); to.BitLen() != from.BitLen() || to.Compare(from) < 0 {
		return to, fmt.Errorf("%s is not after %s", to, from)
	}
	return to, nil
}

// looksLikeRange tells a range of addresses from a name with a hyphen, and from an
// address whose zone has one.
func looksLikeRange(text string) bool {
	first, _, isRange := strings.Cut(text, "-")
	_, err := netip.ParseAddr(first)
	return isRange && err == nil && !strings.Contains(text, "%")
}

// Hosts returns the hosts that a text of the configuration stands for: each address
// of a range, or else the text itself.
func Hosts(text string) ([]string, error) {
	if !looksLikeRange(text) {
		return []string{text}, nil
	}
	addresses, err := addressRange(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no range of addresses: %w", text, err)
	}
	hosts := make([]string, len(addresses))
	for i, a := range addresses {
		hosts[i] = a.String()
	}
	return hosts, nil
}

// kernelAddress says why the kernel cannot forward to or from an address. It knows
// no zones (ip_vs.h), and takes unicast addresses only.
func kernelAddress(a netip.Addr) error {
	switch {
	case a.Zone() != "":
		return fmt.Errorf("%q has a zone, which the kernel's IPVS does not know: write a global address", a)
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%q is not the address of one machine", a)
	}
	return nil
}

// ids returns what clients connect to.
func (c VirtualConfig) ids(protocol Protocol) ([]ServiceID, error) {
	switch {
	case c.FWMark != 0:
		return c.mark()
	case c.Family != "":
		return nil, plugin.BadKey("family", "is for a virtual service by fwmark: an address tells its family itself")
	}
	addresses, err := c.virtualAddresses()
	if err != nil {
		return nil, err
	}
	ids := make([]ServiceID, len(addresses))
	for i, a := range addresses {
		ids[i] = ServiceID{Protocol: protocol, Address: a}
	}
	return ids, nil
}

// mark returns the service of a firewall mark.
func (c VirtualConfig) mark() ([]ServiceID, error) {
	if c.Address != "" {
		return nil, plugin.BadKey("fwmark", "a virtual service has an address or a fwmark, not both")
	}
	if c.FWMark < 0 || c.FWMark > 1<<32-1 {
		return nil, plugin.BadKey("fwmark", "%d is out of range: write 1 to 4294967295", c.FWMark)
	}
	id := ServiceID{Protocol: FWMark, Mark: uint32(c.FWMark), Address: netip.AddrPortFrom(netip.IPv4Unspecified(), 0)}
	switch c.Family {
	case "", "ipv4":
	case "ipv6":
		id.Address = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	default:
		return nil, plugin.BadKey("family", "%q is not accepted: write \"ipv4\" or \"ipv6\"", c.Family)
	}
	return []ServiceID{id}, nil
}

func (c VirtualConfig) virtualAddresses() ([]netip.AddrPort, error) {
	text := c.Address
	bad := func(format string, args ...any) ([]netip.AddrPort, error) {
		return nil, plugin.BadKey("address", format, args...)
	}
	if text == "" {
		return bad("a virtual service needs an address and a port, like \"10.0.0.1:80\"")
	}
	host, portText, err := net.SplitHostPort(text)
	if a, bare := netip.ParseAddr(strings.Trim(text, "[]")); bare == nil && (err != nil || !strings.HasPrefix(text, "[")) {
		return bad("%q has no port: write %q", text, netip.AddrPortFrom(a, 80))
	}
	if err != nil {
		return bad("%q is not an address with a port: write it like \"10.0.0.1:80\" or \"[2001:db8::1]:80\"", text)
	}
	if host == "" {
		return bad("%q has no address: write %q for every IPv4 address of this machine, or one of them", text, "0.0.0.0:"+portText)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return bad("%q: %q is not a port from 0 to 65535", text, portText)
	}
	if port == 0 && c.Persistence == 0 {
		return bad("%q has port 0, which is all ports: that needs persistence, like persistence = \"300s\"; or write the port that clients connect to", text)
	}
	return c.addressesAt(host, uint16(port))
}

func (c VirtualConfig) addressesAt(host string, port uint16) ([]netip.AddrPort, error) {
	addresses, err := addresses(host)
	switch {
	case err != nil && looksLikeRange(host):
		return nil, plugin.BadKey("address", "%q is no range of addresses: %w", host, err)
	case err != nil:
		return nil, plugin.BadKey("address", "%q is not an IP address: write the address itself, like %q, because the name server may be down when it is needed", host, fmt.Sprintf("10.0.0.1:%d", port))
	}
	all := make([]netip.AddrPort, len(addresses))
	for i, a := range addresses {
		if a.IsMulticast() {
			return nil, plugin.BadKey("address", "%q is a multicast address: a virtual service needs a unicast address", host)
		}
		all[i] = netip.AddrPortFrom(a, port)
	}
	return all, nil
}

func validPort(text string) error {
	if n, err := strconv.ParseUint(text, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return nil
}

// splitHost takes "host", "host:port", "::1", "[::1]" and "[::1]:port" apart;
// port is 0 if there is none.
func splitHost(text string) (host string, port uint16, err error) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		return a.Unmap().String(), 0, nil
	}
	host = text
	if strings.Contains(text, ":") {
		h, p, err := net.SplitHostPort(text)
		if err != nil {
			return "", 0, fmt.Errorf("%q is neither an address nor a name, with or without \":port\"", text)
		}
		if err := validPort(p); err != nil {
			return "", 0, fmt.Errorf("%q: %w", text, err)
		}
		n, _ := strconv.ParseUint(p, 10, 16) // checked by validPort
		host, port = h, uint16(n)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String(), port, nil
	}
	if !isName(host) {
		return "", 0, fmt.Errorf("%q is neither an address nor a name, with or without \":port\"", text)
	}
	return host, port, nil
}

// isName reports whether the text can be a host's name. One whose last label is
// a number is a mistyped address (RFC 1123, section 2.1).
func isName(text string) bool {
	name := strings.TrimSuffix(text, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	_, err := strconv.ParseUint(labels[len(labels)-1], 10, 64)
	return err != nil
}
