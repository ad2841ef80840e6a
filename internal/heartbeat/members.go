package heartbeat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// A transport is memberlist's view of the network. Members are addressed by the
// first of their links, packets go over all of them.
type transport struct{ n *network }

// FinalAdvertiseAddr is the first link's.
func (t transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	addr := net.ParseIP(ip)
	if addr == nil {
		return nil, 0, fmt.Errorf("address %q of this node", ip)
	}
	if four := addr.To4(); four != nil {
		addr = four
	}
	return addr, port, nil
}

func (t transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (t transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	p, err := t.peer(addr)
	if err != nil {
		return time.Time{}, err
	}
	at := time.Now()
	// What cannot be sent is lost like what is sent into nothing, and counted. memberlist
	// would take an error for its own fault (failedRemote in its state.go) and ask no
	// further: a node would remain a member for as long as this one's interface is down.
	_ = t.n.send(p, kindGossip, b)
	return at, nil
}

func (t transport) peer(addr memberlist.Address) (*peer, error) {
	if p := t.n.peers[addr.Name]; p != nil {
		return p, nil
	}
	at, err := netip.ParseAddrPort(addr.Addr)
	if err != nil {
		return nil, err
	}
	for _, p := range t.n.peers {
		if p.node.address() == at {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%v is not in the list of nodes", at)
}

func (t transport) PacketCh() <-chan *memberlist.Packet { return t.n.gossip }

func (t transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (t transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	p, err := t.peer(addr)
	if err != nil {
		return nil, err
	}
	conn, err := t.n.dial(p, timeout)
	if err != nil {
		return nil, err
	}
	// memberlist sets a deadline for its states, which replaces this one, and none
	// for messages: one that nobody reads would be written for a quarter of an hour.
	if err := conn.SetDeadline(time.Now().Add(streamTime)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (t transport) StreamCh() <-chan net.Conn { return t.n.streams }

// Shutdown is called by memberlist first, and by nobody else.
func (t transport) Shutdown() error {
	t.n.close()
	return nil
}

const (
	metaVersion = 1
	metaLeaving = 1
	maxMetaText = 128
)

// A meta is what memberlist spreads about each node (512 bytes at most, it panics above).
type meta struct {
	leaving     bool
	incarnation uint64
	version     string
	digest      string
}

func (m meta) bytes() []byte {
	b := []byte{metaVersion, flag(m.leaving, metaLeaving)}
	b = binary.BigEndian.AppendUint64(b, m.incarnation)
	for _, text := range []string{shorten(m.version, maxMetaText), shorten(m.digest, maxMetaText)} {
		b = append(append(b, byte(len(text))), text...)
	}
	return b
}

// parseMeta ignores what follows: a later minor addition.
func parseMeta(b []byte) (meta, error) {
	d := decoder{rest: b}
	if v := d.take(1); len(v) == 1 && v[0] != metaVersion {
		return meta{}, fmt.Errorf("node data of version %d, this monitord speaks %d: %w", v[0], metaVersion, ErrVersion)
	}
	m := meta{leaving: d.byte(metaLeaving) != 0}
	if n := d.take(8); n != nil {
		m.incarnation = binary.BigEndian.Uint64(n)
	}
	text := func() string {
		if n := d.take(1); len(n) == 1 {
			return string(d.take(uint64(n[0])))
		}
		return ""
	}
	m.version, m.digest = text(), text()
	if d.err != nil {
		return meta{}, fmt.Errorf("node data: %w", d.err)
	}
	return m, nil
}

// Notes are what the delegates leave behind: they run under memberlist's lock, note,
// poke, and return.
type notes struct {
	self    string
	allowed map[string]netip.AddrPort
	changed chan struct{}
	shares  *shares

	mu      sync.Mutex // protects what follows
	meta    []byte     // of this node
	members map[string]note
}

type note struct {
	alive bool
	since time.Time
	meta  []byte
}

func (o *notes) NodeMeta(limit int) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.meta[:min(limit, len(o.meta))]
}

func (o *notes) setMeta(m meta) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.meta = m.bytes()
}

// memberlist's own user messages and states are what [Cluster.Share] is made of.
func (o *notes) NotifyMsg(b []byte)              { o.shares.receive(b) }
func (o *notes) GetBroadcasts(int, int) [][]byte { return nil }
func (o *notes) LocalState(bool) []byte          { return o.shares.inventory() }
func (o *notes) MergeRemoteState(b []byte, _ bool) {
	o.shares.compare(b)
}
func (o *notes) NotifyJoin(n *memberlist.Node)   { o.note(n, true) }
func (o *notes) NotifyLeave(n *memberlist.Node)  { o.note(n, false) }
func (o *notes) NotifyUpdate(n *memberlist.Node) { o.note(n, true) }

func (o *notes) note(n *memberlist.Node, alive bool) {
	o.mu.Lock()
	before := o.members[n.Name]
	now := note{alive: alive, since: time.Now(), meta: append([]byte(nil), n.Meta...)}
	if before.alive == alive && !before.since.IsZero() {
		now.since = before.since
	}
	o.members[n.Name] = now
	o.mu.Unlock()
	if alive && !before.alive {
		o.shares.joined(n.Name)
	}
	poke(o.changed)
}

// NotifyAlive refuses members that the configuration does not have.
func (o *notes) NotifyAlive(n *memberlist.Node) error {
	want, ok := o.allowed[n.Name]
	if !ok {
		return errors.New("it is not in the list of nodes")
	}
	addr, _ := netip.AddrFromSlice(n.Addr)
	if got := netip.AddrPortFrom(addr.Unmap(), n.Port); got != want {
		return fmt.Errorf("it says that its address is %v, the list says %v: is its name used twice?", got, want)
	}
	return nil
}

func (o *notes) of(name string) (note, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, ok := o.members[name]
	return n, ok
}

// memberConfig is memberlist's default for a LAN, but faster: it tells in 0.4 s.
func memberConfig(s Settings, n *network, o *notes) (*memberlist.Config, error) {
	keys := make([][]byte, len(s.Keys))
	for i := range s.Keys {
		keys[i] = s.Keys[i][:]
	}
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, err
	}
	at := s.node(s.Self).address()
	c := memberlist.DefaultLANConfig()
	c.Name, c.Keyring, c.Transport = s.Self, ring, transport{n}
	c.BindAddr, c.BindPort = at.Addr().String(), int(at.Port())
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	c.ProbeInterval, c.ProbeTimeout = 100*time.Millisecond, 50*time.Millisecond
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 2, 1
	c.GossipInterval = 50 * time.Millisecond
	c.TCPTimeout = time.Second
	c.DisableTcpPings = true // membership means that packets arrive
	c.EnableCompression = false
	c.UDPBufferSize = packetSize - sealedExtra - len(s.Self)
	c.Delegate, c.Events, c.Alive = o, o, o
	c.LogOutput = nil
	c.Logger = log.New(n.tell, "", 0)
	return c, nil
}
