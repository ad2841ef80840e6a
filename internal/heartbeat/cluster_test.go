package heartbeat

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/director"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for a machine that has other things to do.
const patience = 30 * time.Second

// A lab is some nodes on loopback, whose links can be cut.
type lab struct {
	t     *testing.T
	nodes []Node
	key   Key

	mu  sync.Mutex
	cut map[string]bool // "from to link"
	log map[string][]string
}

func newLab(t *testing.T, nodes, links int) *lab {
	key, err := parseKey(NewKey())
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, key: key, cut: map[string]bool{}, log: map[string][]string{}}
	for i := range nodes {
		n := Node{Name: fmt.Sprintf("dr%d", i+1)}
		for range links {
			n.Links = append(n.Links, free(t))
		}
		l.nodes = append(l.nodes, n)
	}
	return l
}

// free is a loopback address of this test's own with a port that nobody has.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	return freeAt(t, netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(250)), byte(1 + rand.IntN(250))}))
}

func freeAt(t *testing.T, addr netip.Addr) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return netip.MustParseAddrPort(listener.Addr().String())
}

func (l *lab) settings(node int) Settings {
	self := l.nodes[node].Name
	return Settings{
		Self: self, Nodes: l.nodes, Keys: []Key{l.key}, Incarnation: 1, Version: "1.0", Digest: "digest of " + self,
		Log: func(level Level, text string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.log[self] = append(l.log[self], level.String()+": "+text)
		},
		wire: func(to string, link uint8) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return !l.cut[fmt.Sprint(self, to, link)]
		},
	}
}

func (l *lab) open(s Settings) *Cluster {
	l.t.Helper()
	c, err := Open(s)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { l.end(c) })
	return c
}

func (l *lab) end(c *Cluster) {
	if err := c.Close(); err != nil {
		l.t.Errorf("close: %v", err)
	}
}

// all opens every node and waits until all are members.
func (l *lab) all() []*Cluster {
	l.t.Helper()
	var list []*Cluster
	for i := range l.nodes {
		list = append(list, l.open(l.settings(i)))
	}
	for i, c := range list {
		for j := range l.nodes {
			if i != j {
				l.membership(c, l.nodes[j].Name, Member)
			}
		}
	}
	return list
}

// pull cuts a link between the first two nodes, or plugs it in again.
func (l *lab) pull(link int, cut bool) {
	a, b := l.nodes[0].Name, l.nodes[1].Name
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut[fmt.Sprint(a, b, uint8(link))] = cut
	l.cut[fmt.Sprint(b, a, uint8(link))] = cut
}

func (l *lab) until(what string, ok func() bool) {
	l.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("not within %v: %s; logs: %s", patience, what, fmt.Sprint(l.log))
		}
	}
}

func (l *lab) peer(c *Cluster, name string) Peer {
	l.t.Helper()
	for _, p := range c.Peers() {
		if p.Name == name {
			return p
		}
	}
	l.t.Fatalf("no peer %s", name)
	return Peer{}
}

func (l *lab) membership(c *Cluster, name string, want Membership) {
	l.t.Helper()
	l.until(name+" is "+want.String(), func() bool { return l.peer(c, name).Membership == want })
}

func (l *lab) linkState(c *Cluster, name string, link int, want LinkState) {
	l.t.Helper()
	l.until(fmt.Sprintf("link %d to %s is %v", link+1, name, want), func() bool { return l.peer(c, name).Links[link].State == want })
}

func (l *lab) said(node, text string) {
	l.t.Helper()
	l.until(node+" says "+text, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Contains(strings.Join(l.log[node], "\n"), text)
	})
}

func message(from string, seq uint64) director.Message {
	return director.Message{From: from, Incarnation: 1, Seq: seq, Word: director.Word{Digest: "d"}}
}

