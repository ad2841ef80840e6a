package sim

import (
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// A class of packets that can be lost while others pass.
type class uint8

const (
	data class = 1 << iota // heartbeats, by unicast
	question
	answer
	ping
	everything = data | question | answer | ping
	arp        = question | answer
)

// The links between nodes. lan carries the addresses, the gateways and ARP.
const (
	lan   = "lan"
	relay = "relay"
	back  = "back"
)

// A path is the service network from one end to another: nodes, then gateways,
// then two clients.
type path struct {
	cut  class
	loss int // per mille
	slow Time
}

// A network is what the faults of the moment leave of it.
type network struct {
	nodes, gateways int
	lan             [][]path
	filtered        [][]bool // heartbeats from one node to another, on every link
	backDown        bool
	noRelay         bool
	gatewayDown     []bool
	isolated        []class // what a node's own port does not carry, by direction: see sick
	unplugged       [devices][]bool
	second          []bool // gateways on the second device's network
	stranger        []uint // by group: the bits of its addresses
	noStonith       bool
}

func newNetwork(s Setup) network {
	n := network{nodes: s.voters(), gateways: s.Gateways}
	ends := n.nodes + n.gateways + clients
	n.lan = make([][]path, ends)
	for i := range n.lan {
		n.lan[i] = make([]path, ends)
	}
	n.filtered = make([][]bool, n.nodes)
	for i := range n.filtered {
		n.filtered[i] = make([]bool, n.nodes)
	}
	n.gatewayDown = make([]bool, n.gateways)
	n.isolated = make([]class, n.nodes)
	for d := range n.unplugged {
		n.unplugged[d] = make([]bool, n.nodes)
	}
	n.second = make([]bool, n.gateways)
	if s.Two && s.Gateways == 2 {
		n.second[1] = s.GatewaySecond
	}
	n.stranger = make([]uint, len(s.Groups))
	return n
}

// clients are the hosts that only ever talk to the address; each believes the
// last announcement that it heard.
const clients = 2

func (n *network) clear() {
	for i := range n.lan {
		clear(n.lan[i])
	}
	for i := range n.filtered {
		clear(n.filtered[i])
	}
	clear(n.gatewayDown)
	clear(n.isolated)
	for d := range n.unplugged {
		clear(n.unplugged[d])
	}
	clear(n.stranger)
	n.backDown, n.noRelay, n.noStonith = false, false, false
}

func (n *network) cut(from, to int, c class) { n.lan[from][to].cut |= c }

func (n *network) client(i int) int  { return n.nodes + n.gateways + i }
func (n *network) gateway(i int) int { return n.nodes + i }

// port cuts everything that a node sends, receives, or both.
func (n *network) port(node int, sends, receives bool) {
	for i := range n.lan {
		if sends {
			n.cut(node, i, everything)
		}
		if receives {
			n.cut(i, node, everything)
		}
	}
	n.isolated[node] = everything
}

// apply adds what one fault does to the network.
func (n *network) apply(h *happening) {
	a, b := h.node, h.other
	switch h.Kind { //nolint:exhaustive // the other faults do not matter here
	case Pull, CutOff:
		n.port(a, true, true)
	case Unplug:
		n.unplugged[h.Device][a] = true
	case Flap:
		n.unplugged[h.turn][a] = true
	case Mute:
		n.port(a, true, false)
	case Deaf:
		n.port(a, false, true)
	case Partition:
		n.cut(a, b, everything)
		n.cut(b, a, everything)
	case OneWay:
		n.cut(a, b, everything)
	case Split:
		n.split(h.Arg)
	case Heartbeats:
		n.cut(a, b, data)
		n.cut(b, a, data)
		if h.Arg == 1 {
			n.filtered[a][b], n.filtered[b][a] = true, true
		}
	case ARP:
		n.cut(a, b, arp)
		n.cut(b, a, arp)
	case NoBroadcast:
		for i := range n.lan {
			for k := range n.lan {
				n.cut(i, k, question)
			}
		}
	case Loss, Slow:
		n.disturb(h)
	case BackDown:
		n.backDown = true
	case GatewayDown:
		if n.gateways > 0 {
			n.gatewayDown[h.Arg%n.gateways] = true
		}
	case AllGatewaysDown:
		for i := range n.gatewayDown {
			n.gatewayDown[i] = true
		}
	case GatewayPath:
		for i := range n.gateways {
			n.cut(a, n.gateway(i), everything)
			n.cut(n.gateway(i), a, everything)
		}
	case NoRelay:
		n.noRelay = true
	case Stranger:
		n.stranger[h.Arg%len(n.stranger)] |= h.bits
	case NoStonith:
		n.noStonith = true
	}
}

// cutClients: each side of a partition has one that the other does not reach.
func (n *network) cutClients(a, b int) {
	n.cut(a, n.client(0), everything)
	n.cut(n.client(0), a, everything)
	n.cut(b, n.client(1), everything)
	n.cut(n.client(1), b, everything)
}

// split cuts the network in two: nodes of the mask with the first client, the
// others with the gateways and the second. A client that is cut off alone is
// nothing that directors could know.
func (n *network) split(mask int) {
	if mask&(1<<n.nodes-1) == 0 {
		return
	}
	side := func(end int) bool { return end < n.nodes && mask&(1<<end) != 0 || end == n.client(0) }
	for i := range n.lan {
		for k := range n.lan {
			if side(i) != side(k) {
				n.cut(i, k, everything)
			}
		}
	}
}

func (n *network) disturb(h *happening) {
	for i := range n.lan {
		for _, p := range []*path{&n.lan[h.node][i], &n.lan[i][h.node]} {
			if h.Kind == Loss {
				p.loss = max(p.loss, h.Arg)
			} else {
				p.slow = max(p.slow, Time(h.Arg)*ms)
			}
		}
	}
}

// open tells whether packets pass from one end to another by a device, losses aside.
func (n *network) open(device, from, to int, c class) bool {
	return n.lan[from][to].cut&c == 0 && n.up(device, from) && n.up(device, to)
}

func (n *network) up(device, end int) bool {
	if end < n.nodes {
		return !n.unplugged[device][end]
	}
	g := end - n.nodes
	return g >= n.gateways || !n.gatewayDown[g] && device == n.deviceOf(g)
}

// both tells whether packets pass there and back.
func (n *network) both(device, a, b int, c class) bool {
	return n.open(device, a, b, c) && n.open(device, b, a, c)
}

// relays tells whether the first gateway takes from one node to another.
func (n *network) relays(from, to int) bool {
	return n.gateways > 0 && !n.noRelay && n.open(0, from, n.gateway(0), data) && n.open(0, n.gateway(0), to, data)
}

// hears tells whether heartbeats get from one node to another on any link.
func (w *World) hears(from, to int) bool {
	return slices.ContainsFunc(w.links, func(link string) bool { return w.carries(link, from, to) })
}

func (w *World) carries(link string, from, to int) bool {
	n := &w.net
	if n.filtered[from][to] {
		return false
	}
	switch link {
	case lan:
		return n.open(0, from, to, data)
	case relay:
		return !w.options.NoRelay && n.relays(from, to)
	}
	return !n.backDown && (!w.setup.BackOnSecond || n.up(1, from) && n.up(1, to))
}

// travel is how long a packet needs over the service network of a device, and whether it arrives.
func (w *World) travel(device, from, to int, c class) (Time, bool) {
	if !w.net.open(device, from, to, c) {
		return 0, false
	}
	p := w.net.lan[from][to]
	if loss := max(p.loss, w.loss()); loss > 0 && w.rng.IntN(1000) < loss {
		return 0, false
	}
	return w.latency() + p.slow, true
}

// latency of a healthy network, with stragglers that are overtaken.
func (w *World) latency() Time {
	if w.setup.Late > 0 && w.rng.IntN(1000) < w.setup.Late && !w.quiet() {
		late := Time(5+w.rng.IntN(35)) * ms
		if w.setup.Half {
			late /= 2 // halved timers are for better networks
		}
		return late
	}
	return Time(60+w.rng.IntN(400)) * Time(1000)
}

// loss is the noise of schedules with several faults, while they last.
func (w *World) loss() int {
	if w.quiet() {
		return 0
	}
	return w.setup.Loss
}

// send a message over every link.
func (w *World) send(from *node, to string, m director.Message) {
	shared := &m
	for _, n := range w.nodes {
		if n == from || to != "" && n.name != to {
			continue
		}
		for _, link := range w.links {
			w.over(link, from, n, shared)
		}
	}
}

func (w *World) over(link string, from, to *node, m *director.Message) {
	if !w.carries(link, from.id, to.id) {
		return
	}
	var delay Time
	switch link {
	case lan:
		d, ok := w.travel(0, from.id, to.id, data)
		if !ok {
			return
		}
		delay = d
	case relay:
		g := w.net.gateway(0)
		d1, ok1 := w.travel(0, from.id, g, data)
		d2, ok2 := w.travel(0, g, to.id, data)
		if !ok1 || !ok2 {
			return
		}
		delay = d1 + d2
	default:
		delay = w.latency()
	}
	arrive := func() { to.receive(director.Heard{Link: link, Message: *m}) }
	w.after(delay, arrive)
	if w.setup.Doubled > 0 && w.rng.IntN(1000) < w.setup.Doubled {
		w.after(delay+w.latency(), arrive)
	}
}

// ping a gateway.
func (w *World) ping(from *node, gateway string, sent director.Instant) {
	for i := range w.net.gateways {
		g := w.net.gateway(i)
		if gatewayName(i) != gateway {
			continue
		}
		d1, ok1 := w.travel(w.net.deviceOf(i), from.id, g, ping)
		d2, ok2 := w.travel(w.net.deviceOf(i), g, from.id, ping)
		if ok1 && ok2 {
			w.after(d1+d2, func() { from.receive(director.PingAnswered{Gateway: gateway, Sent: sent}) })
		}
	}
}

// probe asks the wire for an address, and then for the gateway.
func (w *World) probe(from *node, group int, what director.Probe) {
	name, device, id := groupName(group), w.setup.device(group), what.ID
	asked, news := from.asks(group, what), true
	answers := func(address int, by director.Answerer) func() {
		return func() {
			if news || w.setup.addresses(group) == 1 { // of several the first answer is enough
				news, from.known[group] = false, address
				from.receive(director.WireAnswered{Group: name, Probe: id, By: by})
			}
		}
	}
	for _, n := range w.nodes[:w.setup.Directors] {
		if n == from {
			continue
		}
		for _, k := range asked {
			if d, ok := w.travel(device, from.id, n.id, question); ok {
				w.after(d, func() {
					if n.answers(group, k) {
						w.answer(device, n.id, from, answers(k, director.Answerer{Node: n.name, MAC: "02:" + n.name}))
					}
				})
			}
		}
	}
	for _, k := range asked {
		if w.net.stranger[group]&(1<<k) != 0 && w.net.up(device, from.id) {
			w.after(w.latency(), answers(k, director.Answerer{MAC: "0e:stranger"}))
		}
	}
	if w.setup.Gateways > 0 && !w.gatewayOn(device) {
		w.after(0, func() { from.receive(director.WireWorks{Group: name, Probe: id}) }) // that it went out has to do
	}
	for i := range w.net.gateways {
		g := w.net.gateway(i)
		if d, ok := w.travel(device, from.id, g, question); ok {
			w.after(d, func() { w.answer(device, g, from, func() { from.receive(director.WireWorks{Group: name, Probe: id}) }) })
		}
	}
}

func (w *World) answer(device, by int, to *node, arrive func()) {
	if d, ok := w.travel(device, by, to.id, answer); ok {
		w.after(d, arrive)
	}
}

// strangerAnnounces what is not its own: clients believe it.
func (w *World) strangerAnnounces(h *happening, group int) {
	if h.over {
		return
	}
	for k := range w.setup.addresses(group) {
		if h.bits&(1<<k) == 0 {
			continue
		}
		for _, n := range w.nodes[:w.setup.Directors] {
			w.after(w.latency(), func() { n.claim(group, director.Answerer{MAC: "0e:stranger"}) })
		}
		for i := range clients {
			w.believes[i][group][k] = nobody
		}
	}
	w.after(400*ms, func() { w.strangerAnnounces(h, group) })
}

// nobody is whom clients believe at first, and a stranger.
const nobody = -1

// announce the addresses of a group to clients and directors.
func (w *World) announce(from *node, group int) {
	for k := range w.setup.addresses(group) {
		w.announceOne(from, group, k)
	}
}

func (w *World) announceOne(from *node, group, address int) {
	device := w.setup.device(group)
	for _, n := range w.nodes[:w.setup.Directors] {
		if n == from {
			continue
		}
		if d, ok := w.travel(device, from.id, n.id, question); ok {
			w.after(d, func() { n.claim(group, director.Answerer{Node: from.name, MAC: "02:" + from.name}) })
		}
	}
	for i := range clients {
		if d, ok := w.travel(device, from.id, w.net.client(i), question); ok {
			w.after(d, func() { w.believes[i][group][address] = from.id })
		}
	}
}
