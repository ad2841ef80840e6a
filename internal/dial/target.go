package dial

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// A Target is an entry of a host group with its port.
type Target struct {
	// Name is the host as written: a name, or the text of an address.
	Name string
	// Addr is the address that was written; invalid if it was a name.
	Addr netip.Addr
	Port uint16
}

// ParseTarget reads an entry of a host group: "web1", "web1:8080", "10.0.0.1",
// "10.0.0.1:80", "::1", "[::1]" or "[::1]:80". Without a port of its own it gets
// the given one; if that is 0 too the entry is refused. An unbracketed address
// with more than one colon is IPv6 without a port.
func ParseTarget(entry string, port int) (Target, error) {
	host, own, err := splitEntry(entry)
	if err != nil {
		return Target{}, err
	}
	t := Target{Name: host}
	if t.Addr, err = netip.ParseAddr(host); err == nil {
		t.Addr = t.Addr.Unmap()
	} else if err := checkName(host); err != nil {
		return Target{}, err
	}
	switch {
	case own != "":
		n, err := strconv.ParseUint(own, 10, 16)
		if err != nil || n == 0 {
			return Target{}, fmt.Errorf("host %q: port %q is not a number from 1 to 65535", entry, own)
		}
		t.Port = uint16(n)
	case port >= 1 && port <= 65535:
		t.Port = uint16(port)
	default:
		return Target{}, fmt.Errorf("host %q has no port: set port = ..., or write %s", entry, net.JoinHostPort(host, "PORT"))
	}
	return t, nil
}

// String returns host:port, with brackets where IPv6 needs them.
func (t Target) String() string { return net.JoinHostPort(t.Name, strconv.Itoa(int(t.Port))) }

// splitEntry parts an entry into its host, without brackets, and its port, which
// is empty if there is none.
func splitEntry(entry string) (host, port string, err error) {
	if _, err := netip.ParseAddr(entry); err == nil {
		return entry, "", nil
	}
	if inner, ok := strings.CutPrefix(entry, "["); ok {
		return splitBrackets(entry, inner)
	}
	host, port, found := strings.Cut(entry, ":")
	switch {
	case host == "":
		return "", "", fmt.Errorf("host %q has no name", entry)
	case strings.Contains(port, ":") || strings.HasPrefix(port, "/"):
		return "", "", fmt.Errorf("host %q is neither name:port nor an IPv6 address", entry)
	case found && port == "":
		return "", "", fmt.Errorf("host %q ends in a colon without a port", entry)
	}
	return host, port, nil
}

func splitBrackets(entry, inner string) (host, port string, err error) {
	host, rest, closed := strings.Cut(inner, "]")
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.Is6() || !closed {
		return "", "", fmt.Errorf("host %q: brackets hold an IPv6 address, like [::1]:80", entry)
	}
	if rest == "" {
		return host, "", nil
	}
	port, ok := strings.CutPrefix(rest, ":")
	if !ok || port == "" {
		return "", "", fmt.Errorf("host %q: after the bracket comes a port, like [::1]:80", entry)
	}
	return host, port, nil
}

// checkName refuses what no name server could know: it is a mistake in the host
// group, and its message is better than "no such host".
func checkName(name string) error {
	if strings.Trim(name, "0123456789.") == "" {
		return fmt.Errorf("host %q is not a valid IPv4 address", name)
	}
	if len(name) > 254 { // RFC 1035, 2.3.4: 253 and a last dot
		return fmt.Errorf("host name of %d characters is too long: a name has at most 253", len(name))
	}
	if i := strings.IndexFunc(name, badInName); i >= 0 {
		return fmt.Errorf("host %q has %q in its name", name, name[i:i+1])
	}
	return nil
}

func badInName(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`/\@[]%?#"'`, r)
}

// Host returns the name or the address as TLS and HTTP write it: without the
// zone of a link-local address, which means something on this machine only.
func (t Target) Host() string {
	if t.Addr.IsValid() {
		return t.Addr.WithZone("").String()
	}
	return t.Name
}

// Loopback reports whether nobody but this machine sees what is sent to host.
func Loopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	// RFC 6761 section 6.3.
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
