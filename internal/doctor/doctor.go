// Package doctor finds the classic mistakes of a director and of a real server:
// settings with which everything looks right and connections hang.
//
// [Gather] reads what there is to know and changes nothing; [Examine] compares it
// with what is wanted, and is pure. A fact that could not be read makes a finding
// that says so, never a silent "ok".
package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/netif"
)

// A Severity is how bad a finding is.
type Severity string

// An Error keeps connections from working, a Warning may; OK was looked at and is
// right; Unknown could not be found out.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	OK      Severity = "ok"
	Unknown Severity = "unknown"
)

// A Finding is one thing that was looked at.
type Finding struct {
	Severity Severity `json:"severity"`
	Topic    string   `json:"topic"` // what findings are grouped by
	What     string   `json:"what"`
	// Why says in one sentence what happens otherwise.
	Why string `json:"why,omitempty"`
	// Mend is the commands that mend it, in order.
	Mend []string `json:"mend,omitempty"`
}

// The topics, in the order of the findings.
const (
	topicKernel      = "kernel"
	topicForwarding  = "forwarding"
	topicAddresses   = "virtual addresses"
	topicReals       = "real servers"
	topicConnections = "connections"
	topicSync        = "sync"
	topicService     = "service"
)

// Wanted is what the machine is for: at least one of the two.
type Wanted struct {
	Director   *Director
	RealServer *RealServer
}

// A Director forwards the connections of services.
type Director struct {
	// Kernel is true if IPVS forwards them, false for the relay.
	Kernel   bool
	Services []Service
	Sync     *Sync // nil: none
}

// A Service is a virtual service.
type Service struct {
	Name string
	// VIPs are its addresses; none for a firewall mark.
	VIPs       []netip.Addr
	Scheduler  string // the kernel's name, like "wlc"
	Persistent bool
	// Cut is true if the connections of a removed server are to end at once.
	Cut   bool
	Reals []Real
}

// A Real is a real server of a service.
type Real struct {
	Host    string // for people
	Address netip.Addr
	Name    string // to look up if there is no Address
	Forward string // "dr", "nat", "tun", "local", "fullnat"
	// Overhead is what a tunnel's headers take, in bytes, without the outer IP
	// header: 0 for ipip.
	Overhead int
}

// A Sync is the daemon that tells other directors of connections.
type Sync struct {
	Interface string
	Group     netip.Addr
}

// A RealServer takes the connections for addresses.
type RealServer struct {
	VIPs  []netip.Addr
	Ports []uint16 // of the services; none is not to look
	Mode  string   // "dr", "tun" or "nat"
	// Director is its address on the real server's side, needed for "nat".
	Director netip.Addr
}

// A Fact is what was found out, or why it was not.
type Fact[T any] struct {
	Value T
	Err   error
}

// errUngathered is the Err of what nobody looked at.
var errUngathered = errors.New("not looked at")

// Facts are what [Gather] found out.
type Facts struct {
	// Sysctls are by their keys; netif.ErrMissing is a key that the kernel lacks.
	Sysctls    map[string]Fact[string]
	IPVS       Fact[ipvs.Info]
	Modules    map[string]Fact[Module]
	Addresses  Fact[[]netif.Address]
	Links      Fact[[]netif.Link]
	Routes     Fact[[]netif.Route]
	Neighbours Fact[[]netif.Neighbour]
	// Names are the addresses of the real servers' names.
	Names map[string]Fact[[]netip.Addr]
	// RoutesTo are the ways to the real servers.
	RoutesTo map[netip.Addr]Fact[netif.Route]
	// Claims are who else answers for a virtual address on the network.
	Claims map[netip.Addr]Fact[[]net.HardwareAddr]
	// Multicast says of each interface whether it can.
	Multicast Fact[map[string]bool]
	// Listeners are where services listen, for TCP and UDP.
	Listeners Fact[[]netip.AddrPort]
}

// A Module is a kernel module's state.
type Module string

// Present is loaded or built in; Loadable is there to be loaded, which the kernel
// does when it needs it; Absent is not installed.
const (
	Present  Module = "present"
	Loadable Module = "loadable"
	Absent   Module = "absent"
)

