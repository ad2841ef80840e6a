package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/netif"
)

// A Lab is a site that runs. Its methods are safe for concurrent use.
type Lab struct {
	settings Settings
	folder   string
	nodes    []Node
	machines map[string]*space
	webs     map[string]*webServer
	echoes   []*echo
	probers  map[View]*prober
	owners   *owners
	observer *observer
	programs programs

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	timers sync.WaitGroup // resumptions to come

	cabling sync.Mutex // held while cables and switches are changed
	fabric  *fabric

	mu     sync.Mutex // protects what follows
	events []Event
	marks  []Event // of events: the faults
}

// Open builds a lab, without starting anything on its nodes. It needs root, see
// [Reexec]; several may be open at once.
func Open(ctx context.Context, settings Settings) (*Lab, error) {
	s, err := settings.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Lab{
		settings: s, machines: map[string]*space{}, webs: map[string]*webServer{}, probers: map[View]*prober{},
		programs: programs{byNode: map[string]*program{}},
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, step := range []func(context.Context) error{l.furnish, l.cable, l.route, l.serve, l.measure} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("lab: %w", errors.Join(err, l.Close()))
		}
	}
	return l, nil
}

// furnish makes the nodes' folders, their configurations, and the key.
func (l *Lab) furnish(ctx context.Context) error {
	backend, err := forwarding(ctx)
	if err != nil {
		return err
	}
	l.note(Event{What: "directors forward by " + map[string]string{
		lvs.BackendKernel: "the kernel's IPVS", lvs.BackendRelay: "the relay, which dies with the daemon",
	}[backend]})
	// Short: a socket's path has room for 107 bytes (unix(7)).
	folder, err := os.MkdirTemp("", "lab")
	if err != nil {
		return err
	}
	l.folder = folder
	key := filepath.Join(folder, "key")
	if err := os.WriteFile(key, []byte(heartbeat.NewKey()), 0o600); err != nil {
		return err
	}
	for _, n := range l.settings.peers() {
		n.Folder, n.KeyFile, n.Backend = filepath.Join(folder, n.Name), key, backend
		if err := os.MkdirAll(n.StateDir(), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(n.Config(), []byte(l.settings.Config(n)), 0o600); err != nil {
			return err
		}
		l.nodes = append(l.nodes, n)
	}
	return nil
}

// forwarding is the backend that directors can have, tried out on a machine of its own:
// a kernel may have no IPVS, or refuse it in a user namespace.
func forwarding(ctx context.Context) (backend string, err error) {
	s, err := newSpace(ctx, "trial")
	if err != nil {
		return "", err
	}
	backend = lvs.BackendRelay
	err = s.do(func() error {
		access, err := ipvs.Open(ctx)
		if err != nil {
			return nil //nolint:nilerr // None is an answer, not a fault.
		}
		if _, err := access.Services(ctx); err == nil {
			backend = lvs.BackendKernel
		}
		return access.Close()
	})
	return backend, errors.Join(err, s.close())
}

// cable makes the machines and connects them.
func (l *Lab) cable(ctx context.Context) error {
	var err error
	if l.fabric, err = newFabric(ctx); err != nil {
		return err
	}
	all := map[string]int{"gateway": gatewayNumber, "observer": observerNumber, "stranger": strangerNumber}
	for i := range webs {
		all[fmt.Sprintf("web%d", i+1)] = webNumber + i
	}
	if l.settings.Near {
		all["near"] = nearNumber
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := l.machine(ctx, name, all[name]); err != nil {
			return err
		}
	}
	for _, n := range l.nodes {
		if err := l.machine(ctx, n.Name, int(n.Address.As4()[3])); err != nil {
			return err
		}
		if n.Second.IsValid() {
			number := int(n.Second.As4()[3])
			if err := l.fabric.join(ctx, second, l.machines[n.Name], "eth1", ip4(3, number), ip6(3, number)); err != nil {
				return err
			}
		}
	}
	return l.client(ctx)
}

// machine makes a machine on the common network.
func (l *Lab) machine(ctx context.Context, name string, number int) error {
	s, err := newSpace(ctx, name)
	if err != nil {
		return err
	}
	l.machines[name] = s
	return l.fabric.join(ctx, common, s, "eth0", ip4(1, number), ip6(1, number))
}

// client makes the client, with a cable from the gateway's other side.
func (l *Lab) client(ctx context.Context) error {
	s, err := newSpace(ctx, "client")
	if err != nil {
		return err
	}
	l.machines["client"] = s
	err = l.machines["gateway"].do(func() error {
		if err := netif.AddCable(ctx, netif.Cable{Port: "eth1", Device: "eth0", Inside: int(s.net.Fd())}); err != nil {
			return err
		}
		return address(ctx, "eth1", ip4(2, gatewayNumber), ip6(2, gatewayNumber))
	})
	if err != nil {
		return err
	}
	return s.do(func() error { return address(ctx, "eth0", ip4(2, clientNumber), ip6(2, clientNumber)) })
}

// sysctls are settings of a machine.
type sysctls map[netif.Sysctl]string

func (s sysctls) set() error {
	var err error
	for key, value := range s {
		if bad := key.Set(value); !errors.Is(bad, netif.ErrMissing) || !strings.HasPrefix(string(key), "net.ipv6.") {
			err = errors.Join(err, bad)
		}
	}
	return err
}

// route lets the gateway forward, also back out where a packet came in, without
// telling anybody of a shorter way; and the others use it. Directors forward too.
func (l *Lab) route(ctx context.Context) error {
	forward := sysctls{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
	var err error
	for name, s := range l.machines {
		network := 1
		if name == "client" {
			network = 2
		}
		err = errors.Join(err, s.do(func() error {
			var err error
			if name == "gateway" || slices.ContainsFunc(l.nodes, func(n Node) bool { return n.Name == name }) {
				err = forward.set()
			}
			if name == "gateway" {
				return err
			}
			return errors.Join(err, defaultRoutes(ctx, network))
		}))
	}
	return err
}

func defaultRoutes(ctx context.Context, network int) error {
	everywhere := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 0) }
	err := netif.PutRoute(ctx, netif.NewRoute{Destination: everywhere(netip.IPv4Unspecified()), Gateway: ip4(network, gatewayNumber).Addr()})
	bad := netif.PutRoute(ctx, netif.NewRoute{Destination: everywhere(netip.IPv6Unspecified()), Gateway: ip6(network, gatewayNumber).Addr()})
	if errors.Is(bad, errors.ErrUnsupported) || errors.Is(bad, netif.ErrUnreachable) {
		bad = nil // A kernel without IPv6.
	}
	return errors.Join(err, bad)
}

