// Package netprobe is for monitors of your own that speak over a network: it reads
// the entries of host groups, connects, and decides what an error says about a host,
// as the monitors that come with monitord do.
//
// The latter is worth its care. A probe that takes an error of its own machine for one
// of the host - no route, a name server that is silent, too many open files - says
// that all hosts are down, and empties the pool.
package netprobe

import "github.com/monitord/monitord/internal/dial"

type (
	// A Target is an entry of a host group with its port.
	Target = dial.Target
	// A Dialer opens TCP connections. Its zero value uses any address family, the
	// kernel's choice of a source, and the system's name servers. An error of its Dial
	// has passed [Verdict].
	Dialer = dial.Dialer
)

// ParseTarget reads an entry of a host group, such as "web1", "10.0.0.1:80", "::1" or
// "[::1]:80". Without a port of its own it gets the given one; if that is 0 too, the
// entry is refused.
func ParseTarget(entry string, port int) (Target, error) { return dial.ParseTarget(entry, port) }

// NewDialer makes a Dialer of the keys "source" (an address of this machine, or empty)
// and "ip" ("any", "4" or "6"; empty is any), and blames the wrong one.
func NewDialer(source, ip string) (*Dialer, error) { return dial.New(source, ip) }

// Verdict decides what an error of a lookup, a connection, a read or a write says: what
// the host or the path to it said is returned as it is, which means down; what failed
// on this machine is marked by monitors.Untested, which means unknown.
func Verdict(err error) error { return dial.Verdict(err) }
