package heartbeat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// MaxShare is the most that [Cluster.Share] takes: 8 MiB.
	MaxShare = 8 << 20
	// maxKinds bounds what a node's documents take of the memory of others.
	maxKinds = 16
	// streamTime is how long one document may take.
	streamTime = 10 * time.Second
	// shareAgain is the pause after a document that could not be sent.
	shareAgain = time.Second
)

// A Shared is a document of another node. One is newer than all before of the same
// node and kind; those that nobody fetched are left out.
type Shared struct {
	From, Kind string
	Data       []byte
	// At is when the other node called Share, by this node's clock; the time on the
	// way, usually milliseconds, makes it later.
	At time.Time
}

// A version orders the documents of one node and kind.
type version struct {
	Incarnation uint64 `json:"incarnation"`
	Seq         uint64 `json:"seq"`
}

func (v version) newer(than version) bool {
	if v.Incarnation != than.Incarnation {
		return v.Incarnation > than.Incarnation
	}
	return v.Seq > than.Seq
}

// A label stands before each document, as one line of JSON. Age is how long ago it was
// shared: clocks of two nodes may be years apart.
type label struct {
	From string `json:"from"`
	Kind string `json:"kind"`
	version
	Age time.Duration `json:"age"`
}

// An inventory is what memberlist's exchange of states carries: who asks, and the
// documents it has. The documents themselves would hold up the exchange.
type inventory struct {
	From string                        `json:"from"`
	Have map[string]map[string]version `json:"have"` // by node and kind
}

// Shares are the documents of all nodes. memberlist's delegates call it, under its
// lock: nothing here waits.
type shares struct {
	self        string
	incarnation uint64
	nodes       []string
	tell        *teller
	out         chan Shared
	arrived     chan struct{}
	wake        map[string]chan struct{} // by node: there is something to send
	// present is the incarnation of the process that is heard from a node; nil: none is.
	present func(node string) (incarnation uint64, ok bool)

	mu      sync.Mutex // protects what follows
	seq     uint64
	own     map[string]document
	sent    map[string]map[string]version // by node and kind
	have    map[string]map[string]version
	waiting []Shared
}

type document struct {
	version
	at   time.Time
	data []byte
}

func newShares(s Settings, tell *teller) *shares {
	h := &shares{
		self: s.Self, incarnation: s.Incarnation, tell: tell, out: make(chan Shared), arrived: make(chan struct{}, 1),
		wake: map[string]chan struct{}{}, own: map[string]document{}, sent: map[string]map[string]version{}, have: map[string]map[string]version{},
	}
	for _, n := range s.Nodes {
		if n.Name != s.Self {
			h.nodes = append(h.nodes, n.Name)
			h.wake[n.Name] = make(chan struct{}, 1)
		}
	}
	return h
}

// Share gives a document to all other nodes: to the members at once, to others when
// they join, and again to those that did not get it. It takes the place of the one
// of the same kind before. It does not wait; data must not be changed any more.
func (c *Cluster) Share(kind string, data []byte) error {
	if len(data) > MaxShare {
		return fmt.Errorf("heartbeat: %s of %d bytes to be shared: the most is %d", kind, len(data), MaxShare)
	}
	h := c.shares
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.own[kind]; !known && len(h.own) >= maxKinds || kind == "" || len(kind) > maxName {
		return fmt.Errorf("heartbeat: document %q: %d kinds at most, with names of 1 to %d bytes", kind, maxKinds, maxName)
	}
	h.seq++
	h.own[kind] = document{version{h.incarnation, h.seq}, time.Now(), data}
	for _, wake := range h.wake {
		poke(wake)
	}
	return nil
}

// Shared are the documents of others. The channel is never closed.
func (c *Cluster) Shared() <-chan Shared { return c.shares.out }