// serve starts the servers: the echo wherever the address may arrive, the web servers.
func (l *Lab) serve(ctx context.Context) error {
	a := l.settings.Address
	for i := range webs {
		name := fmt.Sprintf("web%d", i+1)
		s := l.machines[name]
		// As behind direct routing, so that it does not matter how directors forward.
		err := s.do(func() error {
			own := netif.Add{Device: "lo", Prefix: netip.PrefixFrom(a, a.BitLen()), Scope: netif.Host, NoDAD: true}
			return errors.Join(silent(a).set(), netif.AddAddress(ctx, own))
		})
		l.webs[name] = &webServer{space: s}
		if err := errors.Join(err, l.webs[name].serve(ctx)); err != nil {
			return err
		}
		if err := l.echo(ctx, s); err != nil {
			return err
		}
	}
	for _, s := range l.directors() {
		if err := l.echo(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) echo(ctx context.Context, s *space) error {
	e, err := newEcho(ctx, s, l.settings.Address.Is6())
	if err == nil {
		l.echoes = append(l.echoes, e)
	}
	return err
}

func (l *Lab) isDirector(name string) bool {
	return slices.ContainsFunc(l.nodes[:l.settings.Directors], func(n Node) bool { return n.Name == name })
}

func (l *Lab) directors() []*space {
	var all []*space
	for _, n := range l.nodes[:l.settings.Directors] {
		all = append(all, l.machines[n.Name])
	}
	return all
}

// measure starts what watches and asks.
func (l *Lab) measure(ctx context.Context) error {
	a := l.settings.Address
	names, err := l.macs(ctx)
	if err != nil {
		return err
	}
	l.owners, err = watchOwners(l.ctx, l.fabric, l.directors(), a, func(at time.Duration, who set) {
		l.note(Event{At: at, What: "address: " + orNone(l.named(who))})
	})
	if err != nil {
		return err
	}
	l.observer, err = observe(l.ctx, l.machines["observer"], a, names, l.isDirector, func(at time.Duration, who string) {
		l.note(Event{At: at, Node: who, What: "answers for the address by ARP"})
	})
	if err != nil {
		return err
	}
	from := map[View]*space{Client: l.machines["client"]}
	if near := l.machines["near"]; near != nil {
		from[NearClient] = near
	}
	for view, s := range from {
		if l.probers[view], err = probeUDP(l.ctx, s, a); err != nil {
			delete(l.probers, view)
			return err
		}
	}
	l.probers[HTTP] = probeHTTP(l.ctx, l.machines["client"], a)
	return nil
}

// macs names the machines on the common network.
func (l *Lab) macs(ctx context.Context) (map[string]string, error) {
	names := map[string]string{}
	for name, s := range l.machines {
		err := s.do(func() error {
			link, err := netif.LinkNamed(ctx, "eth0")
			names[link.MAC.String()] = name
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// Close ends the lab: programs are killed, all goroutines and threads have ended when
// it returns, the folder is removed. An error about watching says that figures were
// wrong.
func (l *Lab) Close() error {
	l.cancel()
	l.timers.Wait()
	var err error
	for _, p := range l.probers {
		err = errors.Join(err, p.close())
	}
	if l.observer != nil {
		err = errors.Join(err, l.observer.close())
	}
	if l.owners != nil {
		err = errors.Join(err, l.owners.close())
	}
	for _, e := range l.echoes {
		err = errors.Join(err, e.close())
	}
	for _, w := range l.webs {
		err = errors.Join(err, w.fail())
	}
	return errors.Join(err, l.raze())
}

// raze ends the programs, then the machines that they ran on.
func (l *Lab) raze() error {
	var where []*space
	for _, n := range l.nodes {
		if s := l.machines[n.Name]; s != nil {
			where = append(where, s)
		}
	}
	err := killAll(where)
	l.programs.mu.Lock()
	for _, p := range l.programs.byNode {
		<-p.ended
	}
	l.programs.mu.Unlock()
	for _, s := range l.machines {
		err = errors.Join(err, s.close())
	}
	if l.fabric != nil {
		err = errors.Join(err, l.fabric.space.close())
	}
	if l.folder != "" {
		err = errors.Join(err, os.RemoveAll(l.folder))
	}
	return err
}

// note adds to the timeline.
func (l *Lab) note(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(e)
}

// add is called with mu, which keeps the calls of Happened apart.
func (l *Lab) add(e Event) {
	if e.At == 0 {
		e.At = netif.Boottime()
	}
	l.events = append(l.events, e)
	l.settings.Happened(e)
}

// mark adds a fault to the timeline, from which on a row of the table counts. The rows
// come in the order of these calls.
func (l *Lab) mark(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.At = netif.Boottime()
	l.marks = append(l.marks, e)
	l.add(e)
}

// Timeline is what happened so far, in the order in which it was noticed.
func (l *Lab) Timeline() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// Nodes are the machines on which the program can run, directors first.
func (l *Lab) Nodes() []Node { return slices.Clone(l.nodes) }

// Node is the one of that name.
func (l *Lab) Node(name string) (Node, error) {
	i := slices.IndexFunc(l.nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		var names []string
		for _, n := range l.nodes {
			names = append(names, n.Name)
		}
		return Node{}, fmt.Errorf("no node %q: there are %s", name, strings.Join(names, ", "))
	}
	return l.nodes[i], nil
}

// Log is what the programs on a node have printed so far.
func (l *Lab) Log(node string) string {
	n, err := l.Node(node)
	if err != nil {
		return err.Error()
	}
	text, err := os.ReadFile(n.log())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (n Node) log() string { return filepath.Join(n.Folder, "log") }

// Within calls f on the thread of a machine (client, gateway, near, observer, switch,
// web1 …, or a node), which has no time for anything else meanwhile. Sockets that f
// opens, and programs that it starts, are and stay in the machine.
func (l *Lab) Within(machine string, f func() error) error {
	s := l.machines[machine]
	if machine == "switch" {
		s = l.fabric.space
	}
	if s == nil {
		return fmt.Errorf("no machine %q", machine)
	}
	return s.do(f)
}
