package lvs_test

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/plugin"
)

func config(change func(*lvs.VirtualConfig)) lvs.VirtualConfig {
	c := lvs.DefaultVirtualConfig()
	c.Name, c.Address = "web", "10.0.0.1:80"
	c.Real = []lvs.RealConfig{{Host: "10.0.0.2"}, {Host: "web3"}}
	change(&c)
	return c
}

func TestBuildReals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		real   lvs.RealConfig
		target string
		weight int
	}{
		{"an address", lvs.RealConfig{Host: "10.0.0.2"}, "10.0.0.2:80", 1},
		{"with a port", lvs.RealConfig{Host: "10.0.0.2:8080"}, "10.0.0.2:8080", 1},
		{"port as a key", lvs.RealConfig{Host: "10.0.0.2", Port: 8080}, "10.0.0.2:8080", 1},
		{"the same port twice", lvs.RealConfig{Host: "10.0.0.2:81", Port: 81}, "10.0.0.2:81", 1},
		{"weight 0", lvs.RealConfig{Host: "10.0.0.2", Weight: new(0)}, "10.0.0.2:80", 0},
		{"the greatest weight", lvs.RealConfig{Host: "10.0.0.2", Weight: new(65535)}, "10.0.0.2:80", 65535},
		{"IPv6", lvs.RealConfig{Host: "2001:DB8::0:1"}, "[2001:db8::1]:80", 1},
		{"IPv6 in brackets", lvs.RealConfig{Host: "[2001:db8::1]"}, "[2001:db8::1]:80", 1},
		{"IPv6 with a port", lvs.RealConfig{Host: "[2001:db8::1]:8080"}, "[2001:db8::1]:8080", 1},
		{"IPv4 in IPv6", lvs.RealConfig{Host: "::ffff:10.0.0.2"}, "10.0.0.2:80", 1},
		{"link-local", lvs.RealConfig{Host: "fe80::1%eth0"}, "[fe80::1%eth0]:80", 1},
		{"a name", lvs.RealConfig{Host: "Web1.Example"}, "web1.example:80", 1},
		{"a name with a port", lvs.RealConfig{Host: "web1:8080"}, "web1:8080", 1},
	} {
		v, err := config(func(c *lvs.VirtualConfig) { c.Real, c.MinUp = []lvs.RealConfig{tt.real}, new(0) }).Build(lvs.BackendRelay)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		r := v.Reals[0]
		if r.Target() != tt.target || r.Weight != tt.weight || r.Host != tt.real.Host {
			t.Errorf("%s: %s, weight %d, host %s; want %s, %d, %s", tt.name, r.Target(), r.Weight, r.Host, tt.target, tt.weight, tt.real.Host)
		}
	}
}

