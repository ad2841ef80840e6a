package heartbeat

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An air is a relay in memory between nodes, which records what it carries.
type air struct {
	mu    sync.Mutex
	nodes map[string]*airLink
	taped map[string][][]byte // by receiver
}

func newAir() *air { return &air{nodes: map[string]*airLink{}, taped: map[string][][]byte{}} }

type airLink struct {
	air    *air
	in     chan []byte
	closed chan struct{}
}

func (a *air) link(node string) *airLink {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := &airLink{air: a, in: make(chan []byte, 4096), closed: make(chan struct{})}
	a.nodes[node] = l
	return l
}

func (a *air) put(node string, packet []byte) {
	a.mu.Lock()
	l := a.nodes[node]
	a.mu.Unlock()
	if l == nil {
		return
	}
	select {
	case l.in <- packet:
	default:
	}
}

func (a *air) tape(node string) [][]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([][]byte(nil), a.taped[node]...)
}

func (l *airLink) Send(node string, packet []byte) error {
	copied := bytes.Clone(packet)
	l.air.mu.Lock()
	l.air.taped[node] = append(l.air.taped[node], copied)
	l.air.mu.Unlock()
	l.air.put(node, copied)
	return nil
}

func (l *airLink) Receive(packet []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-l.in:
		return copy(packet, p), netip.AddrPort{}, nil
	case <-l.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (l *airLink) Close() error {
	close(l.closed)
	return nil
}

func (l *lab) onAir(node int, a *air) Settings {
	s := l.settings(node)
	s.Relays = []Relay{{Name: "gateway", Link: a.link(s.Self)}}
	return s
}

func TestRelayCarriesWhenTheCableDoesNot(t *testing.T) {
	l := newLab(t, 2, 1)
	a := newAir()
	one, two := l.open(l.onAir(0, a)), l.open(l.onAir(1, a))
	l.membership(one, "dr2", Member)
	l.membership(two, "dr1", Member)
	l.exchange(one, two, 1, "link 1", "gateway")
	since := l.peer(one, "dr2").Since
	l.pull(0, true)
	l.linkState(one, "dr2", 0, LinkDown)
	l.linkState(one, "dr2", 1, LinkUp)
	l.exchange(one, two, 2, "gateway")
	if p := l.peer(one, "dr2"); p.Membership != Member || p.Since != since {
		t.Errorf("got %+v", p)
	}
}

func TestReplayedPacketsAreIgnored(t *testing.T) {
	l := newLab(t, 2, 1)
	a := newAir()
	one, two := l.open(l.onAir(0, a)), l.open(l.onAir(1, a))
	l.membership(one, "dr2", Member)
	l.membership(two, "dr1", Member)
	l.exchange(two, one, 1, "link 1", "gateway")

	// At once: the sequence numbers are known.
	before := one.Stats().Replayed
	tape := a.tape("dr1")
	for _, packet := range tape {
		a.put("dr1", packet)
	}
	l.until("the replayed packets are counted", func() bool { return one.Stats().Replayed > before })
	l.said("dr1", "a packet of dr2 came again over gateway")
	l.exchange(two, one, 2, "gateway") // still friends

	// To the next process, with the sender gone: they echo another's token.
	l.end(two)
	l.end(one)
	s := l.onAir(0, a)
	s.Incarnation = 2
	again := l.open(s)
	for _, packet := range tape {
		a.put("dr1", packet)
	}
	l.until("all are refused", func() bool { return again.Stats().Unproved >= uint64(len(tape)) })
	if p := l.peer(again, "dr2"); p.Membership != Absent || p.Links[1].State != LinkDown {
		t.Errorf("replayed packets made dr2 %+v", p)
	}
	select {
	case r := <-again.Received():
		t.Errorf("received %+v", r)
	default:
	}
}

func TestReplayAfterTheSendersRestart(t *testing.T) {
	l := newLab(t, 2, 1)
	a := newAir()
	one, two := l.open(l.onAir(0, a)), l.open(l.onAir(1, a))
	l.exchange(two, one, 1, "gateway")
	tape := a.tape("dr1")
	l.end(two)
	s := l.onAir(1, a)
	s.Incarnation = 2
	two = l.open(s)
	l.exchange(two, one, 2, "gateway")
	l.end(two) // even when nobody contradicts
	l.until("dr2 is silent", func() bool { return l.peer(one, "dr2").Links[1].State == LinkDown })
	drain(one)
	before := one.Stats().Unproved
	for _, packet := range tape {
		a.put("dr1", packet)
	}
	l.until("all are refused", func() bool { return one.Stats().Unproved >= before+uint64(len(tape)) })
	select {
	case r := <-one.Received():
		t.Errorf("received %+v", r)
	default:
	}
	if p := l.peer(one, "dr2"); p.Links[1].State != LinkDown {
		t.Errorf("got %+v", p)
	}
}

func drain(c *Cluster) {
	for {
		select {
		case <-c.Received():
		default:
			return
		}
	}
}

func TestForgedAndForeignPacketsAreRefused(t *testing.T) {
	l := newLab(t, 2, 1)
	a := newAir()
	one := l.open(l.onAir(0, a))
	other := frame{link: firstRelay, key: l.key.id(), session: session{5}, seq: 1, incarnation: 1}
	packet := func(from string, change func(*frame)) []byte {
		f := other
		f.from = from
		if change != nil {
			change(&f)
		}
		return f.seal(newSealer(l.key, f.session))
	}
	broken := packet("dr2", nil)
	broken[len(broken)-1] ^= 1
	for _, test := range []struct {
		name   string
		packet []byte
		count  func(Stats) uint64
		said   string
	}{
		{"noise", []byte("hello"), func(s Stats) uint64 { return s.Malformed }, "no packet of monitord"},
		{"a broken seal", broken, func(s Stats) uint64 { return s.Forged }, `refused "dr2"`},
		{"not in the list", packet("dr9", nil), func(s Stats) uint64 { return s.Strangers }, `refused "dr9" at invalid AddrPort: it is not in the list of nodes`},
		{"our own name", packet("dr1", nil), func(s Stats) uint64 { return s.Strangers }, "this node has that name: is it used twice?"},
		{"another link", packet("dr2", func(f *frame) { f.link = 0 }), func(s Stats) uint64 { return s.Strangers }, "do all nodes list their links in the same order?"},
		{"a proof of nothing", packet("dr2", nil), func(s Stats) uint64 { return s.Unproved }, ""},
	} {
		before := test.count(one.Stats())
		a.put("dr1", test.packet)
		l.until(test.name+" is counted", func() bool { return test.count(one.Stats()) > before })
		if test.said != "" {
			l.said("dr1", test.said)
		}
	}
	if p := l.peer(one, "dr2"); p.Membership != Absent || p.Links[1].State != LinkDown {
		t.Errorf("got %+v", p)
	}
}

func TestAVersionThatIsNotKnownIsSaid(t *testing.T) {
	l := newLab(t, 2, 1)
	a := newAir()
	one := l.open(l.onAir(0, a))
	f := frame{link: firstRelay, key: l.key.id(), from: "dr2", seq: 1}
	packet := f.seal(newSealer(l.key, f.session))
	packet[1] = 7
	a.put("dr1", packet)
	l.said("dr1", "packet of version 7, this monitord speaks 1")
	if one.Stats().Malformed != 1 {
		t.Errorf("got %+v", one.Stats())
	}
}

func TestANameUsedTwiceIsSaid(t *testing.T) {
	l := newLab(t, 2, 1)
	one := l.open(l.settings(0))
	s := l.settings(1)
	elsewhere := free(t)
	s.Nodes = []Node{l.nodes[0], {Name: "dr2", Links: []netip.AddrPort{elsewhere}}}
	impostor := l.open(s)
	l.said("dr1", `refused "dr2" at `+elsewhere.String()+": that is not its address on link 1: is a node's name used twice?")
	if err := impostor.Broadcast(message("dr2", 1)); err != nil {
		t.Error(err)
	}
	// The right one is not disturbed by it.
	two := l.open(l.settings(1))
	l.membership(one, "dr2", Member)
	l.exchange(two, one, 2, "link 1")
}

func TestAStreamThatIsPlayedAgainSaysNothing(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	one, two := nodes[0].net, nodes[1].net

	// Record what dr1 says to dr2, between the two.
	call := func(tape *bytes.Buffer) (net.Conn, error) {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.nodes[0].Links[0].Addr(), 0)), Timeout: patience}
		conn, err := dialer.DialContext(t.Context(), "tcp", l.nodes[1].Links[0].String())
		if err != nil {
			return nil, err
		}
		return &taped{conn, tape}, conn.SetDeadline(time.Now().Add(patience))
	}
	var tape bytes.Buffer
	conn, err := call(&tape)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{Conn: conn, n: one}
	if err := s.call(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("not what memberlist speaks")); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, s)
	_ = conn.Close()
	before := two.counts.forged.Load()

	// Another connection made another key: its first record is broken.
	again, err := call(&bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if _, err := again.Write(tape.Bytes()); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, again)
	if got := two.counts.forged.Load() - before; got != 1 {
		t.Errorf("%d forged records, want 1", got)
	}
	l.exchange(nodes[0], nodes[1], 3, "link 1")
}

