package nft

import (
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/kernellab"
)

// TestKernelFullNAT has IPVS itself forward: the real server, without a way back
// to the client, sees the director, and the client is answered by the virtual
// service.
func TestKernelFullNAT(t *testing.T) {
	kernellab.Require(t)
	for name, test := range map[string]struct {
		network, virtual, real, director string
		rule                             func(virtual, server netip.AddrPort) Rule
		mark                             uint32
	}{
		"tcp4":  {"tcp", "10.1.0.100:80", "10.2.0.2", "10.2.0.1", func(v, r netip.AddrPort) Rule { return Rule{Protocol: TCP, Virtual: v, Real: r} }, 0},
		"udp4":  {"udp", "10.1.0.100:80", "10.2.0.2", "10.2.0.1", func(v, r netip.AddrPort) Rule { return Rule{Protocol: UDP, Virtual: v, Real: r} }, 0},
		"tcp6":  {"tcp", "[fd01::100]:80", "fd02::2", "fd02::1", func(v, r netip.AddrPort) Rule { return Rule{Protocol: TCP, Virtual: v, Real: r} }, 0},
		"mark4": {"tcp", "10.1.0.100:80", "10.2.0.2", "10.2.0.1", func(_, r netip.AddrPort) Rule { return marks(0x07000007, r.Addr().String()) }, 0x07000007},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t)
			server := serve(t, n.server, test.network, test.real)
			virtual := netip.MustParseAddrPort(test.virtual)
			n.ipvs(t, test.network, virtual, server.address, test.mark)
			n.director.Sysctl("net/ipv4/vs/conntrack", "1")
			n.director.Do(func() { mustSet(t, test.rule(virtual, server.address)) })
			for range 2 {
				n.ask(t, test.network, virtual)
				if got := server.client(t); got != netip.MustParseAddr(test.director) {
					t.Errorf("the server sees %s, want the director, %s", got, test.director)
				}
			}
		})
	}
}

// ipvs makes a service of one real server, by NAT.
func (n network) ipvs(t *testing.T, transport string, virtual, to netip.AddrPort, mark uint32) {
	t.Helper()
	key := ipvs.AddressKey(map[string]ipvs.Protocol{"tcp": ipvs.TCP, "udp": ipvs.UDP}[transport], virtual)
	if mark != 0 {
		key = ipvs.MarkKey(mark, ipvs.INET)
		n.mark(t, virtual)
	}
	n.director.Do(func() {
		table, err := ipvs.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = table.Close() }()
		if err := table.AddService(t.Context(), ipvs.Service{Key: key, Scheduler: "rr"}); err != nil {
			t.Fatal(err)
		}
		if err := table.AddDestination(t.Context(), key, ipvs.Destination{Address: to, Forward: ipvs.Masq, Weight: 1}); err != nil {
			t.Fatal(err)
		}
	})
}

// mark puts 0x07000007, whose bytes are those of any order, on packets to a
// virtual address.
func (n network) mark(t *testing.T, virtual netip.AddrPort) {
	t.Helper()
	v4 := families()[0]
	table := &nftables.Table{Name: "mark", Family: v4.table.Family}
	chain := &nftables.Chain{
		Name: "prerouting", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
	}
	n.director.Do(func() {
		c := &nftables.Conn{}
		c.AddTable(table)
		c.AddChain(chain)
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: v4.offset, Len: v4.address.Bytes},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: virtual.Addr().AsSlice()},
			&expr.Immediate{Register: 1, Data: []byte{7, 0, 0, 7}},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
		}})
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	})
}
