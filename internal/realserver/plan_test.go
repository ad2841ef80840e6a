package realserver

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/state"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func ips(list ...string) (all []netip.Addr) {
	for _, s := range list {
		all = append(all, ip(s))
	}
	return all
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		want   string // the entry, or a part of the error
	}{
		{"defaults", Config{VIPs: ips("10.0.0.10")}, "10.0.0.10 by dr on lo"},
		{"mapped", Config{VIPs: ips("::ffff:10.0.0.10")}, "10.0.0.10 by dr on lo"},
		{"dummy", Config{VIPs: ips("10.0.0.10"), Mode: DR, Device: "dummy0"}, "10.0.0.10 by dr on dummy0"},
		{"ipip", Config{VIPs: ips("10.0.0.10"), Mode: Tun}, "10.0.0.10 by tun (ipip) on tunl0"},
		{"IPv6 in IPv6", Config{VIPs: ips("fd00::10"), Mode: Tun}, "fd00::10 by tun (ipip) on ip6tnl0"},
		{"IPv6 in IPv4", Config{VIPs: ips("fd00::10"), Mode: Tun, Outer: 4}, "fd00::10 by tun (ipip) on sit0"},
		{"IPv4 in IPv6", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Outer: 6}, "take the tunnel type gre"},
		{"gue", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Tunnel: GUE, Port: 5555}, "10.0.0.10 by tun (gue) on tunl0"},
		{"gre", Config{VIPs: ips("fd00::10"), Mode: Tun, Tunnel: GRE, Outer: 4}, "fd00::10 by tun (gre) on gre0"},
		{"gre in IPv6", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Tunnel: GRE, Outer: 6}, "10.0.0.10 by tun (gre) on ip6gre0"},
		{"no port", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Tunnel: GUE}, "a UDP port belongs to the tunnel type gue"},
		{"port without gue", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Port: 1}, "a UDP port belongs to the tunnel type gue"},
		{"outer", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Outer: 5}, "take 4 or 6"},
		{"tunnel type", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Tunnel: "vxlan"}, "take ipip, gue or gre"},
		{"mode", Config{VIPs: ips("10.0.0.10"), Mode: "nat"}, "take dr or tun"},
		{"tunnel in dr", Config{VIPs: ips("10.0.0.10"), Tunnel: IPIP}, "mode dr has no tunnel"},
		{"device in tun", Config{VIPs: ips("10.0.0.10"), Mode: Tun, Device: "lo"}, "the tunnel's own device"},
		{"device is a path", Config{VIPs: ips("10.0.0.10"), Device: "../x"}, "not the name of a network device"},
		{"device is special", Config{VIPs: ips("10.0.0.10"), Via: []string{"all"}}, "not the name of a network device"},
		{"loopback", Config{VIPs: ips("127.0.0.2")}, "the unicast address that clients connect to"},
		{"multicast", Config{VIPs: ips("ff02::1")}, "the unicast address that clients connect to"},
		{"any", Config{VIPs: ips("::")}, "the unicast address that clients connect to"},
		{"broadcast", Config{VIPs: ips("255.255.255.255")}, "the unicast address that clients connect to"},
		{"link-local", Config{VIPs: ips("fe80::1%eth0")}, "cannot be shared"},
	} {
		got, err := c.config.entries()
		text := fmt.Sprint(err)
		if len(got) == 1 {
			text = got[0].String()
		}
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: %s, want %q", c.name, text, c.want)
		}
	}
}

// The maximum of the device's rp_filter and that of all counts, 1 is strict, 2
// loose.
func TestLoose(t *testing.T) {
	w := loose("tunl0")
	for _, c := range []struct {
		own, all string
		want     bool
	}{
		{"0", "0", true},
		{"0", "2", true},
		{"2", "0", true},
		{"2", "1", true},
		{"2", "2", true},
		{"0", "1", false},
		{"1", "0", false},
		{"1", "1", false},
		{"1", "2", false},
		{absent, "0", false},
	} {
		if got := w.accepts(c.own, c.all); got != c.want {
			t.Errorf("own %s, all %s: right %t, want %t", c.own, c.all, got, c.want)
		}
	}
}

// fake is a kernel in memory, with all tunnels or none.
type fake struct {
	mu     sync.Mutex // protects values and order
	values map[thing]string
	order  []string
	stuck  string // a device that comes with its module, and stays
}

func (f *fake) namespace() (string, error) { return "here", nil }

func (f *fake) read(_ context.Context, t thing) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if value, ok := f.values[t]; ok {
		return value, nil
	}
	switch t.Kind {
	case sysctl:
		return "0", nil
	case link:
		return down, nil
	case quiet:
		return "quiet", nil
	case elsewhere:
		return "", nil
	case address, tunnel, port:
	}
	return absent, nil
}