// share sends a peer what it does not have yet.
func (c *Cluster) share(ctx context.Context, p *peer) {
	name := p.node.Name
	at := p.node.address()
	node := &memberlist.Node{Name: name, Addr: at.Addr().AsSlice(), Port: at.Port()}
	for {
		var again <-chan time.Time
		if err := c.shareAll(node); err != nil && ctx.Err() == nil {
			c.tell.complain("share "+name, Warn, "heartbeat: share with %s: %v", name, err)
			again = time.After(shareAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.shares.wake[name]:
		case <-again:
		}
	}
}

func (c *Cluster) shareAll(to *memberlist.Node) error {
	for {
		if member, ok := c.notes.of(to.Name); !ok || !member.alive {
			return nil // it will join
		}
		kind, d, ok := c.shares.next(to.Name)
		if !ok {
			return nil
		}
		head, err := json.Marshal(label{From: c.settings.Self, Kind: kind, version: d.version, Age: time.Since(d.at)})
		if err != nil {
			return err
		}
		message := append(append(head, '\n'), d.data...)
		if err := c.members.SendReliable(to, message); err != nil {
			c.shares.failed(to.Name, kind, d.version)
			return fmt.Errorf("%s of %d bytes: %w", kind, len(d.data), err)
		}
	}
}

// next is a document that a node was not sent. It is noted as sent before it is: what the
// node's inventory says meanwhile is the later word.
func (h *shares) next(node string) (kind string, d document, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for kind, d := range h.own {
		if d.version != h.sent[node][kind] {
			if h.sent[node] == nil {
				h.sent[node] = map[string]version{}
			}
			h.sent[node][kind] = d.version
			return kind, d, true
		}
	}
	return "", document{}, false
}

// failed takes back that the node was sent it.
func (h *shares) failed(node, kind string, v version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sent[node][kind] == v {
		delete(h.sent[node], kind)
	}
}

// joined has everything sent to a node: it may be another process.
func (h *shares) joined(node string) {
	h.mu.Lock()
	delete(h.sent, node)
	h.mu.Unlock()
	h.rouse(node)
}

func (h *shares) rouse(node string) {
	if wake := h.wake[node]; wake != nil {
		poke(wake)
	}
}

// inventory is what this node has, for others to compare.
func (h *shares) inventory() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := json.Marshal(inventory{From: h.self, Have: h.have})
	if err != nil {
		return nil // there is nothing in it that can fail
	}
	return b
}

// compare finds what a node lacks of this one's documents. Other versions than the present
// one are older, whatever their numbers: an earlier process here may have had a clock that
// was ahead.
func (h *shares) compare(b []byte) {
	var remote inventory
	if len(b) == 0 || json.Unmarshal(b, &remote) != nil || !slices.Contains(h.nodes, remote.From) {
		return // of another version: it gets what is sent
	}
	h.mu.Lock()
	lacks := false
	for kind, d := range h.own {
		if has := remote.Have[h.self][kind]; d.version != has && h.sent[remote.From] != nil {
			h.sent[remote.From][kind] = has
			lacks = true
		}
	}
	h.mu.Unlock()
	if lacks {
		h.rouse(remote.From)
	}
}

// receive takes a document of another node.
func (h *shares) receive(b []byte) {
	if err := h.accept(b, time.Now()); err != nil {
		h.tell.complain("shared", Error, "heartbeat: refused a shared document: %v", err)
	}
}

func (h *shares) accept(b []byte, now time.Time) error {
	head, data, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return errors.New("it has no label")
	}
	var l label
	if err := json.Unmarshal(head, &l); err != nil {
		return fmt.Errorf("label: %w", err)
	}
	if !slices.Contains(h.nodes, l.From) || l.Kind == "" || len(l.Kind) > maxName || l.Age < 0 {
		return fmt.Errorf("%q of %q, shared %v ago", shorten(l.Kind, maxName), shorten(l.From, maxName), l.Age)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	have := h.have[l.From]
	if have == nil {
		have = map[string]version{}
		h.have[l.From] = have
	}
	before, known := have[l.Kind]
	if known && !l.newer(before) && !h.wentBack(l, before) {
		return nil // it came late, or twice
	}
	if !known && len(have) >= maxKinds {
		return fmt.Errorf("%s has more than %d kinds of them", l.From, maxKinds)
	}
	have[l.Kind] = l.version
	h.waiting = slices.DeleteFunc(h.waiting, func(s Shared) bool { return s.From == l.From && s.Kind == l.Kind })
	// memberlist may use its buffer again.
	h.waiting = append(h.waiting, Shared{From: l.From, Kind: l.Kind, Data: bytes.Clone(data), At: now.Add(-l.Age)})
	poke(h.arrived)
	return nil
}

// wentBack tells whether a document is of a process that is heard now, and started after
// the one that the document before is of, though its incarnation is lower: its clock went
// back, and it had lost what it knew.
func (h *shares) wentBack(l label, before version) bool {
	if h.present == nil || l.Incarnation >= before.Incarnation {
		return false
	}
	incarnation, ok := h.present(l.From)
	return ok && incarnation == l.Incarnation
}

// handOut offers the oldest document until it is fetched, or there is a newer one.
func (h *shares) handOut(ctx context.Context) {
	for {
		first, out := h.first()
		select {
		case <-ctx.Done():
			return
		case <-h.arrived:
		case out <- first:
			h.fetched(first)
		}
	}
}

// first is the document to offer; without one the channel is nil.
func (h *shares) first() (Shared, chan<- Shared) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 {
		return Shared{}, nil
	}
	return h.waiting[0], h.out
}

func (h *shares) fetched(s Shared) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = slices.DeleteFunc(h.waiting, func(w Shared) bool { return w.From == s.From && w.Kind == s.Kind && w.At.Equal(s.At) })
}
