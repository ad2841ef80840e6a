// Package dial connects to the hosts of a group for the monitors that speak over
// TCP and UDP, and decides in one place what a failure says about the host.
//
// Down means that the host itself refused, broke off or was silent. What failed
// before the host could be asked - a name server, a source address, a missing
// route, too many open files - is marked [monitors.Untested] and never takes a
// server out of its pool. [Verdict] is that place.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/monitors"
)

// maxAddresses bounds how many addresses of one name are tried.
const maxAddresses = 16

// A Dialer opens connections as the keys source and ip say. Its zero value uses
// any family, the kernel's choice of source and the system's name servers.
type Dialer struct {
	source netip.Addr
	family family
	// NameServer is the host:port to ask instead of the system's name servers.
	NameServer string
}

type family string

const (
	anyFamily family = "any"
	ipv4      family = "4"
	ipv6      family = "6"
)

// New makes a Dialer of the keys "source" (an address of this machine, or empty)
// and "ip" ("any", "4" or "6"; empty is any), and blames the wrong one.
func New(source, ip string) (*Dialer, error) {
	d := &Dialer{family: family(ip)}
	switch d.family {
	case "":
		d.family = anyFamily
	case anyFamily, ipv4, ipv6:
	default:
		return nil, monitors.BadKey("ip", `%q is no address family: write "any", "4" or "6"`, ip)
	}
	if source == "" {
		return d, nil
	}
	addr, err := netip.ParseAddr(source)
	if err != nil || addr.IsUnspecified() || addr.IsMulticast() {
		return nil, monitors.BadKey("source", `%q is no address of this machine: write one, like "10.0.0.1" or "fd00::1"`, source)
	}
	d.source = addr.Unmap()
	of := familyOf(d.source)
	if d.family != anyFamily && d.family != of {
		return nil, monitors.BadKey("ip", "%q does not go with the source address %s: leave ip out, or write %q", ip, source, string(of))
	}
	d.family = of
	return d, nil
}

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

func (d *Dialer) usable(a netip.Addr) bool {
	return d.family == anyFamily || d.family == "" || d.family == familyOf(a)
}

// Dial connects to a target. Of a name with several addresses it takes the first
// that answers, trying each for a fair share of the time that is left. The
// connection breaks off when ctx is done: reads and writes then end with a
// timeout. An error has passed [Verdict] and names the address that it is about.
// What each phase took is added to took, by the connection's first read too.
func (d *Dialer) Dial(ctx context.Context, t Target, took *monitors.Timings) (*Conn, error) {
	start := time.Now()
	addrs, err := d.lookup(ctx, t)
	if err != nil {
		return nil, monitors.Untested(err)
	}
	if !t.Addr.IsValid() {
		took.Resolve += time.Since(start)
	}
	var failures []error
	start = time.Now()
	for i, addr := range addrs {
		conn, err := d.connect(ctx, netip.AddrPortFrom(addr, t.Port), len(addrs)-i)
		if err == nil {
			took.Connect += time.Since(start)
			return newConn(bind(ctx, conn), took), nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, judge(failures)
}

// lookup returns the addresses to try. It may use half of the time: a slow name
// server must not leave the host so little that it looks silent.
func (d *Dialer) lookup(ctx context.Context, t Target) ([]netip.Addr, error) {
	if t.Addr.IsValid() {
		if !d.usable(t.Addr) {
			return nil, fmt.Errorf("%s is not an IPv%s address", t.Addr, d.family)
		}
		return []netip.Addr{t.Addr}, nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	resolver := net.Resolver{PreferGo: true, Dial: d.nameServer}
	found, err := resolver.LookupNetIP(ctx, "ip", t.Name)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); d.usable(a) && len(addrs) < maxAddresses && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s has no IPv%s address", t.Name, d.family)
	}
	return addrs, nil
}

// nameServer connects to a name server for package net, whose queries would go
// on for seconds after their lookup was given up if nothing broke them off.
func (d *Dialer) nameServer(ctx context.Context, network, address string) (net.Conn, error) {
	if d.NameServer != "" {
		address = d.NameServer
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	bound := bind(ctx, conn)
	if packets, ok := conn.(net.PacketConn); ok {
		return &boundPackets{boundConn: bound, packets: packets}, nil
	}
	return bound, nil
}

// connect tries one address, as one of left that remain, for its share of the
// time.
func (d *Dialer) connect(ctx context.Context, to netip.AddrPort, left int) (net.Conn, error) {
	ctx, cancel := Share(ctx, left)
	defer cancel()
	dialer := net.Dialer{KeepAlive: -1}
	if d.source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.source, 0))
	}
	conn, err := dialer.DialContext(noDeadline{ctx}, "tcp", to.String())
	if err != nil {
		return nil, d.named(to, err)
	}
	return conn, nil
}

// named reduces a dial error to the address and the cause.
func (d *Dialer) named(to netip.AddrPort, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: no answer: %w", to, context.DeadlineExceeded)
	}
	if isBind(err) {
		return fmt.Errorf("source address %s: %w", d.source, bare(err))
	}
	return fmt.Errorf("%s: %w", to, bare(err))
}

// judge joins the failures of a name's addresses. One answer from the host, be
// it a refusal or silence, is a verdict even if another address could not be
// tried: a machine without IPv6 still tests the IPv4 address.
func judge(failures []error) error {
	var down, untested []error
	for _, err := range failures {
		if err = Verdict(err); errors.Is(err, monitors.ErrUntested) {
			untested = append(untested, err)
		} else {
			down = append(down, err)
		}
	}
	if len(down) > 0 {
		return list(down)
	}
	return list(untested)
}

// list is errors.Join on one line.
func list(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return joined(errs)
}

type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }
