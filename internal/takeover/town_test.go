package takeover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/gateway"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/resources"
)

// A town is two machines with loops, a wire and a gateway, on the bubble's clock.
type town struct {
	t     *testing.T
	began time.Time
	c     director.Config

	mu    sync.Mutex
	hosts map[string]*host
	gone  map[string]bool // nodes whose cable is pulled
	deaf  bool            // no message arrives, whoever sends it
	// dual is for how long two kernels held an address, without for how long none did.
	since  time.Time
	dual   time.Duration
	absent time.Duration
	log    []string
}

// A host is a kernel, whatever becomes of the process.
type host struct {
	town   *town
	name   string
	mac    net.HardwareAddr
	ends   map[netip.Addr]time.Time // of the leases
	timers map[netip.Addr]*time.Timer
	loop   *Loop
	kill   context.CancelFunc
	over   chan error
	inbox  chan heartbeat.Received
	pongs  chan gateway.Answer
	change chan netif.Change
	wire   *fakeWire
	memory Memory
	parts  []*fakeResource
	after  []*fakeResource
	said   []Notice
}

var theAddress = netip.MustParseAddr("192.0.2.100")

func newTown(t *testing.T, names ...string) *town {
	timings := director.DefaultTimings()
	w := &town{t: t, began: time.Now(), since: time.Now(), hosts: map[string]*host{}, gone: map[string]bool{}}
	w.c = director.Config{
		Gateways: []string{"192.0.2.1"}, Timings: timings, Digest: "same",
		Groups: []director.Group{{Name: "web", Before: true, After: true}},
	}
	for i, name := range names {
		w.c.Nodes = append(w.c.Nodes, director.Node{Name: name, Priority: 10 - i})
		w.hosts[name] = &host{
			town: w, name: name, mac: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}, ends: map[netip.Addr]time.Time{}, timers: map[netip.Addr]*time.Timer{},
			parts: []*fakeResource{{name: "lvs"}, {name: "route"}}, after: []*fakeResource{{name: "script"}},
		}
	}
	return w
}

// account adds up who held the address since the last change. Called with mu held.
func (w *town) account() {
	now := time.Now()
	holders := 0
	for _, h := range w.hosts {
		if end, ok := h.ends[theAddress]; ok && now.Sub(w.since) >= 0 && !end.IsZero() {
			holders++
		}
	}
	switch {
	case holders > 1:
		w.dual += now.Sub(w.since)
	case holders == 0:
		w.absent += now.Sub(w.since)
	}
	w.since = now
}

func (w *town) outage() (absent, dual time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.account()
	absent, dual = w.absent, w.dual
	w.absent, w.dual = 0, 0
	return absent, dual
}

