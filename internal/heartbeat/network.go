package heartbeat

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// A peer is another node, and what keeps its packets honest.
type peer struct {
	node Node

	mu       sync.Mutex // protects what follows; nothing is called or sent under it
	fresh    freshness
	echo     uint64 // what it wants to hear, 0: not known
	echoSeq  uint64 // the packet that said so
	opener   cipher.AEAD
	openerOf openerKey
	newest   mark
	answerAt time.Duration // when it was last told what to echo, 0: never
	// otherAt is the same for what may be recorded from an earlier process, or said by
	// one whose clock went back: a flood of it must not keep the newest from an answer.
	otherAt time.Duration
	stats   map[uint8]*linkStat
}

type openerKey struct {
	key     keyID
	session session
}

// A network sends sealed packets over all links and takes them in.
type network struct {
	self        string
	incarnation uint64
	session     session
	key         keyID
	sealer      cipher.AEAD
	keys        map[keyID]Key
	began       time.Time
	peers       map[string]*peer
	names       []string // of the peers, sorted
	paths       []*path
	tell        *teller
	wire        func(to string, link uint8) bool

	seq     atomic.Uint64
	counts  counters
	gossip  chan *memberlist.Packet
	inbox   *mailbox
	streams chan net.Conn
	met     chan struct{} // poked when a peer is heard for the first time, or anew

	ctx   context.Context // ends with close
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu    sync.Mutex // protects conns
	conns map[net.Conn]bool

	closing sync.Once
}

type counters struct {
	malformed, unknownKey, forged, stranger, replayed, unproved, late, flushed, rivals, duplicates, unsent atomic.Uint64
}

// newNetwork opens the sockets; run starts to read them.
func newNetwork(s Settings, tell *teller) (*network, error) {
	n := &network{
		self: s.Self, incarnation: s.Incarnation, keys: map[keyID]Key{}, began: time.Now(), peers: map[string]*peer{},
		tell: tell, wire: s.wire, gossip: make(chan *memberlist.Packet, 256), inbox: newMailbox(),
		streams: make(chan net.Conn), met: make(chan struct{}, 1), conns: map[net.Conn]bool{},
	}
	_, _ = rand.Read(n.session[:]) // never fails, says crypto/rand
	for _, key := range s.Keys {
		n.keys[key.id()] = key
	}
	n.key = s.Keys[0].id()
	n.sealer = newSealer(s.Keys[0], n.session)
	for _, node := range s.Nodes {
		if node.Name != s.Self {
			n.peers[node.Name] = &peer{node: node, fresh: newFreshness(), stats: map[uint8]*linkStat{}}
		}
	}
	n.names = slices.Sorted(maps.Keys(n.peers))
	n.ctx, n.stop = context.WithCancel(context.Background())
	if err := n.open(s); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *network) open(s Settings) error {
	for i, at := range s.node(s.Self).Links {
		if !at.IsValid() {
			continue
		}
		to := map[string]netip.AddrPort{}
		for name, p := range n.peers {
			if i < len(p.node.Links) && p.node.Links[i].IsValid() {
				to[name] = p.node.Links[i]
			}
		}
		link, streams, err := openLink(n.ctx, at, to)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", s.linkName(i), s.Self, err)
		}
		n.paths = append(n.paths, &path{id: uint8(i), name: s.linkName(i), link: link, at: at, streams: streams})
	}
	for i, r := range s.Relays {
		n.paths = append(n.paths, &path{id: uint8(firstRelay + i), name: r.Name, link: r.Link})
	}
	return nil
}

// run reads the links, and says hello at its pace.
func (n *network) run() {
	for _, p := range n.paths {
		n.tasks.Go(func() { n.receive(p) })
		if p.streams != nil {
			n.tasks.Go(func() { n.accept(p) })
		}
	}
	n.tasks.Go(n.greet)
}

// close ends everything and waits for it.
func (n *network) close() { n.closing.Do(n.end) }

func (n *network) end() {
	n.stop()
	for _, p := range n.paths {
		_ = p.link.Close()
		if p.streams != nil {
			_ = p.streams.Close()
		}
	}
	n.mu.Lock()
	open := slices.Collect(maps.Keys(n.conns))
	n.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	n.tasks.Wait()
}

