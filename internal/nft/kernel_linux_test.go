package nft

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/nft/nstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ports(protocol Protocol, virtual, server string) Rule {
	return Rule{Protocol: protocol, Virtual: netip.MustParseAddrPort(virtual), Real: netip.MustParseAddrPort(server)}
}

func marks(mark uint32, server string) Rule {
	return Rule{Mark: mark, Real: netip.AddrPortFrom(netip.MustParseAddr(server), 0)}
}

// onHost runs the test's body on a host of its own.
func onHost(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	nstest.New(t, "director").Do(func() { body(t) })
}

func mustSet(t *testing.T, rules ...Rule) {
	t.Helper()
	if err := Set(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
}

func mustRules(t *testing.T) []Rule {
	t.Helper()
	rules, err := Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func sameRules(t *testing.T, got, want []Rule) {
	t.Helper()
	text := func(rules []Rule) (all []string) {
		for _, r := range rules {
			all = append(all, r.String())
		}
		return all
	}
	if d := cmp.Diff(text(want), text(got)); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}
}

// all forms and families.
func everyForm() []Rule {
	return []Rule{
		ports(TCP, "192.0.2.1:80", "10.0.0.1:8080"),
		ports(UDP, "192.0.2.1:80", "10.0.0.1:8080"),
		ports(SCTP, "192.0.2.1:80", "10.0.0.1:8080"),
		ports(TCP, "192.0.2.2:0", "10.0.0.1:0"),
		marks(7, "10.0.0.1"),
		marks(0xfffffffe, "10.0.0.2"),
		ports(TCP, "[2001:db8::1]:443", "[fd00::1]:8443"),
		ports(UDP, "[2001:db8::1]:0", "[fd00::1]:0"),
		marks(7, "fd00::1"),
	}
}

func TestSetReadsBack(t *testing.T) {
	onHost(t, func(t *testing.T) {
		want := everyForm()
		slices.SortFunc(want, less)
		for _, step := range [][]Rule{want, want[:4], want[3:], want[1:2], nil, want, want[8:]} {
			mustSet(t, step...)
			sameRules(t, mustRules(t), step)
		}
		if err := Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		sameRules(t, mustRules(t), nil)
		if tables := tables(t); len(tables) != 0 {
			t.Errorf("tables after Clear: %v", tables)
		}
	})
}

func tables(t *testing.T) (names []string) {
	t.Helper()
	all, err := (&nftables.Conn{}).ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		names = append(names, l.Name)
	}
	return names
}

