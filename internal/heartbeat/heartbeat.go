// Package heartbeat carries the messages between the directors of a cluster, and
// knows which nodes are members of it. It is the only user of memberlist.
//
// Everything travels in sealed packets over every [Link] at once, from the link's
// own address: the cut of one link is no event. memberlist's gossip arrives once,
// messages of directors arrive with each link they came over, as the machine of
// package director wants them. The seal is AES-256-GCM with the keys of memberlist's
// keyring, memberlist encrypts its part once more. A packet counts only if it was
// sealed for this process, lately, and for the first time (see freshness).
//
// Loss of membership alone decides nothing: it is for people. The directors judge
// each other by their messages.
package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/monitord/monitord/internal/director"
)

const (
	// packetSize is what a UDP packet may hold without being cut in pieces on any
	// common way: 1300 bytes.
	packetSize = 1300
	// rejoinEvery is the pace at which members that are heard, but are none, are
	// joined: memberlist never does so by itself after a partition.
	rejoinEvery = time.Second
	// leaveTime is how long a farewell takes at most, if nobody says.
	leaveTime = time.Second
)

// A Node is one machine of the cluster.
type Node struct {
	Name string
	// Links are the node's addresses with ports, one for each link; all nodes list
	// their links in the same order. The zero AddrPort: it is not on that link.
	Links []netip.AddrPort
}

// address is the first one, by which memberlist knows the node; zones are local.
func (n Node) address() netip.AddrPort {
	for _, at := range n.Links {
		if at.IsValid() {
			return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
		}
	}
	return netip.AddrPort{}
}

// Settings are what a cluster is made of.
type Settings struct {
	// Self is this node's name, one of Nodes.
	Self  string
	Nodes []Node
	// LinkNames are for people and for [Received]; "link 1" and so on if empty.
	LinkNames []string
	// Relays are further links, the same on all nodes. Close closes them.
	Relays []Relay
	// Keys are accepted; the first is used. See [LoadKeys].
	Keys []Key
	// Incarnation grows with each start of this node (see director.Message).
	Incarnation uint64
	// Version is monitord's, Digest the configuration's; 128 bytes each at most.
	Version, Digest string
	// Log gets lines for people, from one goroutine; nil: nowhere.
	Log func(Level, string)

	// wire loses packets and calls, in tests.
	wire func(to string, link uint8) bool
}

func (s Settings) node(name string) Node {
	for _, n := range s.Nodes {
		if n.Name == name {
			return n
		}
	}
	return Node{}
}

func (s Settings) linkName(i int) string {
	if i < len(s.LinkNames) && s.LinkNames[i] != "" {
		return s.LinkNames[i]
	}
	return fmt.Sprintf("link %d", i+1)
}