// Examine compares the facts with what is wanted. Findings are sorted by topic,
// the worst first within each.
func Examine(f Facts, w Wanted) []Finding {
	e := &exam{Facts: f}
	if w.Director != nil {
		e.director(w.Director)
	}
	if w.RealServer != nil {
		e.realServer(w.RealServer)
	}
	topics := []string{topicKernel, topicForwarding, topicAddresses, topicReals, topicConnections, topicSync, topicService}
	severities := []Severity{Error, Warning, Unknown, OK}
	slices.SortStableFunc(e.found, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(topics, a.Topic), slices.Index(topics, b.Topic)),
			cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
		)
	})
	return once(e.found)
}

// once leaves out what was found before: a real server may be in many services.
func once(all []Finding) []Finding {
	type key struct {
		severity    Severity
		topic, what string
	}
	seen := make(map[key]bool, len(all))
	return slices.DeleteFunc(all, func(f Finding) bool {
		k := key{f.Severity, f.Topic, f.What}
		defer func() { seen[k] = true }()
		return seen[k]
	})
}

// An exam is an examination under way.
type exam struct {
	Facts
	found []Finding
}

func (e *exam) say(s Severity, topic, what, why string, mend ...string) {
	e.found = append(e.found, Finding{s, topic, what, why, mend})
}

func (e *exam) ok(topic, format string, args ...any) {
	e.say(OK, topic, fmt.Sprintf(format, args...), "")
}

// unknown says what could not be found out.
func (e *exam) unknown(topic, what string, err error) {
	e.say(Unknown, topic, fmt.Sprintf("%s could not be found out: %v", what, err), "")
}

// number is a sysctl's. If it could not be read that is said, unless it is
// missing: then absent is its value, or with a negative one it is unknown too.
func (e *exam) number(topic, key string, absent int) (n int, known bool) {
	fact, asked := e.Sysctls[key]
	if !asked {
		fact.Err = errUngathered
	}
	if errors.Is(fact.Err, netif.ErrMissing) && absent >= 0 {
		return absent, true
	}
	n, err := strconv.Atoi(fact.Value)
	if err = cmp.Or(fact.Err, err); err != nil {
		e.unknown(topic, "sysctl "+key, err)
		return 0, false
	}
	return n, true
}

// highest is the larger one of conf/all and the device's own: the kernel obeys it
// for rp_filter, arp_ignore, arp_announce and send_redirects (for the last, which
// is on or off, ip-sysctl.rst says "or").
func (e *exam) highest(topic, device, name string) (n int, known bool) {
	all, knownAll := e.number(topic, confKey("all", name), -1)
	own, knownOwn := e.number(topic, confKey(device, name), -1)
	return max(all, own), knownAll && knownOwn
}

func confKey(device, name string) string {
	return string(netif.InterfaceKey("net.ipv4.conf", device, name))
}

func set(key string, value int) string { return netif.Sysctl(key).Command(strconv.Itoa(value)) }

// where is the device that has an address.
func (e *exam) where(a netip.Addr) (device netif.Address, found bool) {
	for _, has := range e.Addresses.Value {
		if has.Prefix.Addr() == a {
			return has, true
		}
	}
	return netif.Address{}, false
}

// cover is the device in whose network an address is, of the longest prefix.
func cover(all []netif.Address, a netip.Addr) (best netif.Address, found bool) {
	for _, has := range all {
		if has.Prefix.Masked().Contains(a) && !has.Prefix.IsSingleIP() && (!found || has.Prefix.Bits() > best.Prefix.Bits()) {
			best, found = has, true
		}
	}
	return best, found
}

// defaultRoute is the one of an address's family with the least metric.
func (e *exam) defaultRoute(like netip.Addr) (best netif.Route, found bool) {
	const main = 254
	for _, r := range e.Routes.Value {
		d := r.Destination
		if d.IsValid() && d.Bits() == 0 && d.Addr().Is4() == like.Is4() && r.Table == main && !r.Rejected && (!found || r.Metric < best.Metric) {
			best, found = r, true
		}
	}
	return best, found
}

func (e *exam) link(name string) (netif.Link, bool) {
	i := slices.IndexFunc(e.Links.Value, func(l netif.Link) bool { return l.Name == name })
	if i < 0 {
		return netif.Link{}, false
	}
	return e.Links.Value[i], true
}

// failed says once which of the facts that everything needs are missing.
func (e *exam) failed() {
	for _, f := range []struct {
		what string
		err  error
	}{{"the addresses", e.Addresses.Err}, {"the interfaces", e.Links.Err}, {"the routes", e.Routes.Err}} {
		if f.err != nil {
			e.unknown(topicAddresses, f.what, f.err)
		}
	}
}