type taped struct {
	net.Conn
	tape *bytes.Buffer
}

func (c *taped) Write(b []byte) (int, error) {
	c.tape.Write(b)
	return c.Conn.Write(b)
}

func TestFlushForgetsWhatWaits(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	l.exchange(nodes[0], nodes[1], 1, "link 1")
	if err := nodes[0].Send("dr2", message("dr1", 2)); err != nil {
		t.Fatal(err)
	}
	l.until("it waits", func() bool { return len(nodes[1].Received()) > 0 })
	nodes[1].Flush()
	if n := len(nodes[1].Received()); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	p := nodes[1].net.peers["dr1"]
	p.mu.Lock()
	if p.fresh.flushing <= 0 {
		t.Error("what waits in the sockets is not flushed")
	}
	p.mu.Unlock()
	l.exchange(nodes[0], nodes[1], 3, "link 1") // what comes later is there
}

func TestAMessageOfSomebodyElseIsRefused(t *testing.T) {
	l := newLab(t, 2, 1)
	nodes := l.all()
	if err := nodes[0].Send("dr2", message("dr2", 5)); err != nil {
		t.Fatal(err)
	}
	l.said("dr2", `refused a message of dr1: it says that "dr2" sent it`)
}

func TestOpenRefuses(t *testing.T) {
	taken := free(t)
	holder, err := net.ListenPacket("udp", taken.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close() }()
	good := func() Settings {
		return Settings{Self: "dr1", Keys: []Key{{1}}, Nodes: []Node{
			{Name: "dr1", Links: []netip.AddrPort{free(t)}}, {Name: "dr2", Links: []netip.AddrPort{free(t)}},
		}}
	}
	for name, test := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"no key":                {func(s *Settings) { s.Keys = nil }, "monitord keygen"},
		"not in the list":       {func(s *Settings) { s.Self = "dr3" }, `"dr3", is not in the list`},
		"a name twice":          {func(s *Settings) { s.Nodes[1].Name = "dr1" }, "node dr1 stands in the list twice"},
		"no name":               {func(s *Settings) { s.Nodes[1].Name = "" }, "1 to 64 bytes"},
		"a long name":           {func(s *Settings) { s.Nodes[1].Name = strings.Repeat("x", 65) }, "1 to 64 bytes"},
		"an address twice":      {func(s *Settings) { s.Nodes[1].Links = s.Nodes[0].Links }, "both have the address"},
		"no address":            {func(s *Settings) { s.Nodes[1].Links = []netip.AddrPort{{}} }, "node dr2 has no address"},
		"the wildcard":          {func(s *Settings) { s.Nodes[0].Links[0] = netip.MustParseAddrPort("0.0.0.0:7946") }, "no address that others can send to"},
		"port 0":                {func(s *Settings) { s.Nodes[0].Links[0] = netip.MustParseAddrPort("127.0.0.1:0") }, "no address that others can send to"},
		"a port that is in use": {func(s *Settings) { s.Nodes[0].Links[0] = taken }, "link 1 of dr1: listen udp " + taken.String() + ": bind: address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			test.change(&s)
			c, err := Open(s)
			if err == nil {
				_ = c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one about %q", err, test.want)
			}
		})
	}
}