func (w *town) holders() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for name, h := range w.hosts {
		if _, ok := h.ends[theAddress]; ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func (w *town) start(name string) {
	h := w.hosts[name]
	c := w.c
	c.Self = name
	w.mu.Lock()
	h.inbox, h.pongs, h.change = make(chan heartbeat.Received, 256), make(chan gateway.Answer, 256), make(chan netif.Change, 16)
	w.mu.Unlock()
	g := Group{Name: "web", Addresses: []Address{fakeAddress{h}}}
	for _, r := range h.parts {
		g.Before = append(g.Before, Resource{Name: r.name, Resource: r, Start: 2 * time.Second, Stop: 2 * time.Second})
	}
	for _, r := range h.after {
		g.After = append(g.After, Resource{Name: r.name, Resource: r, Start: 2 * time.Second, Stop: 2 * time.Second})
	}
	h.memory.Incarnation = NextIncarnation(h.memory)
	h.loop = New(Settings{
		Director: c, Nodes: w.nodes(), Groups: []Group{g}, Heartbeats: h, Gateways: fakeGateways{h}, Wires: fakeWires{h}, Memory: h.memory,
		Save:     func(m Memory) error { h.memory = m; return nil },
		Notice:   func(n Notice) { h.said = append(h.said, n); w.say(name, n) },
		Boottime: func() time.Duration { return time.Since(w.began) + time.Hour },
	})
	ctx, kill := context.WithCancel(w.t.Context())
	h.kill, h.over = kill, make(chan error, 1)
	loop, over := h.loop, h.over
	go func() { over <- loop.Run(ctx) }()
}

func (w *town) say(name string, n Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%8v %s: %s %s->%s: %v", time.Since(w.began), name, n.Kind, n.From, n.To, n.Reason))
}

func (w *town) story() string { return strings.Join(w.log, "\n") }

// end ends a loop at once, as kill -9 does; the kernel goes on.
func (h *host) end() error {
	h.kill()
	return <-h.over
}

// A message arrives half a millisecond later.
func (h *host) Broadcast(m director.Message) error {
	for name := range h.town.hosts {
		if name != h.name {
			_ = h.Send(name, m)
		}
	}
	return nil
}

func (h *host) Send(to string, m director.Message) error {
	time.AfterFunc(500*time.Microsecond, func() {
		w := h.town
		w.mu.Lock()
		lost := w.deaf || w.gone[h.name] || w.gone[to] || w.hosts[to].inbox == nil
		inbox := w.hosts[to].inbox
		w.mu.Unlock()
		if lost {
			return
		}
		select {
		case inbox <- heartbeat.Received{From: h.name, Link: "lan", Message: m}:
		default:
		}
	})
	return nil
}

func (h *host) Received() <-chan heartbeat.Received { return h.inbox }
func (h *host) Flush()                              {}

type fakeGateways struct{ h *host }

func (f fakeGateways) Ping(at netip.Addr, sent time.Duration) error {
	time.AfterFunc(300*time.Microsecond, func() {
		f.h.town.mu.Lock()
		lost, pongs := f.h.town.gone[f.h.name], f.h.pongs
		f.h.town.mu.Unlock()
		if !lost {
			select {
			case pongs <- gateway.Answer{Gateway: at, Sent: sent}:
			default:
			}
		}
	})
	return nil
}
func (f fakeGateways) Answers() <-chan gateway.Answer { return f.h.pongs }
func (f fakeGateways) Flush()                         {}

type fakeAddress struct{ h *host }

func (f fakeAddress) Prefix() netip.Prefix { return netip.PrefixFrom(theAddress, 32) }

func (f fakeAddress) Device(context.Context) (string, error) { return "eth0", nil }

func (f fakeAddress) Take(_ context.Context, notAfter time.Duration) (netif.Held, error) {
	h := f.h
	h.town.mu.Lock()
	defer h.town.mu.Unlock()
	now := time.Since(h.town.began) + time.Hour
	if now > notAfter {
		return netif.Held{}, netif.ErrLate
	}
	h.town.account()
	if old := h.timers[theAddress]; old != nil {
		old.Stop()
	}
	h.ends[theAddress] = time.Now().Add(time.Second)
	h.timers[theAddress] = time.AfterFunc(time.Second, h.expire)
	return netif.Held{Began: now, Ended: now}, nil
}

func (h *host) expire() {
	h.town.mu.Lock()
	h.town.account()
	delete(h.ends, theAddress)
	h.town.mu.Unlock()
	h.tellGone()
}

func (h *host) tellGone() {
	h.town.mu.Lock()
	change := h.change
	h.town.mu.Unlock()
	select {
	case change <- netif.Change{Kind: netif.AddressGone, Index: 1, Carrier: true, Address: theAddress}:
	default:
	}
}

func (f fakeAddress) Stop(context.Context) error {
	h := f.h
	h.town.mu.Lock()
	h.town.account()
	if old := h.timers[theAddress]; old != nil {
		old.Stop()
	}
	delete(h.ends, theAddress)
	h.town.mu.Unlock()
	h.tellGone()
	return nil
}

func (f fakeAddress) Found(context.Context) (netif.Found, error) {
	f.h.town.mu.Lock()
	defer f.h.town.mu.Unlock()
	end, held := f.h.ends[theAddress]
	return netif.Found{Held: held, Left: time.Until(end)}, nil
}

type fakeWires struct{ h *host }

func (f fakeWires) Open(context.Context, string) (Wire, error) {
	wire := &fakeWire{h: f.h, heard: make(chan netif.Sighting, 256)}
	f.h.town.mu.Lock()
	defer f.h.town.mu.Unlock()
	f.h.wire = wire
	return wire, nil
}

func (f fakeWires) Watch(_ context.Context, _ string, _ []netip.Addr) (<-chan netif.Change, error) {
	f.h.change <- netif.Change{Kind: netif.CarrierChange, Index: 1, Carrier: true}
	return f.h.change, nil
}

func (f fakeWires) OnLink(_ context.Context, _ string, all []netip.Addr) []netip.Addr { return all }
func (f fakeWires) Carrier(context.Context, string) bool                              { return true }

func (f fakeWires) Neighbours(context.Context, string) ([]netif.Neighbour, error) {
	var all []netif.Neighbour
	for _, h := range f.h.town.hosts {
		all = append(all, netif.Neighbour{Address: h.address(), MAC: h.mac})
	}
	return all, nil
}

func (h *host) address() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 10 + h.mac[5]}) }

