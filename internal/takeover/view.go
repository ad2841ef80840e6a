package takeover

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// heard is what a node said last.
type heard struct {
	message director.Message
	at      director.Instant
}

// rivalSilence is how long a process is silent before another one of a lower number is
// its successor; that of package heartbeat.
const rivalSilence = 2 * time.Second

// An ownership is when a group was last known to be held by somebody.
type ownership struct {
	known bool
	at    director.Instant
}

// Gaps of the own loop: while it stands still nothing is renewed.
type gaps struct {
	last    time.Duration
	Longest time.Duration
	Count   uint64
}

func (g *gaps) at(now, limit time.Duration) {
	if pause := now - g.last; g.last != 0 {
		g.Longest = max(g.Longest, pause)
		if pause > limit {
			g.Count++
		}
	}
	g.last = now
}

// note keeps what people want to see.
func (l *Loop) note(m director.Message, now director.Instant) {
	h := l.nodes[m.From]
	if h == nil {
		h = &heard{}
		l.nodes[m.From] = h
	}
	// A lower number is an old process's, or, after a pause, that of one whose clock went
	// back and who had forgotten the number before.
	back := m.Incarnation < h.message.Incarnation && now.Sub(h.at) < rivalSilence
	if back || m.Incarnation == h.message.Incarnation && m.Seq <= h.message.Seq {
		return
	}
	h.message, h.at = m, now
	for _, c := range m.Word.Groups {
		if c.Role != director.Active {
			continue
		}
		if i := slices.IndexFunc(l.o.Groups, func(g Group) bool { return g.Name == c.Group }); i >= 0 {
			l.owned[i] = ownership{true, now}
		}
	}
}

// tell completes a notice.
func (l *Loop) tell(n director.Notice) {
	out := Notice{Notice: n, Time: time.Now(), Without: -1}
	if n.Group != "" {
		i := l.index(n.Group)
		out.Priority = Priority(l.o.Director, l.o.Director.Groups[i])
		if n.Kind == director.Transition && n.To == director.Active && n.Reason.Code != director.ReasonAdopted && l.owned[i].known {
			out.Without = n.At.Sub(l.owned[i].at)
		}
		if n.Kind == director.Transition && (n.From == director.Active || n.To == director.Active) {
			l.owned[i] = ownership{true, n.At}
		}
	}
	if l.ordered != nil && n.Kind == director.Remark {
		*l.ordered = append(*l.ordered, n.Reason.String())
	}
	l.o.Notice(out)
}

// Priority is this node's for a group, for people and scripts: the one in the
// configuration, else its place in the group's order; more is better, 0 is none.
func Priority(c director.Config, g director.Group) int {
	holders := c.Holders(g)
	place := slices.Index(holders, c.Self)
	if place < 0 {
		return 0
	}
	self := slices.IndexFunc(c.Nodes, func(n director.Node) bool { return n.Name == c.Self })
	if c.Nodes[self].Priority != 0 {
		return c.Nodes[self].Priority
	}
	return len(holders) - place
}

// remark tells what the loop itself found.
func (l *Loop) remark(i int, why director.Reason) {
	l.tell(director.Notice{At: l.now(), Kind: director.Remark, Group: l.o.Groups[i].Name, Reason: why})
}

func joined(conditions map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(conditions)) {
		all = append(all, name+": "+conditions[name])
	}
	return strings.Join(all, "; ")
}

// ErrEnded says that the loop does not run (any more).
var ErrEnded = errors.New("the loop of the cluster has ended")

// Command hands over an operator's command, and returns what the machine says to it
// at once. What becomes of it later is told like everything else.
func (l *Loop) Command(ctx context.Context, command director.Operator) ([]string, error) {
	var said []string
	err := l.between(ctx, func() {
		l.ordered = &said
		l.step(command)
		l.ordered = nil
	})
	return said, err
}

// SetDigest says that the configuration changed, in what is none of the machine's
// business: the other nodes are told from the next heartbeat on.
func (l *Loop) SetDigest(digest string) {
	l.queue.call(func() { l.o.Director.Digest = digest })
}