// incarnationOf is that of the process that is heard from a node, or was heard last.
func (n *network) incarnationOf(name string) (incarnation uint64, ok bool) {
	p := n.peers[name]
	if p == nil {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fresh.incarnation, p.fresh.known
}

// now is this process's clock: it begins with it and goes on while others set theirs.
func (n *network) now() time.Duration { return time.Since(n.began) }

// send sends a payload to a peer over every link; one that carries it is enough.
func (n *network) send(p *peer, k kind, payload []byte) error {
	p.mu.Lock()
	mine, echo := p.fresh.token, p.echo
	p.mu.Unlock()
	return n.sendAs(p, k, mine, echo, func(uint8) []byte { return payload })
}

func (n *network) sendAs(p *peer, k kind, mine, echo uint64, payload func(link uint8) []byte) error {
	f := frame{
		kind: k, key: n.key, session: n.session, seq: n.seq.Add(1), from: n.self, incarnation: n.incarnation,
		mine: mine, echo: echo,
	}
	var failed error
	sent := false
	for _, path := range n.paths {
		if !path.reaches(p.node) {
			continue
		}
		f.link, f.sent, f.payload = path.id, n.now(), payload(path.id)
		if len(f.payload) > maxFrame {
			return fmt.Errorf("packet of %d bytes for %s: the most is %d", len(f.payload), p.node.Name, maxFrame)
		}
		if n.wire != nil && !n.wire(p.node.Name, path.id) {
			sent = true // lost on the way, as far as the sender can tell
			continue
		}
		if err := path.link.Send(p.node.Name, f.seal(n.sealer)); err != nil {
			n.counts.unsent.Add(1)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", path.name, err))
			continue
		}
		sent = true
	}
	if sent {
		return nil
	}
	if failed == nil {
		failed = errors.New("it shares no link with this node")
	}
	return fmt.Errorf("heartbeat to %s: %w", p.node.Name, failed)
}

// hello tells a peer, for each link, what was heard of it there.
func (n *network) hello(p *peer, echo uint64) {
	now := n.now()
	bodies := map[uint8][]byte{}
	p.mu.Lock()
	if echo == 0 {
		echo = p.echo
	}
	mine := p.fresh.token
	for _, path := range n.paths {
		bodies[path.id] = p.stat(path.id).hello(now).bytes()
	}
	p.mu.Unlock()
	// A link that does not carry shows in its state.
	_ = n.sendAs(p, kindHello, mine, echo, func(link uint8) []byte { return bodies[link] })
}

// stat needs the lock.
func (p *peer) stat(link uint8) *linkStat {
	s := p.stats[link]
	if s == nil {
		s = &linkStat{}
		p.stats[link] = s
	}
	return s
}

// greet says hello, and tells when a link changes.
func (n *network) greet() {
	ticker := time.NewTicker(helloEvery)
	defer ticker.Stop()
	for {
		n.reopen()
		for _, name := range n.names {
			n.hello(n.peers[name], 0)
			n.watch(n.peers[name])
		}
		select {
		case <-ticker.C:
		case <-n.ctx.Done():
			return
		}
	}
}

// reopen follows the interfaces of links that belong to one.
func (n *network) reopen() {
	for _, path := range n.paths {
		z, ok := path.link.(*zoned)
		if !ok {
			continue
		}
		if err := z.look(n.ctx); err != nil && n.ctx.Err() == nil {
			n.tell.complain("open "+path.name, Error, "heartbeat: %s: %v", path.name, err)
		}
	}
}

// watch tells of links that changed.
func (n *network) watch(p *peer) {
	now := n.now()
	for _, path := range n.paths {
		p.mu.Lock()
		s := p.stat(path.id)
		was, is := s.told, s.state(now)
		s.told = is
		p.mu.Unlock()
		if is == was {
			continue
		}
		level := Warn
		if is == LinkUp {
			level = Info
		}
		n.tell.tell(level, "heartbeat: %s to %s is %s", path.name, p.node.Name, is)
	}
}

// receive reads one link until it is closed.
func (n *network) receive(p *path) {
	buffer := make([]byte, 64<<10)
	for {
		size, from, err := p.link.Receive(buffer)
		at := time.Now()
		if n.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The kernel hands over ICMP errors of earlier sends; others may stay.
			n.tell.complain("receive "+p.name, Debug, "heartbeat: %s: %v", p.name, err)
			select {
			case <-time.After(10 * time.Millisecond):
			case <-n.ctx.Done():
				return
			}
			continue
		}
		n.take(p, buffer[:size], from, at)
	}
}

// take judges one packet and hands it on.
func (n *network) take(path *path, data []byte, from netip.AddrPort, at time.Time) {
	f, p, ok := n.authentic(path, data, from)
	if !ok {
		return
	}
	now := at.Sub(n.began)
	p.mu.Lock()
	newest := p.newest.reach(f)
	before, token := p.fresh.session, p.fresh.token
	v := p.fresh.judge(f, now)
	learned, anew := false, false
	if v == accepted || v == duplicate {
		p.stat(path.id).took(f, now)
		anew = p.fresh.session != before
		if anew || f.seq > p.echoSeq {
			learned = p.echo != f.mine
			p.echo, p.echoSeq = f.mine, f.seq
		}
	}
	answer := v == unproved && p.answers(f, newest, now)
	renewed := v == late && p.fresh.token != token
	p.mu.Unlock()
	switch {
	case answer, renewed && newest:
		n.hello(p, f.mine)
	case renewed:
		n.hello(p, 0) // it wants to hear something newer by now
	}
	if learned {
		n.hello(p, 0)
	}
	if anew {
		poke(n.met)
	}
	n.count(v, f, path, from)
	if v == accepted || v == duplicate {
		n.deliver(path, p, f, v, at)
	}
}

