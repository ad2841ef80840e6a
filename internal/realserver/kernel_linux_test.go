package realserver

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/kernellab"
)

// The neighbour sends what is for the VIP through a tunnel, as a director does,
// while the server's filter is strict; the server answers it directly.
func TestKernelRealServerTunnels(t *testing.T) {
	kernellab.Require(t)
	kernellab.Tools(t) // modprobe
	for _, c := range []struct {
		name   string
		config Config
		kind   string // of the neighbour's tunnel
		outer4 bool   // the tunnel is between the IPv4 addresses
	}{
		{"ipip", Config{VIPs: ips("10.0.0.10"), Mode: Tun}, "ipip", true},
		{"gre", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Tunnel: GRE}, "gre", true},
		{"gue", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Tunnel: GUE, Port: 5555}, "ipip", true},
		{"IPv6 in IPv4", Config{VIPs: ips("fd00::10"), Mode: Tun, Outer: 4}, "sit", true},
		{"IPv6 in IPv6", Config{VIPs: ips("fd00::10"), Mode: Tun}, "ip6tnl", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, neighbour := cabled(t)
			set(t, server, "net.ipv4.conf.all.rp_filter", "1")
			vip := c.config.VIPs[0]
			local, remote := ip("fd00::2"), ip("fd00::1")
			if c.outer4 {
				local, remote = ip("10.0.0.2"), ip("10.0.0.1")
			}
			c.config.StateDir = t.TempDir()

			// Once, so that what a module brings with it is there before.
			mustUp(t, server, c.config)
			mustDown(t, server, c.config)
			before := server.Snapshot()
			mustUp(t, server, c.config)
			if got := situation(t, server, c.config); got.State != IsUp {
				t.Errorf("status %+v", got)
			}
			if neighbour.Answers("eth0", vip, known(vip)) {
				t.Error("the server answers for the VIP")
			}
			neighbour.Encapsulate(c.kind, c.config.Port, local, remote, vip)
			if got, err := connect(t, server, neighbour, vip, time.Minute); err != nil || got != "here is "+vip.String() {
				t.Errorf("a connection through the tunnel: %q, %v", got, err)
			}
			if vip.Is4() && c.config.Tunnel == "" {
				set(t, server, "net.ipv4.conf.tunl0.rp_filter", "1")
				if got, err := connect(t, server, neighbour, vip, 3*time.Second); err == nil {
					t.Errorf("a connection in spite of a strict filter: %q", got)
				}
				set(t, server, "net.ipv4.conf.tunl0.rp_filter", "2")
			}
			mustDown(t, server, c.config)
			if diff := cmp.Diff(before, server.Snapshot()); diff != "" {
				t.Errorf("before and after (-before +after):\n%s", diff)
			}
		})
	}
}

// known is the server's own address of the VIP's kind.
func known(vip netip.Addr) netip.Addr {
	if vip.Is4() {
		return ip("10.0.0.1")
	}
	return ip("fd00::1")
}

// A server for which nothing was ever loaded: up loads it, and what it cannot take
// away again it says.
func TestKernelRealServerGUEInIPv6(t *testing.T) {
	kernellab.Require(t)
	kernellab.Tools(t)
	s, _ := cabled(t)
	c := Config{VIPs: ips("fd00::10", "fd00::11"), Mode: Tun, Tunnel: GUE, Port: 6080, StateDir: t.TempDir()}
	mustUp(t, s, c)
	if got := situation(t, s, c); got.State != IsUp {
		t.Errorf("status %+v", got)
	}
	s.Do(func(ctx context.Context) error {
		_, err := Down(ctx, Config{VIPs: c.VIPs[:1], StateDir: c.StateDir})
		return err
	})
	if got := situation(t, s, Config{StateDir: c.StateDir}); got.State != IsUp || len(got.VIPs) != 1 {
		t.Errorf("the other VIP: %+v", got)
	}
	mustDown(t, s, c)
	if got := situation(t, s, c); got.State != IsDown {
		t.Errorf("after down: %+v", got)
	}
}