// 192.0.2.0/24 is nobody's: the interface of the second link is missing.
func TestAnAddressThatIsNotThereYet(t *testing.T) {
	l := newLab(t, 2, 1)
	l.nodes[0].Links = append(l.nodes[0].Links, netip.MustParseAddrPort("192.0.2.1:7946"))
	l.nodes[1].Links = append(l.nodes[1].Links, netip.MustParseAddrPort("192.0.2.2:7946"))
	nodes := l.all()
	l.exchange(nodes[0], nodes[1], 1, "link 1")
	if p := l.peer(nodes[0], "dr2"); p.Links[1].State != LinkDown || p.Links[1].Heard >= 0 {
		t.Errorf("got %+v", p)
	}
}

func TestCloseTwiceAndLeaveAfterIt(t *testing.T) {
	l := newLab(t, 2, 1)
	c := l.open(l.settings(0))
	l.end(c)
	l.end(c)
	if err := c.Leave(t.Context()); err != nil {
		t.Errorf("leave after close: %v", err)
	}
	if err := c.Send("dr2", message("dr1", 1)); err == nil {
		t.Error("send after close: no error")
	}
	if _, err := c.net.dial(c.net.peers["dr2"], time.Second); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("dial after close: %v", err)
	}
}

// sealed is a packet of a node, as an earlier process of it may have sent it.
func (l *lab) sealed(f frame) []byte {
	f.key = l.key.id()
	return f.seal(newSealer(l.key, f.session))
}