// TestCanonical: two ways to write a rule are one, and what cannot be is refused.
func TestCanonical(t *testing.T) {
	onHost(t, func(t *testing.T) {
		mustSet(t, ports(TCP, "[::ffff:192.0.2.1]:80", "10.0.0.1:8080"), ports(TCP, "192.0.2.1:80", "[::ffff:10.0.0.1]:8080"),
			Rule{Mark: 5, Protocol: TCP, Real: netip.MustParseAddrPort("10.0.0.1:99")}, marks(5, "10.0.0.1"))
		sameRules(t, mustRules(t), []Rule{ports(TCP, "192.0.2.1:80", "10.0.0.1:8080"), marks(5, "10.0.0.1")})
	})
	for name, test := range map[string]struct {
		rule Rule
		want string
	}{
		"protocol":     {ports("icmp", "192.0.2.1:80", "10.0.0.1:80"), `"icmp" is not tcp, udp or sctp`},
		"families":     {ports(TCP, "192.0.2.1:80", "[fd00::1]:80"), "different families"},
		"no real":      {Rule{Protocol: TCP, Virtual: netip.MustParseAddrPort("192.0.2.1:80")}, "real server: there is no address"},
		"no virtual":   {Rule{Protocol: TCP, Real: netip.MustParseAddrPort("192.0.2.1:80")}, "virtual service: there is no address"},
		"any address":  {ports(TCP, "0.0.0.0:80", "10.0.0.1:80"), "0.0.0.0 is no address of one machine"},
		"zone":         {ports(TCP, "[fe80::1%eth0]:80", "[fd00::1]:80"), "zone"},
		"one port":     {ports(TCP, "192.0.2.1:0", "10.0.0.1:80"), "both ports are 0, or none"},
		"mark and vip": {Rule{Mark: 1, Virtual: netip.MustParseAddrPort("192.0.2.1:80"), Real: netip.MustParseAddrPort("10.0.0.1:0")}, "no virtual address"},
	} {
		if err := Set(t.Context(), []Rule{test.rule}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
	}
}

// changes counts the transactions that the kernel reports while do runs.
func changes(t *testing.T, do func()) int {
	t.Helper()
	before := generation(t)
	do()
	return int(generation(t) - before)
}

// generation is the number of the ruleset, counted up by every batch that is
// committed (NFTA_GEN_ID).
func generation(t *testing.T) uint32 {
	t.Helper()
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	replies, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil || len(replies) != 1 {
		t.Fatalf("generation: %v, %v", replies, err)
	}
	attributes, err := netlink.NewAttributeDecoder(replies[0].Data[4:])
	if err != nil {
		t.Fatal(err)
	}
	attributes.ByteOrder = binary.BigEndian
	for attributes.Next() {
		if attributes.Type() == unix.NFTA_GEN_ID {
			return attributes.Uint32()
		}
	}
	t.Fatal("no generation")
	return 0
}

func TestSetIsIdempotentAndAtomic(t *testing.T) {
	onHost(t, func(t *testing.T) {
		rules := everyForm()
		if n := changes(t, func() { mustSet(t, rules...) }); n != 1 {
			t.Errorf("building both tables took %d steps, want 1", n)
		}
		slices.Reverse(rules)
		if n := changes(t, func() { mustSet(t, rules...) }); n != 0 {
			t.Errorf("the same rules again took %d steps, want none", n)
		}
		if n := changes(t, func() { mustSet(t, append(rules[:5:5], ports(TCP, "192.0.2.9:9", "10.0.0.9:9"))...) }); n != 1 {
			t.Errorf("a change took %d steps, want 1", n)
		}
	})
}

// TestRepair: whatever is done to our tables, the next Set mends.
func TestRepair(t *testing.T) {
	rules := everyForm()
	slices.SortFunc(rules, less)
	v4 := families()[0]
	groups := groupsOf(v4, rules)
	for name, spoil := range map[string]func(c *nftables.Conn){
		"nothing":       func(*nftables.Conn) {},
		"table gone":    func(c *nftables.Conn) { c.DelTable(v4.table) },
		"rules flushed": func(c *nftables.Conn) { c.FlushTable(v4.table) },
		"set emptied":   func(c *nftables.Conn) { c.FlushSet(&nftables.Set{Table: v4.table, Name: "tcp-192.0.2.1-80"}) },
		"foreign element": func(c *nftables.Conn) {
			s, _ := v4.set(group{}, 0)
			_ = c.SetAddElements(s, []nftables.SetElement{{Key: key(marks(99, "10.9.9.9"))}})
		},
		"foreign rule": func(c *nftables.Conn) {
			c.InsertRule(&nftables.Rule{Table: v4.table, Chain: v4.chain(), Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
		},
		"other rules": func(c *nftables.Conn) {
			c.FlushTable(v4.table)
			for range groups {
				c.AddRule(&nftables.Rule{Table: v4.table, Chain: v4.chain(), Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
			}
		},
		"foreign chain": func(c *nftables.Conn) { c.AddChain(&nftables.Chain{Name: "other", Table: v4.table}) },
		"foreign set": func(c *nftables.Conn) {
			_ = c.AddSet(&nftables.Set{Table: v4.table, Name: "other", KeyType: nftables.TypeIPAddr}, nil)
		},
		"set of another name": func(c *nftables.Conn) {
			c.FlushChain(v4.chain())
			c.DelSet(&nftables.Set{Table: v4.table, Name: "marks"})
			_ = c.AddSet(&nftables.Set{Table: v4.table, Name: "ports", KeyType: nftables.TypeIPAddr}, nil)
			for _, g := range groups {
				c.AddRule(&nftables.Rule{Table: v4.table, Chain: v4.chain(), UserData: g.stamp()})
			}
		},
		"older stamps": func(c *nftables.Conn) {
			c.FlushChain(v4.chain())
			for _, g := range groups {
				c.AddRule(&nftables.Rule{Table: v4.table, Chain: v4.chain(), UserData: bytes.Replace(g.stamp(), []byte(" 2 "), []byte(" 1 "), 1)})
			}
		},
		"a stamp twice": func(c *nftables.Conn) {
			c.FlushChain(v4.chain())
			for range groups {
				c.AddRule(&nftables.Rule{Table: v4.table, Chain: v4.chain(), UserData: groups[0].stamp()})
			}
		},
		"other layout": func(c *nftables.Conn) {
			c.DelTable(v4.table)
			c.AddTable(v4.table)
			c.AddChain(v4.chain())
			for _, g := range groups {
				s := &nftables.Set{Table: v4.table, Name: g.name(), KeyType: nftables.TypeEtherAddr}
				_ = c.AddSet(s, nil)
				c.AddRule(&nftables.Rule{Table: v4.table, Chain: v4.chain(), UserData: g.stamp()})
			}
		},
		"chain without a hook": func(c *nftables.Conn) {
			c.DelTable(v4.table)
			c.AddTable(v4.table)
			c.AddChain(&nftables.Chain{Name: "postrouting", Table: v4.table})
		},
	} {
		t.Run(name, func(t *testing.T) {
			onHost(t, func(t *testing.T) {
				mustSet(t, rules...)
				c := &nftables.Conn{}
				spoil(c)
				if err := c.Flush(); err != nil {
					t.Fatal(err)
				}
				want := 1
				if name == "nothing" {
					want = 0
				}
				if n := changes(t, func() { mustSet(t, rules...) }); n != want {
					t.Errorf("mended in %d steps, want %d", n, want)
				}
				sameRules(t, mustRules(t), rules)
			})
		})
	}
}

func groupsOf(f family, rules []Rule) []group {
	set := map[Rule]bool{}
	for _, r := range rules {
		set[r] = true
	}
	return slices.SortedFunc(maps.Keys(wantedIn(f, set)), group.compare)
}

// TestGroupNames are read back, and none but ours.
func TestGroupNames(t *testing.T) {
	for i, f := range families() {
		for _, g := range groupsOf(f, everyForm()) {
			if got, known := f.groupNamed(g.name()); !known || got != g {
				t.Errorf("%s is %v, %v, want %v", g.name(), got, known, g)
			}
			other := families()[1-i]
			if _, known := other.groupNamed(g.name()); known && !g.ofMarks() {
				t.Errorf("%s is known in %s", g.name(), other)
			}
		}
		for _, name := range []string{
			"", "-", "tcp", "tcp-", "tcp--", "tcp-192.0.2.1", "tcp-192.0.2.1-", "tcp-192.0.2.1-65536", "tcp-192.0.2.1-080",
			"icmp-192.0.2.1-80", "tcp-2001-DB8--1-443", "tcp-2001-db8-0--1-443", "tcp--80", "ports", "hosts",
		} {
			if g, known := f.groupNamed(name); known {
				t.Errorf("%s: %q is %v", f, name, g)
			}
		}
	}
}

// TestOthersTables stay as they are, by name and by family.
func TestOthersTables(t *testing.T) {
	onHost(t, func(t *testing.T) {
		c := &nftables.Conn{}
		c.AddTable(&nftables.Table{Name: "filter", Family: nftables.TableFamilyIPv4})
		c.AddTable(&nftables.Table{Name: Table, Family: nftables.TableFamilyINet})
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		mustSet(t, everyForm()...)
		if err := Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := tables(t)
		slices.Sort(got)
		if d := cmp.Diff([]string{"filter", Table}, got); d != "" {
			t.Errorf("tables (-want +got):\n%s", d)
		}
	})
}

// TestThousands: a batch is larger than an attribute and than the system's
// buffers may be.
func TestThousands(t *testing.T) {
	var rules []Rule
	for i := range 10_000 {
		rules = append(rules, ports(TCP, "[2001:db8::1]:443", fmt.Sprintf("[fd00::%x]:%d", i+1, 1+i%60000)))
	}
	slices.SortFunc(rules, less)
	onHost(t, func(t *testing.T) {
		if n := changes(t, func() { mustSet(t, rules...) }); n != 1 {
			t.Errorf("%d rules took %d steps", len(rules), n)
		}
		sameRules(t, mustRules(t), rules)
		if n := changes(t, func() { mustSet(t, rules[5000:]...) }); n != 1 {
			t.Errorf("removing half took %d steps", n)
		}
		sameRules(t, mustRules(t), rules[5000:])
	})
}

// TestManyServices come and go, each with a set and a rule of its own.
func TestManyServices(t *testing.T) {
	var rules []Rule
	for i := range 1000 {
		virtual := fmt.Sprintf("[2001:db8::%x]:443", i+1)
		rules = append(rules, ports(TCP, virtual, "[fd00::1]:443"), ports(TCP, virtual, "[fd00::2]:443"))
	}
	slices.SortFunc(rules, less)
	onHost(t, func(t *testing.T) {
		for _, step := range [][]Rule{rules, rules[1001:], rules[:999], rules} {
			if n := changes(t, func() { mustSet(t, step...) }); n != 1 {
				t.Errorf("setting %d rules took %d steps, want 1", len(step), n)
			}
			sameRules(t, mustRules(t), step)
		}
	})
}

func TestPermission(t *testing.T) {
	onHost(t, func(t *testing.T) {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&header, &caps[0]); err != nil {
			t.Fatal(err)
		}
		caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN // of this thread, which ends with the test
		if err := unix.Capset(&header, &caps[0]); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"Set": Set(t.Context(), everyForm()), "Clear": Clear(t.Context()), "Rules": second(Rules(t.Context())),
		} {
			if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
				t.Errorf("%s: %v, want a lack of permission", name, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestExplain: one sentence for each thing that a kernel may lack.
func TestExplain(t *testing.T) {
	for _, e := range []unix.Errno{unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT} {
		if err := explain(t.Context(), os.NewSyscallError("socket", e)); !errors.Is(err, ErrNoKernel) || !strings.Contains(err.Error(), "modprobe") {
			t.Errorf("%v: %v", e, err)
		}
	}
	if err := explain(t.Context(), unix.ENOENT); errors.Is(err, ErrNoKernel) {
		t.Errorf("a thing that is gone meanwhile: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Set(ctx, everyForm()); !errors.Is(err, context.Canceled) {
		t.Errorf("Set: %v", err)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	if err := Clear(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Clear: %v", err)
	}
}

// A network is a client and a server with the director between them. The server
// has no way back to the client.
type network struct{ client, director, server *nstest.Host }

func newNetwork(t *testing.T) network {
	n := network{nstest.New(t, "client"), nstest.New(t, "director"), nstest.New(t, "server")}
	n.client.Cable("eth0", n.director, "eth0")
	n.director.Cable("eth1", n.server, "eth0")
	n.client.Address("eth0", "10.1.0.2/24", "fd01::2/64")
	n.director.Address("eth0", "10.1.0.1/24", "fd01::1/64", "10.1.0.100/32", "fd01::100/128")
	n.director.Address("eth1", "10.2.0.1/24", "fd02::1/64")
	n.server.Address("eth0", "10.2.0.2/24", "fd02::2/64")
	n.client.Route("0.0.0.0/0", "10.1.0.1")
	n.client.Route("::/0", "fd01::1")
	n.director.Sysctl("net/ipv4/ip_forward", "1")
	for _, device := range []string{"all", "eth0"} { // who has no way back drops what comes, otherwise
		n.server.Sysctl("net/ipv4/conf", device, "rp_filter", "0")
	}
	n.director.Sysctl("net/ipv6/conf/all/forwarding", "1")
	return n
}

// balance stands for IPVS: the director translates the virtual service's address
// to the server's, for all ports or for one.
func (n network) balance(t *testing.T, f family, virtual, to netip.AddrPort) {
	t.Helper()
	table := &nftables.Table{Name: "balance", Family: f.table.Family}
	chain := &nftables.Chain{
		Name: "prerouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
	}
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.table.Family), RegAddrMin: 1}
	exprs := []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: f.address.Bytes},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: virtual.Addr().AsSlice()},
		&expr.Immediate{Register: 1, Data: []byte{0, 0, 0, 7}}, // a mark, for the marked service
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
		&expr.Immediate{Register: 1, Data: to.Addr().AsSlice()},
	}
	if to.Port() != 0 {
		exprs = append(exprs, &expr.Immediate{Register: 2, Data: []byte{byte(to.Port() >> 8), byte(to.Port())}})
		nat.RegProtoMin, nat.Specified = 2, true
	}
	n.director.Do(func() {
		c := &nftables.Conn{}
		c.AddTable(table)
		c.AddChain(chain)
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(exprs, nat)})
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestPackets sends real ones: the server sees the director, and its answer comes
// back from the virtual address.
func TestPackets(t *testing.T) {
	v4, v6 := families()[0], families()[1]
	for name, test := range map[string]struct {
		family                 family
		network, virtual, real string
		// rule makes the rule of the server's real port.
		rule     func(virtual, server netip.AddrPort) Rule
		director string // what the server sees
	}{
		"tcp4":   {v4, "tcp", "10.1.0.100:80", "10.2.0.2", func(v, r netip.AddrPort) Rule { return Rule{Protocol: TCP, Virtual: v, Real: r} }, "10.2.0.1"},
		"tcp6":   {v6, "tcp", "[fd01::100]:80", "fd02::2", func(v, r netip.AddrPort) Rule { return Rule{Protocol: TCP, Virtual: v, Real: r} }, "fd02::1"},
		"udp4":   {v4, "udp", "10.1.0.100:80", "10.2.0.2", func(v, r netip.AddrPort) Rule { return Rule{Protocol: UDP, Virtual: v, Real: r} }, "10.2.0.1"},
		"udp6":   {v6, "udp", "[fd01::100]:80", "fd02::2", func(v, r netip.AddrPort) Rule { return Rule{Protocol: UDP, Virtual: v, Real: r} }, "fd02::1"},
		"ports4": {v4, "tcp", "10.1.0.100:0", "10.2.0.2", func(netip.AddrPort, netip.AddrPort) Rule { return ports(TCP, "10.1.0.100:0", "10.2.0.2:0") }, "10.2.0.1"},
		"ports6": {v6, "udp", "[fd01::100]:0", "fd02::2", func(netip.AddrPort, netip.AddrPort) Rule { return ports(UDP, "[fd01::100]:0", "[fd02::2]:0") }, "fd02::1"},
		"mark4":  {v4, "tcp", "10.1.0.100:80", "10.2.0.2", func(netip.AddrPort, netip.AddrPort) Rule { return markOf7("10.2.0.2") }, "10.2.0.1"},
		"mark6":  {v6, "udp", "[fd01::100]:80", "fd02::2", func(netip.AddrPort, netip.AddrPort) Rule { return markOf7("fd02::2") }, "fd02::1"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t)
			server := serve(t, n.server, test.network, test.real)
			virtual, to := netip.MustParseAddrPort(test.virtual), server.address
			if virtual.Port() == 0 { // a service of all ports
				n.balance(t, test.family, virtual, netip.AddrPortFrom(to.Addr(), 0))
				virtual = netip.AddrPortFrom(virtual.Addr(), to.Port())
			} else {
				n.balance(t, test.family, virtual, to)
			}
			n.director.Do(func() { mustSet(t, test.rule(virtual, to)) })
			for range 2 {
				n.ask(t, test.network, virtual)
				if got := server.client(t); got != netip.MustParseAddr(test.director) {
					t.Errorf("the server sees %s, want the director, %s", got, test.director)
				}
			}
		})
	}
}

// markOf7 is the mark that balance sets by its bytes.
func markOf7(server string) Rule {
	return marks(binary.NativeEndian.Uint32([]byte{0, 0, 0, 7}), server)
}

// TestOtherConnections to a real server keep their source: without the virtual
// service, from another address, port or protocol, and everything once the rules
// are gone.
func TestOtherConnections(t *testing.T) {
	n := newNetwork(t)
	server := serve(t, n.server, "udp", "10.2.0.2")
	client := netip.MustParseAddr("10.1.0.2")
	virtual := netip.MustParseAddrPort("10.1.0.100:80")
	sees := func(step string, to netip.AddrPort, want netip.Addr) {
		t.Helper()
		n.tell(t, to)
		if got := server.client(t); got != want {
			t.Errorf("%s: the server sees %s, want %s", step, got, want)
		}
	}
	n.balance(t, families()[0], virtual, server.address)
	sees("no rules", virtual, client)
	n.director.Do(func() {
		mustSet(t, Rule{Protocol: UDP, Virtual: virtual, Real: server.address}, ports(TCP, "10.1.0.100:81", "10.2.0.2:81"))
	})
	sees("virtual service", virtual, netip.MustParseAddr("10.2.0.1"))
	sees("straight to the server", server.address, client)
	sees("another port of the virtual address", netip.MustParseAddrPort("10.1.0.100:81"), client)
	n.director.Do(func() { mustSet(t, Rule{Protocol: TCP, Virtual: virtual, Real: server.address}) })
	sees("another protocol", virtual, client)
	otherAddress := netip.AddrPortFrom(netip.MustParseAddr("10.1.0.101"), server.address.Port())
	n.director.Do(func() {
		mustSet(t, Rule{Protocol: UDP, Virtual: otherAddress, Real: server.address}, ports(UDP, "10.1.0.101:0", "10.2.0.2:0"))
	})
	sees("straight to the server, at the virtual port", server.address, client)
	n.director.Do(func() {
		if err := Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	sees("cleared", virtual, client)
}

// A server answers every client and reports its address.
type server struct {
	address netip.AddrPort
	clients chan netip.Addr
}

func serve(t *testing.T, h *nstest.Host, network, address string) server {
	t.Helper()
	s := server{clients: make(chan netip.Addr, 10)}
	done := make(chan struct{})
	h.Do(func() {
		if network == "udp" {
			conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 0)))
			if err != nil {
				t.Fatal(err)
			}
			s.address = conn.LocalAddr().(*net.UDPAddr).AddrPort()
			t.Cleanup(func() { _ = conn.Close(); <-done })
			go func() { defer close(done); s.packets(conn) }()
			return
		}
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 0)))
		if err != nil {
			t.Fatal(err)
		}
		s.address = l.Addr().(*net.TCPAddr).AddrPort()
		t.Cleanup(func() { _ = l.Close(); <-done })
		go func() { defer close(done); s.connections(l) }()
	})
	return s
}