func TestBuildBlames(t *testing.T) {
	for _, tt := range []struct {
		change func(*lvs.VirtualConfig)
		want   string
	}{
		{func(c *lvs.VirtualConfig) { c.Name = " " }, `name: a virtual service needs a name, by which the ipvs alerts find it`},
		{func(c *lvs.VirtualConfig) { c.Address = "" }, `address: a virtual service needs an address and a port, like "10.0.0.1:80"`},
		{func(c *lvs.VirtualConfig) { c.Address = "10.0.0.1" }, `address: "10.0.0.1" has no port: write "10.0.0.1:80"`},
		{func(c *lvs.VirtualConfig) { c.Address = "2001:db8::1" }, `address: "2001:db8::1" has no port: write "[2001:db8::1]:80"`},
		{func(c *lvs.VirtualConfig) { c.Address = ":80" }, `address: ":80" has no address: write "0.0.0.0:80" for every IPv4 address of this machine, or one of them`},
		{func(c *lvs.VirtualConfig) { c.Address = "10.0.0.1:0" }, `address: "10.0.0.1:0" has port 0, which is all ports: that needs persistence, like persistence = "300s"; or write the port that clients connect to`},
		{func(c *lvs.VirtualConfig) { c.Address = "10.0.0.1:http" }, `address: "10.0.0.1:http": "http" is not a port from 0 to 65535`},
		{func(c *lvs.VirtualConfig) { c.Address = "10.0.0.1:70000" }, `address: "10.0.0.1:70000": "70000" is not a port from 0 to 65535`},
		{func(c *lvs.VirtualConfig) { c.Address = "www:80" }, `address: "www" is not an IP address: write the address itself, like "10.0.0.1:80", because the name server may be down when it is needed`},
		{func(c *lvs.VirtualConfig) { c.Address = "224.0.0.18:80" }, `address: "224.0.0.18" is a multicast address: a virtual service needs a unicast address`},
		{func(c *lvs.VirtualConfig) { c.Address = "a:b:c" }, `address: "a:b:c" is not an address with a port: write it like "10.0.0.1:80" or "[2001:db8::1]:80"`},
		{func(c *lvs.VirtualConfig) { c.Protocol = "icmp" }, `protocol: "icmp" is not accepted: write "tcp", "udp" or "sctp"`},
		{func(c *lvs.VirtualConfig) { c.Scheduler = "wcl" }, `scheduler: "wcl" is not accepted: write "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo" or "ovf"`},
		{func(c *lvs.VirtualConfig) { c.OnFailure = "drop" }, `on_failure: "drop" is not accepted: write "remove" or "quiesce"`},
		{func(c *lvs.VirtualConfig) { c.Start = "in" }, `start: "in" is not accepted: write "down" or "up"`},
		{func(c *lvs.VirtualConfig) { c.Drain = "no" }, `drain: "no" is not accepted: write "drain" or "cut"`},
		{func(c *lvs.VirtualConfig) { c.DrainTimeout = 0 }, `drain_timeout: must be more than 0s; to end connections at once write drain = "cut"`},
		{func(c *lvs.VirtualConfig) { c.ConnectTimeout = 0 }, `connect_timeout: must be more than 0s`},
		{func(c *lvs.VirtualConfig) { c.MinUp = new(-1) }, `min_up: -1 is negative: write 0 to let the pool become empty`},
		{func(c *lvs.VirtualConfig) { c.MinUp = new(3) }, `min_up: 3 is more than the 2 real servers of weight 1 or more`},
		{func(c *lvs.VirtualConfig) { c.MinUp, c.Real[1].Weight = new(2), new(0) }, `min_up: 2 is more than the 1 real servers of weight 1 or more`},
		{func(c *lvs.VirtualConfig) { c.Real = nil }, `real: a virtual service needs at least one real server, like real = [{ host = "10.0.0.2" }]`},
		{func(c *lvs.VirtualConfig) { c.Real[1].Host = "" }, `real[1].host: "" is neither an address nor a name, with or without ":port"`},
		{func(c *lvs.VirtualConfig) { c.Real[1].Host = "10.0.0.300" }, `real[1].host: "10.0.0.300" is neither an address nor a name, with or without ":port"`},
		{func(c *lvs.VirtualConfig) { c.Real[1].Host = "web 1" }, `real[1].host: "web 1" is neither an address nor a name, with or without ":port"`},
		{func(c *lvs.VirtualConfig) { c.Real[1].Host = "1::2::3" }, `real[1].host: "1::2::3" is neither an address nor a name, with or without ":port"`},
		{func(c *lvs.VirtualConfig) { c.Real[1].Host = "web:x" }, `real[1].host: "web:x": "x" is not a port from 1 to 65535`},
		{func(c *lvs.VirtualConfig) { c.Real[1].Host = "10.0.0.2:80" }, `real[1].host: "10.0.0.2:80" is the same server as "10.0.0.2": 10.0.0.2:80`},
		{func(c *lvs.VirtualConfig) { c.Real[1].Port = -1 }, `real[1].port: -1 is out of range: write 1 to 65535`},
		{func(c *lvs.VirtualConfig) { c.Real[1] = lvs.RealConfig{Host: "a:80", Port: 81} }, `real[1].port: "a:80" has the port 80 already: write the port once`},
		{func(c *lvs.VirtualConfig) { c.Real[1].Weight = new(65536) }, `real[1].weight: 65536 is out of range: write 0 to 65535`},
		{func(c *lvs.VirtualConfig) { c.Real[1].Weight = new(-1) }, `real[1].weight: -1 is out of range: write 0 to 65535`},
		{func(c *lvs.VirtualConfig) { c.Scheduler, c.Real[0].Host = "x", "?" }, `scheduler: "x" is not accepted: write "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo" or "ovf"` + "\n" + `real[0].host: "?" is neither an address nor a name, with or without ":port"`},
	} {
		_, err := config(tt.change).Build(lvs.BackendRelay)
		if err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
			continue
		}
		if k, ok := errors.AsType[*plugin.KeyError](err); !ok || !strings.HasPrefix(tt.want, k.Key+": ") {
			t.Errorf("%v: no KeyError of that key in the chain", err)
		}
	}
}