// between has the loop call something, and waits for that.
func (l *Loop) between(ctx context.Context, do func()) error {
	done := make(chan struct{})
	l.queue.call(func() {
		do()
		close(done)
	})
	select {
	case <-done:
		return nil
	case <-l.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A View is what people see of the cluster from this node.
type View struct {
	Self        string      `json:"self"`
	Maintenance bool        `json:"maintenance"`
	Connected   bool        `json:"connected"`
	Gateways    []string    `json:"gateways"`
	Nodes       []NodeView  `json:"nodes"`
	Groups      []GroupView `json:"groups"`
	// LongestGap is the longest pause of this node's loop since its start, Gaps how
	// many were too long.
	LongestGap float64 `json:"longest_gap_seconds"`
	Gaps       uint64  `json:"gaps"`
	// Isolation tells how the loop is kept from waiting for the rest of the machine.
	Isolation string `json:"isolation"`
	// Dropped events of the network came faster than they were handled.
	Dropped uint64 `json:"dropped_events"`
}

// A NodeView is one node as this one knows it.
type NodeView struct {
	Name    string `json:"name"`
	Self    bool   `json:"self,omitempty"`
	Witness bool   `json:"witness,omitempty"`
	State   string `json:"state"` // director.PeerState
	// Silent is for how long nothing was heard of it.
	Silent      float64 `json:"silent_seconds"`
	Maintenance bool    `json:"maintenance,omitempty"`
	// Gateway tells whether it reaches the gateway, as it said last.
	Gateway bool `json:"gateway"`
	// Differs: it has another configuration.
	Differs bool `json:"differs,omitempty"`
	// Stale: what is said here of it is what it said last, and may be wrong now.
	Stale bool `json:"stale,omitempty"`
	// Hears are the nodes that it hears.
	Hears []string `json:"hears,omitempty"`
}

// A GroupView is one group.
type GroupView struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses,omitempty"`
	// Owner is who holds it, empty if nobody is known to.
	Owner string `json:"owner"`
	// Epoch is the owner's claim, or the highest one known.
	Epoch uint64      `json:"epoch"`
	Nodes []ClaimView `json:"nodes"`
	// Denied is why the last switchover or failback that an operator ordered here was not
	// carried out; empty while that is not known.
	Denied string `json:"denied,omitempty"`
}

// A ClaimView is what one node is for a group.
type ClaimView struct {
	Node  string `json:"node"`
	Role  string `json:"role"`
	Epoch uint64 `json:"epoch"`
	// Since is how long this node has had the role; of others it is not known (-1).
	Since float64 `json:"since_seconds"`
	Why   string  `json:"why,omitempty"`
	// Refusal is why the role does not change.
	Refusal string `json:"refusal,omitempty"`
	Able    bool   `json:"able"`
	Stale   bool   `json:"stale,omitempty"`
}

// View asks the loop what it knows.
func (l *Loop) View(ctx context.Context) (View, error) {
	var v View
	err := l.between(ctx, func() { v = l.view() })
	return v, err
}

func (l *Loop) view() View {
	c := l.o.Director
	v := View{
		Self: c.Self, Connected: l.state.Connected(), Gateways: c.Gateways,
		LongestGap: l.gaps.Longest.Seconds(), Gaps: l.gaps.Count, Isolation: l.isolation, Dropped: l.queue.droppedNews(),
	}
	for _, n := range c.Nodes {
		v.Nodes = append(v.Nodes, l.nodeView(n))
	}
	for i, s := range l.state.Groups() {
		v.Groups = append(v.Groups, l.groupView(i, s))
		v.Maintenance = v.Maintenance || s.Role == director.Maintenance
	}
	return v
}

func (l *Loop) nodeView(n director.Node) NodeView {
	state, silent := l.state.Peer(l.o.Director, n.Name)
	out := NodeView{Name: n.Name, Witness: n.Witness, State: state.String(), Silent: silent.Seconds()}
	if n.Name == l.o.Director.Self {
		out.Self, out.Silent, out.Gateway = true, 0, l.state.Connected()
		return out
	}
	h := l.nodes[n.Name]
	if h == nil {
		return out
	}
	w := h.message.Word
	out.Maintenance, out.Gateway, out.Stale = w.Maintenance, w.Gateway, stale(state)
	out.Differs = w.Digest != l.o.Director.Digest
	for _, other := range h.message.Hears {
		if other.Heard {
			out.Hears = append(out.Hears, other.Node)
		}
	}
	return out
}

// stale tells whether what a node said last may be wrong by now.
func stale(s director.PeerState) bool {
	return s != director.Alive && s != director.Suspect
}

func (l *Loop) groupView(i int, s director.Standing) GroupView {
	v := GroupView{Name: s.Group, Epoch: s.Epoch, Denied: s.Denied.String()}
	for _, a := range l.o.Groups[i].Addresses {
		v.Addresses = append(v.Addresses, a.Prefix().Addr().String())
	}
	for _, n := range l.o.Director.Holders(l.o.Director.Groups[i]) {
		claim, known := l.claimView(n, s)
		if !known {
			continue
		}
		v.Nodes = append(v.Nodes, claim)
		if claim.Role == director.Active.String() && claim.Epoch >= v.Epoch {
			v.Owner, v.Epoch = n, claim.Epoch
		}
	}
	return v
}

// claimView is what a node is for a group, as far as it is known. Who is gone has
// no role any more.
func (l *Loop) claimView(node string, own director.Standing) (ClaimView, bool) {
	if node == l.o.Director.Self {
		return ClaimView{
			Node: node, Role: own.Role.String(), Epoch: own.Epoch, Since: l.now().Sub(own.Since).Seconds(),
			Why: own.Why.String(), Refusal: own.Refusal.String(), Able: own.Role != director.Fault && own.Role != director.Maintenance,
		}, true
	}
	state, _ := l.state.Peer(l.o.Director, node)
	h := l.nodes[node]
	if h == nil {
		return ClaimView{Node: node, Role: "unknown", Since: -1}, true
	}
	for _, c := range h.message.Word.Groups {
		if c.Group != own.Group {
			continue
		}
		out := ClaimView{Node: node, Role: c.Role.String(), Epoch: c.Epoch, Since: -1, Why: c.Why.String(), Able: c.Able}
		if stale(state) {
			out.Role, out.Why, out.Able, out.Stale = state.String(), "it was "+c.Role.String()+" when it was last heard", false, true
		}
		return out, true
	}
	return ClaimView{}, false
}