// client waits for the next one's address.
func (s server) client(t *testing.T) netip.Addr {
	t.Helper()
	select {
	case a := <-s.clients:
		return a
	case <-time.After(10 * time.Second):
		t.Fatal("nothing reaches the server")
		return netip.Addr{}
	}
}

func (s server) packets(conn *net.UDPConn) {
	buffer := make([]byte, 10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		s.clients <- from.Addr()
		_, _ = conn.WriteToUDPAddrPort(buffer[:n], from) // who has no way back gets none
	}
}

func (s server) connections(l *net.TCPListener) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return
		}
		s.clients <- conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		_, _ = conn.Write([]byte("hello"))
		_ = conn.Close()
	}
}

// ask sends something from a fresh port and waits for the answer.
func (n network) ask(t *testing.T, network string, to netip.AddrPort) {
	t.Helper()
	n.client.Do(func() {
		conn, err := net.DialTimeout(network, to.String(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if network == "udp" {
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
		answer := make([]byte, 5)
		if _, err := conn.Read(answer); err != nil || string(answer) != "hello" {
			t.Fatalf("answer %q, %v", answer, err)
		}
	})
}

// tell sends a packet from a fresh port, not waiting for any answer.
func (n network) tell(t *testing.T, to netip.AddrPort) {
	t.Helper()
	n.client.Do(func() {
		conn, err := net.Dial("udp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
	})
}
