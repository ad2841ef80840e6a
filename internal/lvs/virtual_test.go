package lvs_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/plugin"
)

// lines are a virtual service, all servers in, as lines of ipvsadm -S.
func lines(t *testing.T, change func(*lvs.VirtualConfig)) string {
	t.Helper()
	c := config(func(c *lvs.VirtualConfig) { c.Real = []lvs.RealConfig{{Host: "10.0.0.2"}}; change(c); c.Start = "up" })
	v, err := c.Build(lvs.BackendKernel)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, l := range lvs.Changes(nil, lvs.Full([]lvs.Virtual{v})) {
		text = append(text, l.String())
	}
	return strings.Join(text, "\n")
}

func TestServicesOfTheKernel(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*lvs.VirtualConfig)
		want   string
	}{
		{"direct routing", func(*lvs.VirtualConfig) {}, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1"},
		{"NAT to another port", func(c *lvs.VirtualConfig) { c.Forward, c.Real[0].Port = "nat", 8080 }, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 1"},
		{"full NAT", func(c *lvs.VirtualConfig) { c.Forward = "fullnat" }, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1"},
		{"UDP, one packet", func(c *lvs.VirtualConfig) { c.Protocol, c.Flags = "udp", []string{"ops"} }, "-A -u 10.0.0.1:80 -s wlc -o\n-a -u 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1"},
		{"SCTP", func(c *lvs.VirtualConfig) { c.Protocol = "sctp" }, "-A --sctp-service 10.0.0.1:80 -s wlc\n-a --sctp-service 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1"},
		{"a firewall mark", func(c *lvs.VirtualConfig) { c.Address, c.FWMark = "", 9 }, "-A -f 9 -s wlc\n-a -f 9 -r 10.0.0.2:0 -g -w 1"},
		{"a firewall mark of IPv6", func(c *lvs.VirtualConfig) { c.Address, c.FWMark, c.Family, c.Real[0].Host = "", 9, "ipv6", "fd00::2" }, "-A -f 9 -6 -s wlc\n-a -f 9 -6 -r [fd00::2]:0 -g -w 1"},
		{"all ports", func(c *lvs.VirtualConfig) {
			c.Address, c.Persistence = "10.0.0.1:0", plugin.Duration(50*time.Second)
		}, "-A -t 10.0.0.1:0 -s wlc -p 50\n-a -t 10.0.0.1:0 -r 10.0.0.2:0 -g -w 1"},
		{"persistence of networks", func(c *lvs.VirtualConfig) {
			c.Persistence, c.PersistenceNetmask = plugin.Duration(time.Minute), "255.255.254.0"
		}, "-A -t 10.0.0.1:80 -s wlc -p 60 -M 255.255.254.0\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1"},
		{"the same as a prefix", func(c *lvs.VirtualConfig) {
			c.Persistence, c.PersistenceNetmask = plugin.Duration(time.Minute), "/24"
		}, "-A -t 10.0.0.1:80 -s wlc -p 60 -M 255.255.255.0\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1"},
		{"of IPv6", func(c *lvs.VirtualConfig) {
			c.Address, c.Real[0].Host = "[fd00::1]:80", "fd00::2"
			c.Persistence, c.PersistenceNetmask = plugin.Duration(time.Minute), "/64"
		}, "-A -t [fd00::1]:80 -s wlc -p 60 -M 64\n-a -t [fd00::1]:80 -r [fd00::2]:80 -g -w 1"},
		{"hashing flags", func(c *lvs.VirtualConfig) { c.Scheduler, c.Flags = "mh", []string{"mh-port", "mh-fallback"} }, "-A -t 10.0.0.1:80 -s mh -b mh-fallback,mh-port\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1"},
		{"thresholds", func(c *lvs.VirtualConfig) { c.Real[0].Upper, c.Real[0].Lower = 100, 80 }, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1 -x 100 -y 80"},
		{"a tunnel", func(c *lvs.VirtualConfig) { c.Forward = "tun" }, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1"},
		{"a tunnel to the other family", func(c *lvs.VirtualConfig) { c.Forward, c.Real[0].Host = "tun", "fd00::2" }, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r [fd00::2]:80 -i -w 1"},
		{"a tunnel over UDP", func(c *lvs.VirtualConfig) {
			c.Forward, c.Tunnel = "tun", &lvs.TunnelConfig{Type: "gue", Port: 6080, Checksum: "remcsum"}
		}, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum"},
		{"a tunnel of one server", func(c *lvs.VirtualConfig) {
			c.Real[0].Forward, c.Real[0].Tunnel = "tun", &lvs.TunnelConfig{Type: "gre"}
		}, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gre --tun-nocsum"},
		{"this machine", func(c *lvs.VirtualConfig) { c.Real[0].Host = "127.0.0.1" }, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 127.0.0.1:80 -g -w 1"},
		{"a range of real servers", func(c *lvs.VirtualConfig) { c.Real[0].Host = "10.0.0.9-10" }, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.9:80 -g -w 1\n-a -t 10.0.0.1:80 -r 10.0.0.10:80 -g -w 1"},
		{"a range of addresses", func(c *lvs.VirtualConfig) { c.Address = "10.0.1.255-10.0.2.0:80" }, "-A -t 10.0.1.255:80 -s wlc\n-a -t 10.0.1.255:80 -r 10.0.0.2:80 -g -w 1\n-A -t 10.0.2.0:80 -s wlc\n-a -t 10.0.2.0:80 -r 10.0.0.2:80 -g -w 1"},
		{"a range of IPv6", func(c *lvs.VirtualConfig) { c.Address, c.Real[0].Host = "[fd00::1-2]:80", "fd00::ff" }, "-A -t [fd00::1]:80 -s wlc\n-a -t [fd00::1]:80 -r [fd00::ff]:80 -g -w 1\n-A -t [fd00::2]:80 -s wlc\n-a -t [fd00::2]:80 -r [fd00::ff]:80 -g -w 1"},
	} {
		if diff := cmp.Diff(tt.want, lines(t, tt.change)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestEverySchedulerIsBuilt(t *testing.T) {
	if n := len(lvs.Schedulers()); n != 13 {
		t.Errorf("%d schedulers, want the kernel's 13", n)
	}
	for _, s := range lvs.Schedulers() {
		if got := lines(t, func(c *lvs.VirtualConfig) { c.Scheduler = string(s) }); !strings.Contains(got, " -s "+string(s)) {
			t.Errorf("%s: %s", s, got)
		}
	}
}

func TestBlamesOfTheKernel(t *testing.T) {
	seconds := func(n int) plugin.Duration { return plugin.Duration(time.Duration(n) * time.Second) }
	for _, tt := range []struct {
		change func(*lvs.VirtualConfig)
		want   string
	}{
		{func(c *lvs.VirtualConfig) { c.Real[0].Port = 8080 }, `real[0].port: forward = "dr" cannot change the port from 80 to 8080, because the server gets the packets as the client sent them: use "nat" or "fullnat" for that`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Host = "10.0.0.2:81" }, `real[0].host: forward = "dr" cannot change the port from 80 to 81, because the server gets the packets as the client sent them: use "nat" or "fullnat" for that`},
		{func(c *lvs.VirtualConfig) { c.Forward, c.Real[0].Port = "tun", 81 }, `real[0].port: forward = "tun" cannot change the port from 80 to 81, because the server gets the packets as the client sent them: use "nat" or "fullnat" for that`},
		{func(c *lvs.VirtualConfig) { c.Address, c.FWMark, c.Real[0].Port = "", 1, 81 }, `real[0].port: forward = "dr" cannot change the port to 81, because the server gets the packets as the client sent them: leave the port out, or use "nat" or "fullnat"`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Host = "fd00::2" }, `real[0].host: "fd00::2" and the virtual service's 10.0.0.1 are of two address families: only forward = "tun" can change from one to the other`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Host = "10.0.0.1" }, `real[0].host: "10.0.0.1" is the virtual service itself: its connections would come back to it`},
		{func(c *lvs.VirtualConfig) { c.Forward, c.Real[0].Host, c.Real[0].Port = "nat", "10.0.0.1", 81 }, `real[0].host: "10.0.0.1" is the virtual service's own address: write the real server's, or forward = "local" if this director serves it itself`},
		{func(c *lvs.VirtualConfig) { c.Address, c.Real[0].Host = "10.0.0.1-5:80", "10.0.0.3" }, `real[0].host: "10.0.0.3" is the virtual service itself: its connections would come back to it`},
		{func(c *lvs.VirtualConfig) { c.FWMark = 1 }, `fwmark: a virtual service has an address or a fwmark, not both`},
		{func(c *lvs.VirtualConfig) { c.Address, c.FWMark = "", -1 }, `fwmark: -1 is out of range: write 1 to 4294967295`},
		{func(c *lvs.VirtualConfig) { c.Family = "ipv6" }, `family: is for a virtual service by fwmark: an address tells its family itself`},
		{func(c *lvs.VirtualConfig) { c.Address, c.FWMark, c.Family = "", 1, "6" }, `family: "6" is not accepted: write "ipv4" or "ipv6"`},
		{func(c *lvs.VirtualConfig) { c.Address = "0.0.0.0:80" }, `address: "0.0.0.0:80": the kernel needs the address itself; only the relay can serve all of them`},
		{func(c *lvs.VirtualConfig) { c.Address = "10.0.0.9-1:80" }, `address: "10.0.0.9-1" is no range of addresses: 10.0.0.1 is not after 10.0.0.9`},
		{func(c *lvs.VirtualConfig) { c.Address = "10.0.0.1-10.9.0.1:80" }, `address: "10.0.0.1-10.9.0.1" is no range of addresses: "10.0.0.1-10.9.0.1" is a range of more than 4096 addresses`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Host = "10.0.0.1-300" }, `real[0].host: "10.0.0.1-300" is no range of addresses: ParseAddr("10.0.0.300"): IPv4 field has value >255`},
		{func(c *lvs.VirtualConfig) { c.Flags = []string{"sh-port"} }, `flags[0]: "sh-port" is for scheduler = "sh"`},
		{func(c *lvs.VirtualConfig) { c.Flags = []string{"op"} }, `flags[0]: "op" is not accepted: write "ops", "sh-fallback", "sh-port", "mh-fallback" or "mh-port"`},
		{func(c *lvs.VirtualConfig) { c.Flags = []string{"ops"} }, `flags[0]: "ops" is for protocol = "udp" or a fwmark`},
		{func(c *lvs.VirtualConfig) { c.Persistence = plugin.Duration(time.Millisecond) }, `persistence: 1ms is no number of whole seconds up to 31 days`},
		{func(c *lvs.VirtualConfig) { c.PersistenceNetmask = "/24" }, `persistence_netmask: is of no use without persistence`},
		{func(c *lvs.VirtualConfig) { c.Persistence, c.PersistenceNetmask = seconds(1), "255.0.255.0" }, `persistence_netmask: "255.0.255.0" is no netmask: write "255.255.255.0" or "/24", for IPv6 "/64"`},
		{func(c *lvs.VirtualConfig) { c.Persistence, c.PersistenceNetmask = seconds(1), "/33" }, `persistence_netmask: "/33" is no netmask: write "255.255.255.0" or "/24", for IPv6 "/64"`},
		{func(c *lvs.VirtualConfig) { c.Forward = "route" }, `forward: "route" is not accepted: write "dr", "nat", "tun", "local" or "fullnat"`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Forward = "masq" }, `real[0].forward: "masq" is not accepted: write "dr", "nat", "tun", "local" or "fullnat"`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Tunnel = &lvs.TunnelConfig{} }, `real[0].tunnel: is for forward = "tun", not "dr"`},
		{func(c *lvs.VirtualConfig) { c.Forward, c.Tunnel = "tun", &lvs.TunnelConfig{Type: "gue"} }, `tunnel.port: 0 is not a port: gue needs one from 1 to 65535, like 6080`},
		{func(c *lvs.VirtualConfig) { c.Forward, c.Tunnel = "tun", &lvs.TunnelConfig{Type: "gre", Port: 1} }, `tunnel.port: is for type = "gue", not "gre"`},
		{func(c *lvs.VirtualConfig) { c.Forward, c.Tunnel = "tun", &lvs.TunnelConfig{Checksum: "csum"} }, `tunnel.checksum: ipip has none: "csum" is for gue or gre`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Upper = -1 }, `real[0].upper: -1 is out of range: write 0 to 2147483647`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Lower = 5 }, `real[0].lower: 5 is not less than upper, 0`},
		{func(c *lvs.VirtualConfig) { c.Quorum = 0 }, `quorum: 0 is no weight that could be missing: write 1 or more`},
		{func(c *lvs.VirtualConfig) { c.Quorum = 3 }, `quorum: 3 can never be had: the weight of all real servers together is 2`},
		{func(c *lvs.VirtualConfig) { c.QuorumHysteresis = 1 }, `quorum_hysteresis: 1 is out of range: write 0 to 0, less than the quorum, or it is never lost`},
		{func(c *lvs.VirtualConfig) { c.Quorum, c.QuorumHysteresis = 2, 1 }, `quorum_hysteresis: 1 makes a quorum that was lost impossible to get back: the weight of all real servers together is 2`},
		{func(c *lvs.VirtualConfig) { c.Sorry, c.MinUp = &lvs.RealConfig{Host: "10.0.0.9"}, new(1) }, `min_up: 1 keeps a server in although it is down, so that the sorry server would not be used: write 0, or leave one of them out`},
		{func(c *lvs.VirtualConfig) { c.Sorry = &lvs.RealConfig{Host: "sorry.example"} }, `sorry.host: "sorry.example" is not an IP address: write the address itself, because the name server may be down when it is needed`},
		{func(c *lvs.VirtualConfig) { c.Sorry = &lvs.RealConfig{Host: "10.0.0.8-9"} }, `sorry.host: "10.0.0.8-9" is 2 servers: write one`},
		{func(c *lvs.VirtualConfig) { c.Sorry = &lvs.RealConfig{Host: "10.0.0.9", Weight: new(0)} }, `sorry.weight: a sorry server of weight 0 would get no connections`},
		{func(c *lvs.VirtualConfig) { c.Sorry = &lvs.RealConfig{Host: "10.0.0.2"} }, `sorry.host: "10.0.0.2" is a real server too: the sorry server is for when these are down`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Host = "0.0.0.0" }, `real[0].host: "0.0.0.0" is not the address of one machine`},
		{func(c *lvs.VirtualConfig) { c.Real[0].Host = "224.0.0.5" }, `real[0].host: "224.0.0.5" is not the address of one machine`},
		{func(c *lvs.VirtualConfig) {
			c.Address, c.Real = "[fd00::1]:80", []lvs.RealConfig{{Host: "fe80::1%br-lan"}}
		}, `real[0].host: "fe80::1%br-lan" has a zone, which the kernel's IPVS does not know: write a global address`},
		{func(c *lvs.VirtualConfig) {
			c.Address, c.Real = "[fe80::1%eth0]:80", []lvs.RealConfig{{Host: "fd00::1"}}
		}, `address: "fe80::1%eth0" has a zone, which the kernel's IPVS does not know: write a global address`},
		{func(c *lvs.VirtualConfig) { c.Address = "255.255.255.255:80" }, `address: "255.255.255.255" is not the address of one machine`},
		{func(c *lvs.VirtualConfig) { c.Sorry = &lvs.RealConfig{Host: "10.0.0.9:81"} }, `sorry.host: forward = "dr" cannot change the port from 80 to 81, because the server gets the packets as the client sent them: use "nat" or "fullnat" for that`},
	} {
		_, err := config(tt.change).Build(lvs.BackendKernel)
		if err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

// TestRelayBlames: what only the kernel can do is not silently left out.
func TestRelayBlames(t *testing.T) {
	const mend = `, the relay cannot: set [lvs] backend = "kernel", or leave it out`
	for _, tt := range []struct {
		change func(*lvs.VirtualConfig)
		want   string
	}{
		{func(c *lvs.VirtualConfig) { c.Protocol = "udp" }, `protocol: "udp" needs the kernel's IPVS` + mend},
		{func(c *lvs.VirtualConfig) { c.Address, c.FWMark = "", 1 }, `fwmark: this needs the kernel's IPVS` + mend},
		{func(c *lvs.VirtualConfig) { c.Scheduler = "sh" }, `scheduler: "sh" needs the kernel's IPVS` + mend},
		{func(c *lvs.VirtualConfig) { c.Persistence = plugin.Duration(time.Minute) }, `persistence: this needs the kernel's IPVS` + mend},
		{func(c *lvs.VirtualConfig) { c.Protocol, c.Flags = "udp", []string{"ops"} }, `protocol: "udp" needs the kernel's IPVS` + mend + "\n" + `flags: these need the kernel's IPVS` + mend},
		{func(c *lvs.VirtualConfig) { c.Real[1].Upper = 9 }, `real[1].upper: thresholds need the kernel's IPVS` + mend},
		{func(c *lvs.VirtualConfig) { c.Real[0].Host = "10.0.0.1" }, `real[0].host: "10.0.0.1" is the virtual service itself: its connections would come back to it`},
	} {
		_, err := config(tt.change).Build(lvs.BackendRelay)
		if err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
	v, err := config(func(c *lvs.VirtualConfig) { c.Forward, c.Real[0].Port = "dr", 8080 }).Build(lvs.BackendRelay)
	if err != nil || v.Reals[0].Forward != "" {
		t.Errorf("the relay's own way of forwarding: %q, %v", v.Reals[0].Forward, err)
	}
}

func TestSync(t *testing.T) {
	c := lvs.DefaultSyncConfig()
	c.Interface = "eth1"
	s, err := c.Build(lvs.BackendKernel)
	if err != nil || !s.Master || !s.Backup || s.Interface != "eth1" || s.SyncID != 1 || s.Group.String() != "224.0.0.81" || s.Port != 8848 || s.TTL != 1 {
		t.Errorf("defaults built %+v, %v", s, err)
	}
	c.Role = "backup"
	if s, err := c.Build(lvs.BackendKernel); err != nil || s.Master || !s.Backup {
		t.Errorf("backup built %+v, %v", s, err)
	}
	for _, tt := range []struct {
		change func(*lvs.SyncConfig)
		want   string
	}{
		{func(c *lvs.SyncConfig) { c.Role = "slave" }, `role: "slave" is not accepted: write "master", "backup" or "both"`},
		{func(c *lvs.SyncConfig) { c.Interface = "" }, `interface: "" is no interface's name: write one like "eth1"`},
		{func(c *lvs.SyncConfig) { c.SyncID = 256 }, `syncid: 256 is out of range: write 1 to 255`},
		{func(c *lvs.SyncConfig) { c.Group = "10.0.0.1" }, `group: "10.0.0.1" is no multicast address: write one like "224.0.0.81"`},
		{func(c *lvs.SyncConfig) { c.Port = 0 }, `port: 0 is out of range: write 1 to 65535`},
		{func(c *lvs.SyncConfig) { c.TTL = 0 }, `ttl: 0 is out of range: write 1 to 255`},
		{func(c *lvs.SyncConfig) { c.MaxLength = -1 }, `max_length: -1 is out of range: write 0 to 65535`},
	} {
		c := lvs.DefaultSyncConfig()
		c.Interface = "eth1"
		tt.change(&c)
		if _, err := c.Build(lvs.BackendKernel); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
	if _, err := c.Build(lvs.BackendRelay); err == nil || !strings.Contains(err.Error(), `needs [lvs] backend = "kernel"`) {
		t.Errorf("sync of the relay: %v", err)
	}
}

// TestChangesPutBeforeTaking: what is added or raised comes before what is taken
// out or lowered, over all services.
func TestChangesPutBeforeTaking(t *testing.T) {
	build := func(name, address string, hosts ...string) lvs.Virtual {
		v, err := config(func(c *lvs.VirtualConfig) {
			c.Name, c.Address, c.Real = name, address, nil
			for _, h := range hosts {
				c.Real = append(c.Real, lvs.RealConfig{Host: h})
			}
		}).Build(lvs.BackendKernel)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	from := lvs.Full([]lvs.Virtual{build("a", "10.0.0.1:80", "10.0.0.2"), build("gone", "10.0.0.1:25", "10.0.0.2")})
	to := lvs.Full([]lvs.Virtual{build("a", "10.0.0.1:80", "10.0.0.3"), build("new", "10.0.0.1:443", "10.0.0.2")})
	var got []string
	for _, c := range lvs.Changes(from, to) {
		got = append(got, c.String()[:2])
	}
	if want := []string{"-a", "-A", "-a", "-d", "-D"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}