func (w *town) nodes() []Node {
	var all []Node
	for _, h := range w.hosts {
		all = append(all, Node{h.name, []netip.Addr{h.address()}})
	}
	return all
}

// A fakeWire is asked, and the kernels answer.
type fakeWire struct {
	h     *host
	heard chan netif.Sighting
}

func (f *fakeWire) Ask(q netif.Question) error {
	time.AfterFunc(200*time.Microsecond, func() {
		w := f.h.town
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.gone[f.h.name] {
			return
		}
		for name, other := range w.hosts {
			if name != f.h.name && other.wire != nil && !w.gone[name] {
				select {
				case other.wire.heard <- netif.Sighting{Kind: netif.Sought, Address: q.Addresses[0], MAC: f.h.mac}:
				default: // nobody reads there any more
				}
			}
			if _, held := other.ends[q.Addresses[0]]; held && name != f.h.name && !w.gone[name] {
				f.heard <- netif.Sighting{Kind: netif.Answered, ID: q.ID, Address: q.Addresses[0], MAC: other.mac}
			}
		}
		if len(q.Gateways) > 0 {
			f.heard <- netif.Sighting{Kind: netif.Works, ID: q.ID}
		}
	})
	return nil
}

func (f *fakeWire) Announce(netip.Addr) error     { return nil }
func (f *fakeWire) Guard(...netip.Addr)           {}
func (f *fakeWire) Heard() <-chan netif.Sighting  { return f.heard }
func (f *fakeWire) Flush()                        {}
func (f *fakeWire) Refresh(context.Context) error { return nil }
func (f *fakeWire) Close() error                  { return nil }

// A fakeResource counts, and fails or hangs when it is told to.
type fakeResource struct {
	name string

	mu      sync.Mutex
	runs    bool
	failing error
	hangs   bool
	stuck   error // of Stop
	calls   []string
}

var errBroken = errors.New("broken")

func (r *fakeResource) Start(ctx context.Context) error {
	r.mu.Lock()
	r.calls = append(r.calls, "start")
	failing, hangs := r.failing, r.hangs
	r.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if failing != nil {
		return failing
	}
	r.set(true)
	return nil
}

func (r *fakeResource) set(runs bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs = runs
}

func (r *fakeResource) break_(with error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = with
}

func (r *fakeResource) Stop(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, "stop")
	if r.stuck != nil {
		return r.stuck
	}
	r.runs = false
	return nil
}

func (r *fakeResource) Status(context.Context) (resources.Status, error) {
	if r.running() {
		return resources.Running, nil
	}
	return resources.Stopped, nil
}

func (r *fakeResource) running() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs
}
