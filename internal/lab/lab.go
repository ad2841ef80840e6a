// Package lab is a small site in network namespaces, with faults at hand and a clock
// on what the client sees of them:
//
//	client 10.8.0.2 ── gateway 10.7.0.1 ──┬── dr1 10.7.0.11, dr2 10.7.0.12, …
//	                                      ├── web1 10.7.0.21, web2, web3
//	                                      ├── witness 10.7.0.31 (if wanted)
//	                                      ├── observer 10.7.0.51, which asks by ARP; stranger 10.7.0.41
//	                                      └── near 10.7.0.61, a client without gateway (if wanted)
//
// Every machine is a network namespace; "──┬──" is a switch that can keep any port
// from hearing any other. The directors share the address 10.7.0.100. What runs on
// them is the real program, as a process; the servers and the clients are goroutines
// of the lab. IPv6 runs beside: fd07::11 is dr1, fd08::2 the client.
//
// Nothing of it is visible from outside: the namespaces have no names, and live as
// long as the threads and the processes in them. These end with the lab, also if that
// is killed: the kernel ends a process whose parent thread ended (PR_SET_PDEATHSIG).
// [Reexec] goes further and puts the program itself into namespaces, that of process
// numbers included, so that not even what a daemon has started lives on.
//
// A lab needs root, or Reexec, which makes an ordinary user root of a user namespace;
// the kernel refuses IPVS there, so that directors have to forward by the relay
// ([Node.Backend]).
//
// All times are [netif.Boottime], which every namespace shares.
package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"time"
)

// Settings describe a lab.
type Settings struct {
	Directors int  // dr1, dr2, …; default 2
	Witness   bool // one more machine that runs the program
	// SecondNetwork connects directors and witness by a network of their own, eth1.
	SecondNetwork bool
	// Near adds a client on the directors' own network: it sees them also while the
	// gateway is down.
	Near bool
	// Address is the one that the directors share; default 10.7.0.100.
	Address netip.Addr
	// Group is its group's name, for switchovers; default "web".
	Group string
	// Binary is the program that runs on directors and witness; default this one.
	Binary string
	// Args are its arguments; default: run -c FILE --node NAME.
	Args func(Node) []string
	// Env are variables for it, in addition to the own environment.
	Env []string
	// Config is the text of a node's configuration; default [BuiltIn].
	Config func(Node) string
	// Happened is called with every entry of the timeline, one after another; may be
	// nil. It must not call the lab.
	Happened func(Event)
}

// A Node is a machine on which the program runs.
type Node struct {
	Name    string
	Address netip.Addr // on the common network
	Second  netip.Addr // on the second one; zero without it
	// Folder is the node's own, for all that it keeps.
	Folder string
	// KeyFile is a key for the messages between the nodes: one for all of them.
	KeyFile string
	// Backend is what directors forward by: "kernel" where the kernel lets them have
	// IPVS in their network namespaces, else "relay".
	Backend string
}

// Config is the path of the node's configuration.
func (n Node) Config() string { return filepath.Join(n.Folder, "monitord.toml") }

// StateDir is where it keeps its state.
func (n Node) StateDir() string { return filepath.Join(n.Folder, "state") }

// Socket is where it is asked.
func (n Node) Socket() string { return filepath.Join(n.Folder, "socket") }

// An Event is an entry of the timeline.
type Event struct {
	At   time.Duration // by Boottime
	Node string        // whom it is about; may be empty
	What string
}

// A View is from where the address is looked at.
type View int

// The views.
const (
	// Client is behind the gateway, whose ARP cache has to learn of a change. It sends
	// a UDP datagram every 10 ms, which the kernel that has the address is given to
	// answer: the address alone is measured, nothing that forwards.
	Client View = iota
	// NearClient does the same from the directors' network.
	NearClient
	// HTTP is the client behind the gateway that gets http://ADDRESS/ in a new
	// connection, each 50 ms after the one before, for at most 250 ms.
	HTTP
)

func (v View) String() string {
	switch v {
	case Client:
		return "client"
	case NearClient:
		return "near client"
	case HTTP:
		return "http"
	}
	return fmt.Sprintf("view %d", int(v))
}

// An Outage is the longest time in which nothing was answered.
type Outage struct {
	At       time.Duration // when the first question of it was asked; 0 if there was none
	Lasted   time.Duration // until the next answer came
	Unasked  time.Duration // of that: nobody asked, because the prober was not let run
	Ongoing  bool          // none was, yet
	Asked    int           // questions in the whole window
	Lost     int           // those of them that were not answered
	Answered map[string]int
}

// A Dual is how long two directors had the address at once.
type Dual struct {
	// Kernels is that by the kernels' own messages, whose order is certain.
	Kernels time.Duration
	// Sampled is that by asking the kernels every 5 ms: the second opinion.
	Sampled time.Duration
	// Answered counts the observer's ARP questions, one each 50 ms, that two answered.
	Answered int
	At       time.Duration // when it was first so; 0 if it never was
}

// None reports whether no instant had two owners.
func (d Dual) None() bool { return d.Kernels == 0 && d.Sampled == 0 && d.Answered == 0 }

// A Row says what became of one fault, until the next.
type Row struct {
	Fault    string
	From, To time.Duration
	Client   Outage
	Near     Outage // without Near in the settings nothing was asked
	HTTP     Outage
	Dual     Dual
	Owner    string // at the end; several are joined by "+", none is empty
}