// answers tells whether whoever echoes nothing valid is told what to echo: at most every
// 5 ms. What the same process said later than a packet counts, and was answered. A hello
// of our own that is just on its way told nothing: two nodes that greet each other at the
// same time would do so for ever. It needs the lock.
func (p *peer) answers(f frame, newest bool, now time.Duration) bool {
	at := &p.answerAt
	if !newest {
		if f.session == p.newest.session {
			return false
		}
		at = &p.otherAt
	}
	if *at != 0 && now-*at < answerEvery {
		return false
	}
	*at = now
	return true
}

// authentic finds out who sealed a packet, and whether it came the right way.
func (n *network) authentic(path *path, data []byte, from netip.AddrPort) (frame, *peer, bool) {
	f, head, err := parseHeader(data)
	if err != nil {
		n.counts.malformed.Add(1)
		n.tell.accuse("malformed "+from.Addr().String(), Warn, "heartbeat: refused a packet from %v: %v", from, err)
		return f, nil, false
	}
	key, known := n.keys[f.key]
	if !known {
		n.counts.unknownKey.Add(1)
		n.tell.accuse("key "+from.Addr().String(), Error, "heartbeat: refused %q at %v: %v", f.from, from, errUnknownKey)
		return f, nil, false
	}
	p := n.peers[f.from]
	opener := p.cipher(key, f)
	name := f.from
	if f, err = f.open(opener, data, head); err != nil {
		n.counts.forged.Add(1)
		n.tell.accuse("forged "+from.Addr().String(), Error, "heartbeat: refused %q at %v: %v", name, from, err)
		return f, nil, false
	}
	if f.from == n.self && f.session == n.session {
		n.counts.replayed.Add(1) // our own packet sent back
		return f, nil, false
	}
	if why := n.misplaced(path, p, f, from); why != "" {
		n.counts.stranger.Add(1)
		n.tell.accuse("stranger "+f.from+" "+from.Addr().String(), Error, "heartbeat: refused %q at %v: %s", f.from, from, why)
		return f, nil, false
	}
	p.mu.Lock()
	p.opener, p.openerOf = opener, openerKey{f.key, f.session}
	p.mu.Unlock()
	return f, p, true
}

// cipher is that of the peer's session, made anew for a new one.
func (p *peer) cipher(key Key, f frame) cipher.AEAD {
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.opener != nil && p.openerOf == (openerKey{f.key, f.session}) {
			return p.opener
		}
	}
	return newSealer(key, f.session)
}

// misplaced says what is wrong with an authentic packet's sender.
func (n *network) misplaced(path *path, p *peer, f frame, from netip.AddrPort) string {
	switch {
	case f.from == n.self:
		return "this node has that name: is it used twice?"
	case p == nil:
		return "it is not in the list of nodes"
	case f.link != path.id:
		return fmt.Sprintf("it came over %s, but was sent over another link: do all nodes list their links in the same order?", path.name)
	case !path.at.IsValid():
		return "" // a relay: addresses mean nothing
	case !path.reaches(p.node) || p.node.Links[f.link].Addr().WithZone("") != from.Addr().WithZone(""):
		return fmt.Sprintf("that is not its address on %s: is a node's name used twice?", path.name)
	}
	return ""
}

func (n *network) count(v verdict, f frame, path *path, from netip.AddrPort) {
	switch v {
	case accepted:
	case duplicate:
		n.counts.duplicates.Add(1)
	case unproved:
		n.counts.unproved.Add(1)
	case replayed:
		n.counts.replayed.Add(1)
		n.tell.complain("replayed "+f.from, Warn, "heartbeat: a packet of %s came again over %s, from %v", f.from, path.name, from)
	case late:
		n.counts.late.Add(1)
		n.tell.complain("late "+f.from, Warn, "heartbeat: a packet of %s was under way for too long over %s: dropped", f.from, path.name)
	case flushed:
		n.counts.flushed.Add(1)
	case rival:
		n.counts.rivals.Add(1)
		n.tell.complain("rival "+f.from, Error, "heartbeat: refused a second process with the name %s, at %v", f.from, from)
	}
}

// deliver hands on: gossip once, heartbeats with each link they came over.
func (n *network) deliver(path *path, p *peer, f frame, v verdict, at time.Time) {
	switch f.kind {
	case kindHello:
	case kindGossip:
		if v == duplicate {
			return
		}
		packet := &memberlist.Packet{Buf: f.payload, From: net.UDPAddrFromAddrPort(p.node.address()), Timestamp: at}
		select {
		case n.gossip <- packet:
		default: // as a full socket buffer would
		}
	case kindHeartbeat:
		m, err := Decode(f.payload)
		if err == nil && m.From != f.from {
			err = fmt.Errorf("it says that %q sent it", m.From)
		}
		if err != nil {
			n.counts.malformed.Add(1)
			n.tell.complain("message "+f.from, Error, "heartbeat: refused a message of %s: %v", f.from, err)
			return
		}
		n.inbox.put(Received{From: f.from, Link: path.name, Message: m, At: at})
	}
}

// flush drops what came before now and was not fetched, here or in the sockets.
func (n *network) flush() {
	now := n.now()
	for _, p := range n.peers {
		p.mu.Lock()
		p.fresh.flushing = now
		p.mu.Unlock()
	}
	n.inbox.drain()
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