// exchange sends until the message arrived over all of these links.
func (l *lab) exchange(from, to *Cluster, seq uint64, links ...string) {
	l.t.Helper()
	want := map[string]bool{}
	for _, link := range links {
		want[link] = true
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for len(want) > 0 {
		if err := from.Send(to.settings.Self, message(from.settings.Self, seq)); err != nil {
			l.t.Fatal(err)
		}
		select {
		case r := <-to.Received():
			if r.From == from.settings.Self && r.Message.Seq == seq {
				delete(want, r.Link)
			}
		case <-again.C:
		case <-deadline:
			l.t.Fatalf("message %d did not arrive over %v", seq, want)
		}
	}
}

func TestThreeNodesMeetAndTalk(t *testing.T) {
	l := newLab(t, 3, 2)
	nodes := l.all()
	l.exchange(nodes[0], nodes[1], 1, "link 1", "link 2")
	l.exchange(nodes[1], nodes[0], 2, "link 1", "link 2")
	l.exchange(nodes[2], nodes[0], 3, "link 1", "link 2")
	for i := range 2 {
		l.linkState(nodes[0], "dr2", i, LinkUp)
	}
	p := l.peer(nodes[0], "dr2")
	if p.Version != "1.0" || p.Digest != "digest of dr2" || p.Incarnation != 1 || p.Since.IsZero() {
		t.Errorf("got %+v", p)
	}
	for _, link := range p.Links {
		if link.Latency <= 0 || link.Latency > patience || link.Heard < 0 {
			t.Errorf("link %+v: latency or age is not right", link)
		}
	}
	if err := nodes[0].Send("dr9", message("dr1", 1)); err == nil || !strings.Contains(err.Error(), "dr9") {
		t.Errorf("Send to nobody: error %v", err)
	}
	// What the link of another sent arrives as one gossip, but two messages.
	if nodes[0].Stats().Duplicates == 0 {
		t.Error("no duplicates over two links")
	}
}

func TestBroadcastReachesAll(t *testing.T) {
	l := newLab(t, 3, 1)
	nodes := l.all()
	for _, c := range nodes[1:] {
		l.until("the broadcast arrives at "+c.settings.Self, func() bool {
			if err := nodes[0].Broadcast(message("dr1", 77)); err != nil {
				t.Fatal(err)
			}
			select {
			case r := <-c.Received():
				return r.Message.Seq == 77 && r.Link == "link 1" && !r.At.IsZero()
			default:
				return false
			}
		})
	}
}

func TestOneLinkCutIsNoEvent(t *testing.T) {
	for cut := range 2 {
		t.Run(fmt.Sprint("link ", cut+1), func(t *testing.T) {
			l := newLab(t, 2, 2)
			nodes := l.all()
			l.linkState(nodes[0], "dr2", cut, LinkUp)
			since := l.peer(nodes[0], "dr2").Since
			l.pull(cut, true)
			l.linkState(nodes[0], "dr2", cut, LinkDown)
			l.linkState(nodes[1], "dr1", cut, LinkDown)
			l.said("dr1", fmt.Sprintf("link %d to dr2 is down", cut+1))
			// Two seconds passed, five times what memberlist needs to miss somebody.
			for i, c := range nodes {
				p := l.peer(c, l.nodes[1-i].Name)
				if p.Membership != Member || (i == 0 && p.Since != since) || p.Links[1-cut].State != LinkUp {
					t.Errorf("after the cut: %+v", p)
				}
			}
			l.exchange(nodes[0], nodes[1], 5, fmt.Sprintf("link %d", 2-cut))
			l.pull(cut, false)
			l.linkState(nodes[0], "dr2", cut, LinkUp)
			l.exchange(nodes[0], nodes[1], 6, "link 1", "link 2")
		})
	}
}

func TestOneWayLossShowsAsDeaf(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	l.linkState(nodes[0], "dr2", 0, LinkUp)
	l.mu.Lock()
	l.cut[fmt.Sprint("dr1", "dr2", uint8(0))] = true // dr1 hears, but is not heard
	l.mu.Unlock()
	l.linkState(nodes[0], "dr2", 0, LinkDeaf)
	l.linkState(nodes[1], "dr1", 0, LinkDown)
	l.exchange(nodes[1], nodes[0], 9, "link 1") // and still hears
}

func TestRejoinAfterAHealedPartition(t *testing.T) {
	l := newLab(t, 2, 2)
	nodes := l.all()
	for link := range 2 {
		l.pull(link, true)
	}
	l.membership(nodes[0], "dr2", Lost)
	l.membership(nodes[1], "dr1", Lost)
	// So long that memberlist has told everything, and nobody listened.
	l.linkState(nodes[0], "dr2", 0, LinkDown)
	for link := range 2 {
		l.pull(link, false)
	}
	l.membership(nodes[0], "dr2", Member)
	l.membership(nodes[1], "dr1", Member)
	l.exchange(nodes[0], nodes[1], 5, "link 1", "link 2")
}

func TestLeaveIsNotACrash(t *testing.T) {
	l := newLab(t, 3, 1)
	nodes := l.all()
	if err := nodes[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.membership(nodes[0], "dr2", Left)
	l.exchange(nodes[1], nodes[0], 4, "link 1") // the last words still arrive
	l.end(nodes[1])
	l.end(nodes[2])
	l.membership(nodes[0], "dr3", Lost)
	l.membership(nodes[0], "dr2", Left)

	// Both come back.
	for i := 1; i <= 2; i++ {
		s := l.settings(i)
		s.Incarnation, s.Digest = 2, "new"
		c := l.open(s)
		l.membership(nodes[0], s.Self, Member)
		l.membership(c, "dr1", Member)
		l.until("its data are new", func() bool { p := l.peer(nodes[0], s.Self); return p.Incarnation == 2 && p.Digest == "new" })
		l.exchange(c, nodes[0], uint64(10+i), "link 1")
		l.exchange(nodes[0], c, uint64(20+i), "link 1")
	}
}

func TestDigestIsExchanged(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	if err := nodes[1].SetDigest("another"); err != nil {
		t.Fatal(err)
	}
	l.until("the new digest arrives", func() bool { return l.peer(nodes[0], "dr2").Digest == "another" })
	select {
	case <-nodes[0].Changed():
	case <-time.After(patience):
		t.Error("nobody was poked")
	}
	l.end(nodes[1])
	if err := nodes[1].SetDigest("late"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestWrongKeyIsRefusedAndSaid(t *testing.T) {
	l := newLab(t, 2, 1)
	one := l.open(l.settings(0))
	s := l.settings(1)
	s.Keys = []Key{{1, 2, 3}}
	two := l.open(s)
	l.said("dr1", `refused "dr2" at `+l.nodes[1].Links[0].String()+": sealed with a key that is not among the key files here")
	l.said("dr2", `refused "dr1"`)
	l.until("dr1 counts them", func() bool { return one.Stats().UnknownKey >= 3 })
	if err := two.Send("dr1", message("dr2", 1)); err != nil {
		t.Fatal(err)
	}
	if p := l.peer(one, "dr2"); p.Membership != Absent || p.Links[0].State != LinkDown {
		t.Errorf("got %+v", p)
	}
	select {
	case r := <-one.Received():
		t.Errorf("received %+v", r)
	default:
	}
	// Its streams are refused as well.
	if conn, err := two.net.dial(two.net.peers["dr1"], patience); err == nil {
		_ = conn.Close()
		t.Error("a stream with the wrong key was answered")
	}
	l.said("dr1", `refused: stream of "dr2"`)
}

func TestKeysRotate(t *testing.T) {
	l := newLab(t, 2, 1)
	older, newer := l.key, Key{9}
	nodes := l.all()
	// In three rounds, one node after the other, and always both talk.
	incarnation := uint64(1)
	for _, keys := range [][]Key{{older, newer}, {newer, older}, {newer}} {
		incarnation++
		for i := range nodes {
			l.end(nodes[i])
			s := l.settings(i)
			s.Keys, s.Incarnation = keys, incarnation
			nodes[i] = l.open(s)
			for k := range nodes {
				l.membership(nodes[k], l.nodes[1-k].Name, Member)
			}
			l.exchange(nodes[0], nodes[1], incarnation*10+uint64(i), "link 1")
			l.exchange(nodes[1], nodes[0], incarnation*10+uint64(i), "link 1")
		}
	}
	if nodes[0].Stats().UnknownKey+nodes[1].Stats().UnknownKey > 0 {
		t.Error("a key was unknown on the way")
	}
}

func TestIPv6AndIPv4Mapped(t *testing.T) {
	l := newLab(t, 2, 1)
	for i := range l.nodes {
		four := l.nodes[i].Links[0]
		l.nodes[i].Links = []netip.AddrPort{
			freeAt(t, netip.IPv6Loopback()), netip.AddrPortFrom(netip.AddrFrom16(four.Addr().As16()), four.Port()),
		}
	}
	nodes := l.all()
	l.exchange(nodes[0], nodes[1], 1, "link 1", "link 2")
	l.exchange(nodes[1], nodes[0], 2, "link 1", "link 2")
}

// pair is the network of two nodes, and nothing that runs by itself.
func (l *lab) pair() [2]*network {
	l.t.Helper()
	var nets [2]*network
	for i := range nets {
		s := l.settings(i)
		tell := newTeller(s.Log)
		n, err := newNetwork(s, tell)
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { n.close(); tell.close() })
		nets[i] = n
	}
	return nets
}

// next is the next packet that came to a network which nothing reads.
func (l *lab) next(n *network) (data []byte, from netip.AddrPort) {
	l.t.Helper()
	if err := n.paths[0].link.(*udpLink).conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		l.t.Fatal(err)
	}
	buffer := make([]byte, 64<<10)
	size, from, err := n.paths[0].link.Receive(buffer)
	if err != nil {
		l.t.Fatalf("%s was told nothing: %v", n.self, err)
	}
	return buffer[:size], from
}

// believe tells whether both hear each other.
func believe(nets [2]*network) bool {
	return nets[0].links(nets[0].peers["dr2"])[0].State == LinkUp && nets[1].links(nets[1].peers["dr1"])[0].State == LinkUp
}

// Whoever is answered answers: nobody waits for the next hello to be believed.
func TestOneHelloIsEnough(t *testing.T) {
	l := newLab(t, 2, 1)
	nets := l.pair()
	for _, n := range nets {
		n.tasks.Go(func() { n.receive(n.paths[0]) })
	}
	nets[0].hello(nets[0].peers["dr2"], 0)
	l.until("both believe each other", func() bool { return believe(nets) })
}

// TestHellosThatCross: two nodes that greet each other at the same time, each time,
// believe each other all the same.
func TestHellosThatCross(t *testing.T) {
	l := newLab(t, 2, 1)
	nets := l.pair()
	others := [2]*peer{nets[0].peers["dr2"], nets[1].peers["dr1"]}
	sent := [2]time.Time{}
	for i, n := range nets {
		sent[i] = time.Now()
		n.hello(others[i], 0)
	}
	for i, n := range nets { // as if there had been no time in between
		data, from := l.next(n)
		n.take(n.paths[0], data, from, sent[i])
	}
	for _, n := range nets {
		data, from := l.next(n) // the answer
		n.take(n.paths[0], data, from, time.Now())
	}
	for i, n := range nets {
		if !others[i].fresh.known {
			t.Errorf("%s does not believe the other", n.self)
		}
	}
}

// TestALinkFollowsItsInterface: the sockets of a link-local address belong to an interface,
// which may come after the start, and be replaced. Loopback addresses stand for it here.
func TestALinkFollowsItsInterface(t *testing.T) {
	here := netip.AddrPortFrom(netip.IPv6Loopback(), freeAt(t, netip.IPv6Loopback()).Port())
	index := 0
	z := newZoned(here, map[string]netip.AddrPort{"dr1": here})
	z.index = func(string) int { return index }
	t.Cleanup(func() { _ = z.Close() })
	packets, streams, ended := make(chan string), make(chan net.Conn), make(chan error, 2)
	go func() {
		buffer := make([]byte, 64)
		for {
			n, _, err := z.Receive(buffer)
			if err != nil {
				ended <- err
				return
			}
			packets <- string(buffer[:n])
		}
	}()
	go func() {
		for {
			conn, err := z.Accept()
			if err != nil {
				ended <- err
				return
			}
			streams <- conn
		}
	}()
	if err := z.look(t.Context()); err != nil {
		t.Fatalf("an interface that is missing: %v", err)
	}
	if err := z.Send("dr1", []byte("x")); err == nil {
		t.Error("sent without an interface")
	}
	for _, index = range []int{1, 2, 0, 1} { // it comes, is another, goes, and comes back
		// The sockets before are closed when nobody reads them any more.
		(&lab{t: t}).until("it is looked at", func() bool { return z.look(t.Context()) == nil })
		if z.bound != index {
			t.Errorf("bound to interface %d, want %d", z.bound, index)
		}
		if index == 0 {
			continue
		}
		text := fmt.Sprint("by interface ", index)
		if err := z.Send("dr1", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := <-packets; got != text {
			t.Errorf("received %q, want %q", got, text)
		}
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", here.String())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []net.Conn{conn, <-streams} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = z.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the end: %v", err)
		}
	}
}

// TestWhoCannotBeSentToIsLost: the own interface is down, so that nothing can even be
// sent. That is no reason to believe that the others are still there.
func TestWhoCannotBeSentToIsLost(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	if err := nodes[0].net.paths[0].link.Close(); err != nil {
		t.Fatal(err)
	}
	l.until("nothing can be sent", func() bool { return nodes[0].Send("dr2", message("dr1", 1)) != nil })
	l.membership(nodes[0], "dr2", Lost)
	l.membership(nodes[1], "dr1", Lost)
}
