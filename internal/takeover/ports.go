package takeover

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sort"
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
	// looksElsewhere is how many looks in a row have to find an address's device elsewhere
	// before it is: a network manager that starts anew takes all addresses away for a moment.
	looksElsewhere = 3
	// claimPause lies at least between two claims of others to addresses of one group.
	claimPause = 10 * time.Millisecond
)

// Ports are the devices of the addresses, each with its wire.
type ports struct {
	loop    *Loop
	clock   func() time.Duration
	crier   *crier
	devices sync.WaitGroup
	stop    context.CancelFunc // ends what open began

	mu      sync.Mutex // protects what follows
	byName  map[string]*port
	places  map[netip.Addr]*place
	carrier map[string]bool
	said    bool     // that one has a carrier, as it was handed over
	cut     []string // what each group lacks, as it was handed over; empty: nothing
	nodes   map[string]string
	known   []*place        // which of each group's was answered for last
	claimed []time.Duration // when another's claim was handed over last, by group
	number  uint64
}

// A place is where one address is, or is to be.
type place struct {
	group   int
	address Address
	addr    netip.Addr
	port    *port // nil: its device is not known yet

	// Of find alone: another device than the port's, and how many looks in a row found it.
	elsewhere string
	looks     int
}

// A port is a device with its wire.
type port struct {
	device   string
	wire     Wire // nil while there is none
	gateways []netip.Addr
	// questions are those that may still be answered, oldest first.
	questions []*question
}

// A round is one probe of a group: a question on each of its wires.
type round struct {
	group int
	probe uint64
	// part, of parts, is which of the addresses it asks for, if not for all.
	part, parts int
	// unproved questions did not get the proof that they went over a wire that works.
	unproved int
}

// A question is asked on one wire. Its number is unique: groups that share a wire
// number their probes alike.
type question struct {
	number   uint64
	at       time.Duration
	round    *round
	proved   bool
	answered bool // the machine knows
}

func newPorts(l *Loop) *ports {
	p := &ports{
		loop: l, clock: l.o.Boottime, byName: map[string]*port{}, places: map[netip.Addr]*place{}, carrier: map[string]bool{}, said: true,
		nodes: map[string]string{}, cut: make([]string, len(l.o.Groups)), claimed: make([]time.Duration, len(l.o.Groups)), known: make([]*place, len(l.o.Groups)), crier: newCrier(l.o.Boottime),
	}
	for i, g := range l.o.Groups {
		for _, a := range g.Addresses {
			addr := a.Prefix().Addr()
			p.places[addr] = &place{group: i, address: a, addr: addr}
		}
	}
	return p
}