func (f *fake) write(_ context.Context, t thing, value string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = append(f.order, t.String()+" "+value)
	if t.Kind != tunnel || t.Device != f.stuck || value == present {
		f.values[t] = value
	}
	return nil
}

func TestTunnels(t *testing.T) {
	strict := thing{Kind: sysctl, Key: "net.ipv4.conf.all.rp_filter"}
	for _, c := range []struct {
		name     string
		config   Config
		up, down []string
	}{
		{
			"ipip",
			Config{VIPs: ips("10.0.0.10"), Mode: Tun},
			[]string{
				"tunnel device tunl0 present", "net.ipv4.conf.all.arp_ignore 1", "net.ipv4.conf.all.arp_announce 2",
				"net.ipv4.conf.tunl0.rp_filter 2", "device tunl0 up", "10.0.0.10/32 on tunl0 present",
			},
			[]string{
				"10.0.0.10/32 on tunl0 absent", "device tunl0 down", "net.ipv4.conf.all.arp_ignore 0",
				"net.ipv4.conf.all.arp_announce 0", "net.ipv4.conf.tunl0.rp_filter 0", "tunnel device tunl0 absent",
			},
		},
		{
			"gue, IPv6 in IPv6",
			Config{VIPs: ips("fd00::10"), Mode: Tun, Tunnel: GUE, Port: 5555},
			[]string{"tunnel device ip6tnl0 present", "GUE at UDP port 5555 (IPv6) present", "device ip6tnl0 up", "fd00::10/128 on ip6tnl0 present"},
			[]string{"fd00::10/128 on ip6tnl0 absent", "device ip6tnl0 down", "GUE at UDP port 5555 (IPv6) absent", "tunnel device ip6tnl0 absent"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &fake{values: map[thing]string{strict: "1"}}
			c.config.StateDir = t.TempDir()
			if _, err := upOn(t.Context(), k, c.config); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.up, k.order); diff != "" {
				t.Errorf("up did (-want +got):\n%s", diff)
			}
			if got, err := statusOn(t.Context(), k, c.config); err != nil || got.State != IsUp {
				t.Errorf("status %+v, %v", got, err)
			}
			k.order = nil
			if _, err := downOn(t.Context(), k, c.config); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.down, k.order); diff != "" {
				t.Errorf("down did (-want +got):\n%s", diff)
			}
		})
	}
}

// The device of a module that is loaded cannot be removed.
func TestModuleStays(t *testing.T) {
	k := &fake{values: map[thing]string{}, stuck: "tunl0"}
	c := Config{VIPs: ips("10.0.0.10"), Mode: Tun, StateDir: t.TempDir()}
	if _, err := upOn(t.Context(), k, c); err != nil {
		t.Fatal(err)
	}
	r, err := downOn(t.Context(), k, c)
	if err != nil || len(r.Left) != 1 || !strings.Contains(r.Left[0], "the module ipip, which stays loaded") {
		t.Errorf("down: %+v, %v", r, err)
	}
	if r, err = downOn(t.Context(), k, c); err != nil || r.Done != nil {
		t.Errorf("down once more: %+v, %v", r, err)
	}
}

// The units of many VIPs start at the same time.
func TestManyAtOnce(t *testing.T) {
	k := &fake{values: map[thing]string{}}
	dir := t.TempDir()
	const many = 8
	config := func(i int) Config {
		return Config{VIPs: ips(fmt.Sprintf("10.0.0.%d", 10+i)), StateDir: dir}
	}
	each := func(do func(context.Context, kernel, Config) (Report, error)) {
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				if _, err := do(t.Context(), k, config(i)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	each(upOn)
	if got, err := statusOn(t.Context(), k, Config{StateDir: dir}); err != nil || got.State != IsUp || len(got.VIPs) != many {
		t.Errorf("status %+v, %v, want %d up", got, err, many)
	}
	each(downOn)
	for thing, value := range k.values {
		if value != "0" && value != down && value != absent {
			t.Errorf("%s is still %s", thing, value)
		}
	}
}

// Who holds the memory and does not let go is named, when the time is over.
func TestMemoryHeld(t *testing.T) {
	k := &fake{values: map[thing]string{}}
	c := Config{VIPs: ips("10.0.0.10"), StateDir: t.TempDir()}
	held, err := state.Await(t.Context(), c.dir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := upOn(ctx, k, c); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("up: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := upOn(t.Context(), k, c); err != nil {
		t.Errorf("up after that: %v", err)
	}
}