func TestClash(t *testing.T) {
	build := func(name, address string) lvs.Virtual {
		v, err := config(func(c *lvs.VirtualConfig) { c.Name, c.Address = name, address }).Build(lvs.BackendRelay)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	there := []lvs.Virtual{build("web", "10.0.0.1:80"), build("mail", "[::1]:25")}
	for _, tt := range []struct {
		v    lvs.Virtual
		want string
	}{
		{build("web2", "10.0.0.1:81"), ""},
		{build("web", "10.0.0.1:81"), `name: there is another virtual service named "web"`},
		{build("www", "10.0.0.1:80"), `address: virtual service "web" has the address 10.0.0.1:80 already`},
		{build("smtp", "[0:0::1]:25"), `address: virtual service "mail" has the address [::1]:25 already`},
	} {
		got := ""
		if err := lvs.Clash(there, tt.v); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s at %s: %q, want %q", tt.v.Name, tt.v.IDs, got, tt.want)
		}
	}
}

func TestConfigBackend(t *testing.T) {
	if err := lvs.DefaultConfig().Check(); err != nil {
		t.Errorf("the default: %v", err)
	}
	err := func() error { c := lvs.DefaultConfig(); c.Backend = "ipvs"; return c.Check() }()
	if want := `backend: "ipvs" is not accepted: write "kernel", "relay" or "record"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestTOML: the tables decode as they are written in a site's file.
func TestTOML(t *testing.T) {
	c := lvs.DefaultVirtualConfig()
	meta, err := toml.Decode(`
		name = "web"
		address = "10.0.0.1:80"
		scheduler = "wrr"
		drain_timeout = "2m"
		real = [ { host = "10.0.0.2", weight = 0 }, { host = "10.0.0.3", port = 81 } ]`, &c)
	if err != nil || len(meta.Undecoded()) > 0 {
		t.Fatalf("%v, undecoded %v", err, meta.Undecoded())
	}
	got, err := c.Build(lvs.BackendRelay)
	if err != nil {
		t.Fatal(err)
	}
	want := lvs.Virtual{
		Name: "web", IDs: []lvs.ServiceID{{Protocol: lvs.TCP, Address: netip.MustParseAddrPort("10.0.0.1:80")}}, Scheduler: lvs.WeightedRoundRobin,
		Mask: 32, Quorum: 1,
		OnFailure: lvs.Remove, MinUp: 1, Start: lvs.StartDown, Drain: lvs.DrainSlowly, DrainTimeout: 120e9, ConnectTimeout: 3e9,
		Reals: []lvs.Real{
			{Host: "10.0.0.2", Address: netip.MustParseAddrPort("10.0.0.2:80"), Port: 80, Weight: 0},
			{Host: "10.0.0.3", Address: netip.MustParseAddrPort("10.0.0.3:81"), Port: 81, Weight: 1},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
}

// TestKeysAreDocumented: each key has a sentence for the reference manual.
func TestKeysAreDocumented(t *testing.T) {
	for _, c := range []any{lvs.Config{}, lvs.SyncConfig{}, lvs.VirtualConfig{}, lvs.RealConfig{}, lvs.TunnelConfig{}} {
		for f := range reflect.TypeOf(c).Fields() {
			if f.Tag.Get("toml") == "" || !strings.HasSuffix(f.Tag.Get("doc"), ".") {
				t.Errorf("%T.%s: toml %q, doc %q", c, f.Name, f.Tag.Get("toml"), f.Tag.Get("doc"))
			}
		}
	}
}

func FuzzBuild(f *testing.F) {
	for _, s := range []string{"10.0.0.1:80", "[::1]:80", "::1", "web", "web:80", ":80", "a:b:c", "[", "]", "[]:1", "1.2.3.4.", "%", "fe80::1%a:1"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, address, host string) {
		c := lvs.DefaultVirtualConfig()
		c.Name, c.Address, c.Real = "x", address, []lvs.RealConfig{{Host: host}}
		v, err := c.Build(lvs.BackendRelay)
		if err != nil {
			return
		}
		if a := v.IDs[0].Address; !a.IsValid() || a.Port() == 0 {
			t.Errorf("address %q built %v", address, a)
		}
		r := v.Reals[0]
		if r.Port == 0 || r.Address.IsValid() == (r.Name != "") {
			t.Errorf("host %q built %+v", host, r)
		}
	})
}
