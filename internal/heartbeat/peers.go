package heartbeat

import "time"

// Membership is what memberlist says of a node.
type Membership int

// The memberships.
const (
	// Absent: it never was a member.
	Absent Membership = iota
	// Member of the cluster.
	Member
	// Left: it said farewell.
	Left
	// Lost: it was a member, and fell silent without farewell.
	Lost
)

var membershipNames = []string{"absent", "member", "left", "lost"}

func (m Membership) String() string { return membershipNames[m] }

// A Peer is what is known of another node.
type Peer struct {
	Name       string
	Membership Membership
	// Since is when the membership began; zero: Absent.
	Since time.Time
	// Incarnation, Version and Digest are what the node said last.
	Incarnation     uint64
	Version, Digest string
	Links           []LinkInfo
}

// A LinkInfo is one link to one node.
type LinkInfo struct {
	Name  string
	State LinkState
	// Heard is how long ago something came over it; negative: never.
	Heard time.Duration
	// Latency is there and back, measured twice a second; 0: not measured yet.
	Latency time.Duration
}

// Peers lists the other nodes by name.
func (c *Cluster) Peers() []Peer {
	list := make([]Peer, 0, len(c.net.names))
	for _, name := range c.net.names {
		p := Peer{Name: name}
		if member, ok := c.notes.of(name); ok {
			said, err := parseMeta(member.meta)
			if err == nil {
				p.Incarnation, p.Version, p.Digest = said.incarnation, said.version, said.digest
			}
			p.Since = member.since
			switch {
			case member.alive:
				p.Membership = Member
			case said.leaving:
				p.Membership = Left
			default:
				p.Membership = Lost
			}
		}
		p.Links = c.net.links(c.net.peers[name])
		list = append(list, p)
	}
	return list
}

// links are those that the peer has an address on, and the relays.
func (n *network) links(p *peer) []LinkInfo {
	now := n.now()
	var list []LinkInfo
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, path := range n.paths {
		if !path.reaches(p.node) {
			continue
		}
		s := p.stat(path.id)
		info := LinkInfo{Name: path.name, State: s.state(now), Heard: -1, Latency: s.rtt}
		if s.heard {
			info.Heard = now - s.heardAt
		}
		list = append(list, info)
	}
	return list
}

// Stats count packets since Open.
type Stats struct {
	// Duplicates came over another link before; that is as it should be.
	Duplicates uint64
	// Malformed packets are none of monitord's, or of another version.
	Malformed uint64
	// UnknownKey: sealed with a key that this node does not have.
	UnknownKey uint64
	// Forged: the seal is broken.
	Forged uint64
	// Strangers are authentic, but not from a node and address of the list.
	Strangers uint64
	// Rivals came from a second process with a node's name.
	Rivals uint64
	// Replayed came twice over one link.
	Replayed uint64
	// Unproved echo nothing that this process said: replayed, or the first ones.
	Unproved uint64
	// Late were under way for seconds, Flushed waited while this process stood still.
	Late, Flushed uint64
	// Unsent were refused by the own kernel.
	Unsent uint64
	// Dropped messages were not fetched in time.
	Dropped uint64
}

// Stats are the present counts.
func (c *Cluster) Stats() Stats {
	n := &c.net.counts
	return Stats{
		Duplicates: n.duplicates.Load(), Malformed: n.malformed.Load(), UnknownKey: n.unknownKey.Load(), Forged: n.forged.Load(),
		Strangers: n.stranger.Load(), Rivals: n.rivals.Load(), Replayed: n.replayed.Load(), Unproved: n.unproved.Load(),
		Late: n.late.Load(), Flushed: n.flushed.Load(), Unsent: n.unsent.Load(), Dropped: c.net.inbox.lost(),
	}
}