// unmapped writes IPv4 addresses as such, however they were written.
func (s Settings) unmapped() Settings {
	nodes := make([]Node, len(s.Nodes))
	for i, n := range s.Nodes {
		nodes[i].Name = n.Name
		for _, at := range n.Links {
			nodes[i].Links = append(nodes[i].Links, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
		}
	}
	s.Nodes = nodes
	return s
}

func (s Settings) check() error {
	if len(s.Keys) == 0 {
		return errors.New("cluster without a key: `monitord keygen` makes one")
	}
	seen := map[string]bool{}
	used := map[netip.AddrPort]string{}
	for _, n := range s.Nodes {
		switch {
		case n.Name == "" || len(n.Name) > maxName:
			return fmt.Errorf("node name %q: 1 to %d bytes", n.Name, maxName)
		case seen[n.Name]:
			return fmt.Errorf("node %s stands in the list twice", n.Name)
		case !n.address().IsValid():
			return fmt.Errorf("node %s has no address", n.Name)
		case len(n.Links) > firstRelay:
			return fmt.Errorf("node %s has %d links: the most is %d", n.Name, len(n.Links), firstRelay)
		}
		seen[n.Name] = true
		for _, at := range n.Links {
			if !at.IsValid() {
				continue
			}
			if other, twice := used[at]; twice {
				return fmt.Errorf("nodes %s and %s: both have the address %v", other, n.Name, at)
			}
			if at.Port() == 0 || at.Addr().IsUnspecified() || at.Addr().IsMulticast() {
				return fmt.Errorf("node %s: %v is no address that others can send to", n.Name, at)
			}
			used[at] = n.Name
		}
	}
	if !seen[s.Self] {
		return fmt.Errorf("this node, %q, is not in the list of nodes", s.Self)
	}
	if len(s.Relays) > 255-firstRelay {
		return fmt.Errorf("%d relays: the most is %d", len(s.Relays), 255-firstRelay)
	}
	return nil
}

// A Cluster is this node's part in it. Its methods may be called by any goroutine.
type Cluster struct {
	settings Settings
	net      *network
	notes    *notes
	tell     *teller
	members  *memberlist.Memberlist
	changed  chan struct{}
	fit      int

	rejoining context.CancelFunc
	sharing   context.CancelFunc
	shares    *shares
	tasks     sync.WaitGroup

	life   sync.Mutex // protects what follows, and orders Leave, SetDigest and Close
	meta   meta
	left   bool
	closed bool
}

// Open binds this node's addresses (they may appear later), and starts to send and to
// listen. The others need not be there: whoever is heard is joined within a second.
func Open(s Settings) (*Cluster, error) {
	s = s.unmapped()
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Log == nil {
		s.Log = func(Level, string) {}
	}
	tell := newTeller(s.Log)
	n, err := newNetwork(s, tell)
	if err != nil {
		tell.close()
		return nil, err
	}
	c := &Cluster{
		settings: s, net: n, tell: tell, changed: make(chan struct{}, 1), fit: packetSize - sealedExtra - len(s.Self),
		meta: meta{incarnation: s.Incarnation, version: s.Version, digest: s.Digest},
	}
	c.shares = newShares(s, tell)
	c.shares.present = n.incarnationOf
	c.notes = &notes{self: s.Self, allowed: map[string]netip.AddrPort{}, changed: c.changed, members: map[string]note{}, shares: c.shares}
	for _, node := range s.Nodes {
		c.notes.allowed[node.Name] = node.address()
	}
	c.notes.setMeta(c.meta)
	config, err := memberConfig(s, n, c.notes)
	if err == nil {
		c.members, err = memberlist.Create(config)
	}
	if err != nil {
		n.close()
		tell.close()
		return nil, err
	}
	n.run()
	ctx, cancel := context.WithCancel(context.Background())
	c.rejoining = cancel
	c.tasks.Go(func() { c.rejoin(ctx) })
	sharing, stop := context.WithCancel(context.Background())
	c.sharing = stop
	c.tasks.Go(func() { c.shares.handOut(sharing) })
	for _, name := range n.names {
		c.tasks.Go(func() { c.share(sharing, n.peers[name]) })
	}
	return c, nil
}

// Send sends a message to one node, over every link. It does not wait; an error
// means that no link took it.
func (c *Cluster) Send(to string, m director.Message) error {
	p := c.net.peers[to]
	if p == nil {
		return fmt.Errorf("heartbeat to %q: it is not another node of the list", to)
	}
	payload, err := Encode(m, c.fit)
	if err != nil {
		return err
	}
	return c.net.send(p, kindHeartbeat, payload)
}

// Broadcast sends a message to all other nodes. The error joins those of Send.
func (c *Cluster) Broadcast(m director.Message) error {
	payload, err := Encode(m, c.fit)
	if err != nil {
		return err
	}
	var failed error
	for _, name := range c.net.names {
		failed = errors.Join(failed, c.net.send(c.net.peers[name], kindHeartbeat, payload))
	}
	return failed
}

// Received are the messages of others, each once for each link it came over. It
// holds 256; the newest are kept, and [Stats] counts the others. It is never closed.
func (c *Cluster) Received() <-chan Received { return c.net.inbox.out }

// Flush drops the messages that came before now, and those that still wait in
// the sockets: what a process finds after it stood still.
func (c *Cluster) Flush() { c.net.flush() }

// Changed is poked when [Cluster.Peers] may say something new about members.
func (c *Cluster) Changed() <-chan struct{} { return c.changed }

// SetDigest tells the others that this node's configuration changed. It waits until
// that was sent, a second at most.
func (c *Cluster) SetDigest(digest string) error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed || c.left {
		return net.ErrClosed
	}
	c.meta.digest = digest
	c.notes.setMeta(c.meta)
	return c.members.UpdateNode(leaveTime)
}

// Leave says farewell: first "leaving" in the node's data, then memberlist's own
// message, so that others can tell it from a crash. Messages can still be sent and
// received. It waits until it was sent, for the deadline or a second; an error says
// that it may not have arrived.
func (c *Cluster) Leave(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed || c.left {
		return nil
	}
	c.left = true
	c.rejoining()
	until := time.Now().Add(leaveTime)
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	c.meta.leaving = true
	c.notes.setMeta(c.meta)
	left := func() time.Duration { return max(time.Until(until), time.Millisecond) }
	err := c.members.UpdateNode(left() / 2)
	return errors.Join(err, c.members.Leave(left()))
}

// Close ends everything and waits for it; without [Cluster.Leave] before it looks like
// a crash. It may be called again.
func (c *Cluster) Close() error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.rejoining()
	c.sharing()
	c.net.stop()
	err := c.members.Shutdown() // closes the network first
	c.tasks.Wait()
	c.tell.close()
	return err
}

// rejoin joins whoever is heard and is no member: at once when it is first heard,
// then every second.
func (c *Cluster) rejoin(ctx context.Context) {
	ticker := time.NewTicker(rejoinEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.net.met:
		case <-ticker.C:
		}
		var joins sync.WaitGroup
		for _, p := range c.strangers() {
			joins.Go(func() {
				// What goes wrong is in memberlist's log; the next second tries again.
				_, _ = c.members.Join([]string{p.node.Name + "/" + p.node.address().String()})
			})
		}
		joins.Wait()
	}
}

// strangers are heard, are no members, and did not say farewell.
func (c *Cluster) strangers() []*peer {
	var list []*peer
	for _, name := range c.net.names {
		p := c.net.peers[name]
		if member, ok := c.notes.of(name); ok && member.alive {
			continue
		}
		now := c.net.now()
		p.mu.Lock()
		heard, incarnation := p.fresh.known && now-p.fresh.heard < linkSilence, p.fresh.incarnation
		p.mu.Unlock()
		if heard && !c.farewell(name, incarnation) {
			list = append(list, p)
		}
	}
	return list
}

// farewell tells whether this very process of a node said it.
func (c *Cluster) farewell(name string, incarnation uint64) bool {
	member, ok := c.notes.of(name)
	if !ok {
		return false
	}
	said, err := parseMeta(member.meta)
	return err == nil && said.leaving && said.incarnation == incarnation
}