// look finds the devices, and tells whether one of them has a carrier.
func (p *ports) look(ctx context.Context) bool {
	p.find(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.byName {
		p.carrier[name] = p.loop.o.Wires.Carrier(ctx, name)
	}
	p.said = p.anyUp()
	for i := range p.cut {
		p.cut[i] = p.lacks(i)
	}
	return p.said
}

// down are the groups that lack a device with a carrier, as look found them.
func (p *ports) down() []director.Carrier {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []director.Carrier
	for i, why := range p.cut {
		if why != "" {
			all = append(all, director.Carrier{Group: p.loop.o.Groups[i].Name, Detail: why})
		}
	}
	return all
}

// tell hands over what is new about carriers. While one device of several is lost the
// groups on it move; while all are, the fence decides, and a blink is none of its
// business: so that the node has lost all comes before what its groups lost, and that it
// has not any more after what they have again. With mu held.
func (p *ports) tell() {
	up := p.anyUp()
	news := up != p.said
	p.said = up
	if news && !up {
		p.loop.queue.say(director.Carrier{Detail: p.lacksAny()})
	}
	for _, is := range []bool{false, true} {
		for i := range p.cut {
			why := p.lacks(i)
			if is != (why == "") || is == (p.cut[i] == "") {
				continue
			}
			p.cut[i] = why
			p.loop.queue.say(director.Carrier{Group: p.loop.o.Groups[i].Name, Up: is, Detail: why})
		}
	}
	if news && up {
		p.loop.queue.say(director.Carrier{Up: true})
	}
}

// anyUp tells whether a device of an address has a carrier.
func (p *ports) anyUp() bool {
	for _, pl := range p.places {
		if pl.port != nil && p.carrier[pl.port.device] {
			return true
		}
	}
	return len(p.places) == 0
}

// lacksAny is what the first group that lacks a device lacks.
func (p *ports) lacksAny() string {
	for i := range p.cut {
		if why := p.lacks(i); why != "" {
			return why
		}
	}
	return ""
}

// lacks is which device of a group has no carrier, for people; empty: all have.
func (p *ports) lacks(group int) string {
	for _, pl := range p.of(group) {
		switch {
		case pl.port == nil:
			return "no device for " + pl.addr.String()
		case !p.carrier[pl.port.device]:
			return pl.port.device + " is missing or has no carrier"
		}
	}
	return ""
}

// open begins to watch the devices; those that are missing are looked for.
func (p *ports) open(ctx context.Context) {
	ctx, p.stop = context.WithCancel(ctx)
	if len(p.places) == 0 {
		return
	}
	p.devices.Go(func() { p.scout(ctx) })
	p.devices.Go(func() { p.crier.run(ctx) })
}

// find finds the devices of the addresses, also of those that belong on another one now:
// where none is configured it is the one whose network contains the address, and at boot
// that of a narrower network may come later. Routes, of which there may be a million, are
// looked at for those only that have none.
func (p *ports) find(ctx context.Context) {
	look := census(ctx)
	near := func() (*netif.Census, error) {
		c, err := look()
		if err != nil {
			return nil, err
		}
		return c.WithoutRoutes(), nil
	}
	for _, pl := range p.places {
		p.mu.Lock()
		before := pl.port
		p.mu.Unlock()
		if before == nil {
			if device, err := deviceOf(ctx, pl.address, look); err == nil {
				p.settle(pl, device, false)
			}
			continue // if there is none it is looked for again
		}
		if device, err := deviceOf(ctx, pl.address, near); err == nil && pl.moves(before.device, device) {
			p.settle(pl, device, p.loop.o.Wires.Carrier(ctx, device))
		}
	}
}

// moves takes in where an address was found, and tells whether it belongs there now.
func (pl *place) moves(from, to string) bool {
	if to != pl.elsewhere {
		pl.elsewhere, pl.looks = to, 0
	}
	pl.looks++
	return to != from && pl.looks >= looksElsewhere
}

// settle puts an address where its device is.
func (p *ports) settle(pl *place, device string, up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pl.port != nil {
		pl.port.questions = nil // what was asked there proves nothing here
	}
	if p.byName[device] == nil {
		p.byName[device] = &port{device: device}
		p.carrier[device] = up // until it is watched
	}
	pl.port = p.byName[device]
}

// deviceOf is the device of an address; of many the kernel is asked once.
func deviceOf(ctx context.Context, a Address, look func() (*netif.Census, error)) (string, error) {
	if l, ok := a.(Leased); ok {
		want, err := l.Want(ctx, look)
		return want.Device, err
	}
	return a.Device(ctx)
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
			p.changed(t, c) // first: to open a wire takes the kernel's lock several times
			if c.Index != index || c.Index == 0 {
				p.closeWire(t)
				index = c.Index
				sightings = p.openWire(ctx, t)
			}
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
	t.wire = w
	if len(gateways) > 0 { // A device that is back may get its route a moment later, see refresh.
		t.gateways = gateways
	}
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
	var proved []*round
	var answered *round
	switch s.Kind {
	case netif.Works:
		proved = prove(p.asked(t, s.ID))
	case netif.Answered:
		answered = p.answered(t, pl, s.ID)
	case netif.Claimed, netif.Sought:
	}
	p.mu.Unlock()
	switch s.Kind {
	case netif.Answered:
		if answered != nil {
			// Not news that may be dropped: to miss it is to take what another has. No more
			// than one comes of each question that was asked.
			p.loop.queue.say(director.WireAnswered{Group: p.loop.o.Groups[answered.group].Name, Probe: answered.probe, By: by})
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
// must not crowd out heartbeats. Each answer to a question about one of hundreds of
// addresses is such a claim.
func (p *ports) news(pl *place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	if last := p.claimed[pl.group]; last != 0 && now-last < claimPause {
		return false
	}
	p.claimed[pl.group] = now
	return true
}

// asked are the questions of the last second up to a number, that are not proved yet: the
// oldest of them stands behind those that are.
func (p *ports) asked(t *port, number uint64) []*question {
	p.forget(t)
	to := sort.Search(len(t.questions), func(i int) bool { return t.questions[i].number > number })
	from := to
	for from > 0 && !t.questions[from-1].proved {
		from--
	}
	return t.questions[from:to]
}

// answered is the round of a question that somebody answered, if that is news: of
// hundreds of addresses one that is held is enough.
func (p *ports) answered(t *port, pl *place, number uint64) *round {
	p.forget(t)
	i := sort.Search(len(t.questions), func(i int) bool { return t.questions[i].number >= number })
	if i == len(t.questions) || t.questions[i].number != number {
		return nil
	}
	q := t.questions[i]
	if pl == nil || q.round.group != pl.group || q.answered {
		return nil
	}
	q.answered, p.known[pl.group] = true, pl
	return q.round
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

// probe asks for the addresses of a group, or for a part of them. A wire without a gateway cannot be proved:
// that its question went out has to do, as where no gateway is configured at all.
func (p *ports) probe(group int, what director.Probe) {
	r := &round{group: group, probe: what.ID, part: what.Part, parts: what.Parts}
	asks := p.question(r)
	for _, a := range asks {
		if a.wire.Ask(a.question) != nil {
			p.unasked(a.port, a.question.ID)
			continue
		}
		if len(a.question.Gateways) > 0 {
			continue
		}
		p.mu.Lock()
		r.unproved--
		done := r.unproved == 0
		p.mu.Unlock()
		if done {
			p.loop.queue.say(director.WireWorks{Group: p.loop.o.Groups[group].Name, Probe: what.ID})
		}
	}
}

// An ask is what is to be asked on one wire.
type ask struct {
	port     *port
	wire     Wire
	question netif.Question
}

// question notes what will be asked on each wire of a group. A place whose device is
// missing, or has no wire, leaves the round without its proof.
func (p *ports) question(r *round) []*ask {
	p.mu.Lock()
	defer p.mu.Unlock()
	var asks []*ask
	on := map[*port]*ask{}
	for i, pl := range p.of(r.group) {
		if r.parts > 1 && i%r.parts != r.part && pl != p.known[r.group] {
			continue
		}
		t := pl.port
		if t == nil || t.wire == nil {
			r.unproved++
			continue
		}
		if on[t] == nil {
			p.number++
			p.forget(t)
			t.questions = append(t.questions, &question{number: p.number, at: p.clock(), round: r, proved: len(t.gateways) == 0})
			on[t] = &ask{t, t.wire, netif.Question{ID: p.number, Gateways: t.gateways}}
			asks = append(asks, on[t])
			r.unproved++
		}
		on[t].question.Addresses = append(on[t].question.Addresses, pl.addr)
	}
	return asks
}

// unasked forgets a question that did not go out: nothing proves it.
func (p *ports) unasked(t *port, number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.questions = slices.DeleteFunc(t.questions, func(q *question) bool { return q.number == number })
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
	all := p.of(group)
	cries := make([]cry, 0, len(all))
	p.mu.Lock()
	for _, pl := range all {
		if pl.port != nil && pl.port.wire != nil {
			cries = append(cries, cry{pl.port.wire, pl.addr})
		}
	}
	p.mu.Unlock()
	p.crier.announce(group, cries)
}

// hush ends the announcements of a group that is let go, before it is.
func (p *ports) hush(group int) { p.crier.hush(group) }

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
