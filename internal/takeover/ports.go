package takeover

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/netif"
)

const (
	// scoutEvery is how often devices that are missing, and neighbours, are looked for.
	scoutEvery = time.Second
	// rememberQuestions is for how long an answer can be an answer to a question; a
	// wire itself remembers for a second.
	rememberQuestions = time.Second
	// claimPause lies at least between two claims of others to the same address.
	claimPause = 10 * time.Millisecond
)

// Ports are the devices of the addresses, each with its wire.
type ports struct {
	loop    *Loop
	clock   func() time.Duration
	devices sync.WaitGroup
	stop    context.CancelFunc // ends what open began

	mu      sync.Mutex // protects what follows
	byName  map[string]*port
	places  map[netip.Addr]*place
	carrier map[string]bool
	said    bool // the carrier of all, as it was handed over
	nodes   map[string]string
	number  uint64
}

// A place is where one address is, or is to be.
type place struct {
	group   int
	address Address
	addr    netip.Addr
	port    *port         // nil: its device is not known yet
	claimed time.Duration // when another's claim was handed over last
}

// A port is a device with its wire.
type port struct {
	device   string
	wire     Wire // nil while there is none
	gateways []netip.Addr
	// questions are those that may still be answered, oldest first.
	questions []*question
}

// A round is one probe of a group: a question for each of its addresses.
type round struct {
	group int
	probe uint64
	// unproved questions did not get the proof that they went over a wire that works.
	unproved int
}

// A question is asked on one wire. Its number is unique: groups that share a wire
// number their probes alike.
type question struct {
	number uint64
	at     time.Duration
	round  *round
	proved bool
}

func newPorts(l *Loop) *ports {
	p := &ports{
		loop: l, clock: l.o.Boottime, byName: map[string]*port{}, places: map[netip.Addr]*place{}, carrier: map[string]bool{}, said: true,
		nodes: map[string]string{},
	}
	for i, g := range l.o.Groups {
		for _, a := range g.Addresses {
			addr := a.Prefix().Addr()
			p.places[addr] = &place{group: i, address: a, addr: addr}
		}
	}
	return p
}