// TestRecordedPacketsKeepNobodyApart: two nodes that do not know each other yet, and
// somebody who plays recorded packets of both, each time just before a real one.
func TestRecordedPacketsKeepNobodyApart(t *testing.T) {
	l := newLab(t, 2, 1)
	nets := l.pair()
	others := [2]*peer{nets[0].peers["dr2"], nets[1].peers["dr1"]}
	began := time.Now()
	for i, n := range nets {
		n.hello(others[i], 0)
	}
	for round := range 10 {
		at := began.Add(time.Duration(round) * 2 * answerEvery)
		for i, n := range nets {
			recorded := l.sealed(frame{session: session{7}, seq: uint64(round + 1), from: others[i].node.Name, mine: 7, echo: 7})
			n.take(n.paths[0], recorded, l.nodes[1-i].Links[0], at)
			data, from := l.next(n)
			n.take(n.paths[0], data, from, at)
		}
	}
	for i, n := range nets {
		if !others[i].fresh.known {
			t.Errorf("%s does not believe the other", n.self)
		}
	}
}

// TestRecordedPacketsAreNotAnswered: what was said before by a process that is heard
// needs no answer, however often somebody says it again.
func TestRecordedPacketsAreNotAnswered(t *testing.T) {
	l := newLab(t, 2, 1)
	n := l.pair()[0]
	answers := 0
	n.wire = func(string, uint8) bool {
		answers++
		return false
	}
	p := n.peers["dr2"]
	play := func(seq, echo uint64, after time.Duration) {
		n.take(n.paths[0], l.sealed(frame{session: session{2}, incarnation: 1, seq: seq, from: "dr2", mine: 3, echo: echo}), p.node.Links[0], n.began.Add(after))
	}
	play(1, 0, time.Second)
	if answers != 1 {
		t.Fatalf("%d answers to the first packet, want 1", answers)
	}
	play(2, p.fresh.token, 2*time.Second)
	if !p.fresh.known {
		t.Fatal("its proof is not believed")
	}
	before := answers
	for i := range 20 {
		play(1, 0, 3*time.Second+time.Duration(i)*2*answerEvery)
	}
	if answers != before {
		t.Errorf("%d answers to the first packet, played again", answers-before)
	}
	play(3, 0, 4*time.Second) // which is new, and needs to be told again
	if answers != before+1 {
		t.Errorf("%d answers to a new packet without proof, want 1", answers-before)
	}
}

// TestStrangersTakeNoPlace: who is no node connects, says nothing, and takes nobody's
// place: neither of the nodes that call, nor of those that are called.
func TestStrangersTakeNoPlace(t *testing.T) {
	l := newLab(t, 2, 1)
	nets := l.pair()
	for _, n := range nets {
		n.tasks.Go(func() { n.accept(n.paths[0]) })
		n.tasks.Go(func() {
			for {
				select {
				case conn := <-n.streams: // memberlist reads what they say
					n.tasks.Go(func() { _, _ = io.Copy(io.Discard, conn) })
				case <-n.ctx.Done():
					return
				}
			}
		})
	}
	for range 2 * maxStreams {
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", l.nodes[0].Links[0].String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	for i, n := range nets {
		other := l.nodes[1-i].Name
		conn, err := n.dial(n.peers[other], patience)
		if err != nil {
			t.Errorf("%s cannot call %s: %v", n.self, other, err)
			continue
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	l.said("dr1", "no node has that address on link 1")
}

// TestADocumentMayTakeItsTime: memberlist gives a caller a second. Who has proved that it
// has the key gets as long as a document may take, and no longer.
func TestADocumentMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		n := &network{conns: map[net.Conn]bool{}}
		random := make([]byte, 2*randomSize)
		caller := &stream{Conn: here, n: n, out: streamCipher(Key{1}, "to the called", random)}
		called := &stream{Conn: there, n: n, called: true, in: streamCipher(Key{1}, "to the called", random)}
		if err := called.SetDeadline(time.Now().Add(time.Second)); err != nil { // as memberlist does
			t.Fatal(err)
		}
		const parts = 8
		go func() {
			for range parts { // a slow network
				if _, err := caller.Write([]byte("part")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		began := time.Now()
		if _, err := io.ReadFull(called, make([]byte, parts*len("part"))); err != nil {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if _, err := called.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != streamTime {
			t.Errorf("who says no more is waited for: %v after %v", err, time.Since(began))
		}
		if err := errors.Join(caller.Close(), called.Close()); err != nil {
			t.Error(err)
		}
	})
}