// look finds the devices, and tells whether all of them have a carrier.
func (p *ports) look(ctx context.Context) bool {
	p.find(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.byName {
		p.carrier[name] = p.loop.o.Wires.Carrier(ctx, name)
	}
	p.said = p.allUp()
	return p.said
}

// tell hands over whether all have a carrier, if that is new. With mu held.
func (p *ports) tell() {
	if up := p.allUp(); up != p.said {
		p.said = up
		p.loop.queue.say(director.Carrier{Up: up})
	}
}

func (p *ports) allUp() bool {
	for _, pl := range p.places {
		if pl.port == nil || !p.carrier[pl.port.device] {
			return false
		}
	}
	return true
}

// open begins to watch the devices; those that are missing are looked for.
func (p *ports) open(ctx context.Context) {
	ctx, p.stop = context.WithCancel(ctx)
	if len(p.places) == 0 {
		return
	}
	p.devices.Go(func() { p.scout(ctx) })
}

// find finds the devices of the addresses that have none yet.
func (p *ports) find(ctx context.Context) {
	p.mu.Lock()
	var homeless []*place
	for _, pl := range p.places {
		if pl.port == nil {
			homeless = append(homeless, pl)
		}
	}
	p.mu.Unlock()
	for _, pl := range homeless {
		device, err := pl.address.Device(ctx)
		if err != nil {
			continue // it is looked for again
		}
		p.mu.Lock()
		if p.byName[device] == nil {
			p.byName[device] = &port{device: device}
		}
		pl.port = p.byName[device]
		p.mu.Unlock()
	}
}

// seek goes on finding devices: one may be watched already.
func (p *ports) seek(ctx context.Context) {
	p.find(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell()
}

// scout goes on looking for devices and neighbours.
func (p *ports) scout(ctx context.Context) {
	started := map[*port]bool{}
	every := time.NewTicker(scoutEvery)
	defer every.Stop()
	for {
		p.seek(ctx)
		for _, each := range p.list() {
			if !started[each] {
				started[each] = true
				p.devices.Go(func() { p.serve(ctx, each) })
			}
			p.learn(ctx, each.device)
			p.refresh(ctx, each)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func (p *ports) list() []*port {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*port
	for _, each := range p.byName {
		all = append(all, each)
	}
	return all
}

// learn notes which hardware addresses are the other nodes'.
func (p *ports) learn(ctx context.Context, device string) {
	seen, err := p.loop.o.Wires.Neighbours(ctx, device)
	if err != nil {
		return // for people only
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range seen {
		for _, n := range p.loop.o.Nodes {
			if slices.Contains(n.Addresses, one.Address) {
				p.nodes[one.MAC.String()] = n.Name
			}
		}
	}
}

// serve watches one device, and opens its wire anew when it is another one.
func (p *ports) serve(ctx context.Context, t *port) {
	for ctx.Err() == nil {
		changes, err := p.loop.o.Wires.Watch(ctx, t.device, p.addresses())
		if err == nil {
			p.follow(ctx, t, changes)
		}
		p.closeWire(t)
		select {
		case <-ctx.Done():
		case <-time.After(scoutEvery):
		}
	}
}

// addresses are all, on each device: the one of some may be found later.
func (p *ports) addresses() []netip.Addr { return slices.Collect(maps.Keys(p.places)) }

// at is the place of an address if it is on this device, else nil.
func (p *ports) at(t *port, address netip.Addr) *place {
	if pl := p.places[address]; pl != nil && pl.port == t {
		return pl
	}
	return nil
}

// follow handles what happens at a device, and what its wire hears.
func (p *ports) follow(ctx context.Context, t *port, changes <-chan netif.Change) {
	index := 0
	var sightings <-chan netif.Sighting
	retry := time.NewTicker(scoutEvery)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case c, ok := <-changes:
			if !ok {
				return
			}
			if c.Index != index || c.Index == 0 {
				p.closeWire(t)
				index = c.Index
				sightings = p.openWire(ctx, t)
			}
			p.changed(t, c)
		case s, ok := <-sightings:
			if !ok {
				sightings = nil
				continue
			}
			p.sighted(t, s)
		case <-retry.C:
			if sightings == nil {
				p.closeWire(t)
				sightings = p.openWire(ctx, t)
			}
		}
	}
}

// openWire opens a device's wire; nil if that is not possible now.
func (p *ports) openWire(ctx context.Context, t *port) <-chan netif.Sighting {
	w, err := p.loop.o.Wires.Open(ctx, t.device)
	if err != nil {
		return nil // it is tried again; the machine sees that nothing is proved
	}
	w.Guard(p.addresses()...)
	_ = w.Refresh(ctx) // it is repeated
	gateways := p.loop.o.Wires.OnLink(ctx, t.device, p.loop.gateways())
	p.mu.Lock()
	t.wire, t.gateways = w, gateways
	p.mu.Unlock()
	return w.Heard()
}

func (p *ports) closeWire(t *port) {
	p.mu.Lock()
	w := t.wire
	t.wire, t.questions = nil, nil
	p.mu.Unlock()
	if w != nil {
		_ = w.Close() // nothing depends on it any more
	}
}

// refresh follows changes of the machine's own addresses and routes.
func (p *ports) refresh(ctx context.Context, t *port) {
	gateways := p.loop.o.Wires.OnLink(ctx, t.device, p.loop.gateways())
	p.mu.Lock()
	w := t.wire
	if len(gateways) > 0 { // Without a route for a moment the wire is proved no easier.
		t.gateways = gateways
	}
	p.mu.Unlock()
	if w != nil {
		_ = w.Refresh(ctx)
	}
}

// changed hands over what happened at a device.
func (p *ports) changed(t *port, c netif.Change) {
	if c.Kind == netif.AddressGone {
		p.mu.Lock()
		pl := p.at(t, c.Address)
		p.mu.Unlock()
		if pl != nil {
			p.loop.lanes[pl.group].look()
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock() // also while it is handed over: of two devices the later word comes last
	p.carrier[t.device] = c.Carrier
	p.tell()
}

// sighted hands over what a wire heard.
func (p *ports) sighted(t *port, s netif.Sighting) {
	p.mu.Lock()
	pl := p.at(t, s.Address)
	by := director.Answerer{Node: p.nodes[s.MAC.String()], MAC: s.MAC.String()}
	asked := p.asked(t, s.ID)
	var proved []*round
	if s.Kind == netif.Works {
		proved = prove(asked)
	}
	p.mu.Unlock()
	switch s.Kind {
	case netif.Answered:
		for _, q := range asked {
			if pl != nil && q.round.group == pl.group && q.number == s.ID {
				p.loop.queue.hear(director.WireAnswered{Group: p.loop.o.Groups[pl.group].Name, Probe: q.round.probe, By: by})
			}
		}
	case netif.Works:
		for _, r := range proved {
			p.loop.queue.hear(director.WireWorks{Group: p.loop.o.Groups[r.group].Name, Probe: r.probe})
		}
	case netif.Claimed:
		if pl != nil && p.news(pl) {
			p.loop.queue.hear(director.ForeignClaim{Group: p.loop.o.Groups[pl.group].Name, By: by})
		}
	case netif.Sought:
		if pl != nil && by.Node != "" && p.news(pl) {
			p.loop.queue.call(func() { p.loop.sought(pl.group, by) })
		}
	}
}

// news tells whether a claim is to be handed over: who floods the network with them
// must not crowd out heartbeats.
func (p *ports) news(pl *place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	if pl.claimed != 0 && now-pl.claimed < claimPause {
		return false
	}
	pl.claimed = now
	return true
}

// asked are the questions of the last second up to a number.
func (p *ports) asked(t *port, number uint64) []*question {
	p.forget(t)
	var asked []*question
	for _, q := range t.questions {
		if q.number <= number {
			asked = append(asked, q)
		}
	}
	return asked
}

// prove notes that a gateway answered after these questions: what was asked before
// the last of them went over the same wire, before the gateway was asked. It returns
// the rounds of which every question is proved now.
func prove(asked []*question) []*round {
	var proved []*round
	for _, q := range asked {
		if q.proved {
			continue
		}
		q.proved = true
		if q.round.unproved--; q.round.unproved == 0 {
			proved = append(proved, q.round)
		}
	}
	return proved
}

func (p *ports) forget(t *port) {
	now := p.clock()
	for len(t.questions) > 0 && now-t.questions[0].at > rememberQuestions {
		t.questions = t.questions[1:]
	}
}

// probe asks for each address of a group. A wire without a gateway cannot be proved:
// that its question went out has to do, as where no gateway is configured at all.
func (p *ports) probe(group int, probe uint64) {
	places := p.of(group)
	r := &round{group: group, probe: probe, unproved: len(places)}
	for _, pl := range places {
		wire, q := p.question(pl, r)
		if wire == nil {
			continue
		}
		if wire.Ask(q) != nil {
			p.unasked(pl, q.ID)
			continue
		}
		if len(q.Gateways) > 0 {
			continue
		}
		p.mu.Lock()
		r.unproved--
		done := r.unproved == 0
		p.mu.Unlock()
		if done {
			p.loop.queue.say(director.WireWorks{Group: p.loop.o.Groups[group].Name, Probe: probe})
		}
	}
}

// question notes what will be asked for a place; there is no wire if its device is
// missing.
func (p *ports) question(pl *place, r *round) (Wire, netif.Question) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := pl.port
	if t == nil || t.wire == nil {
		return nil, netif.Question{}
	}
	p.number++
	p.forget(t)
	t.questions = append(t.questions, &question{number: p.number, at: p.clock(), round: r, proved: len(t.gateways) == 0})
	return t.wire, netif.Question{ID: p.number, Address: pl.addr, Gateways: t.gateways}
}

// unasked forgets a question that did not go out: nothing proves it.
func (p *ports) unasked(pl *place, number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := pl.port; t != nil {
		t.questions = slices.DeleteFunc(t.questions, func(q *question) bool { return q.number == number })
	}
}

// of are a group's places, in their order.
func (p *ports) of(group int) []*place {
	var list []*place
	for _, a := range p.loop.o.Groups[group].Addresses {
		list = append(list, p.places[a.Prefix().Addr()])
	}
	return list
}

// announce tells the neighbours that the addresses are here.
func (p *ports) announce(group int) {
	for _, pl := range p.of(group) {
		p.mu.Lock()
		var wire Wire
		if pl.port != nil {
			wire = pl.port.wire
		}
		p.mu.Unlock()
		if wire != nil {
			_ = wire.Announce(pl.addr) // it is repeated, and what counts is who is asked
		}
	}
}

func (p *ports) flush() {
	for _, t := range p.list() {
		p.mu.Lock()
		wire := t.wire
		t.questions = nil
		p.mu.Unlock()
		if wire != nil {
			wire.Flush()
		}
	}
}
