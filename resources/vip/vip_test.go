package vip

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/resources"
)

func TestBuild(t *testing.T) {
	const minute = resources.Duration(time.Minute)
	for _, c := range []struct {
		name      string
		config    Config
		key, want string // empty: it is accepted, as want
	}{
		{"IPv4", Config{Address: "192.0.2.100", Lease: minute}, "", "192.0.2.100/32"},
		{"on its network", Config{Address: "192.0.2.100/24", Device: "eth0", Label: "eth0:web", Lease: minute}, "", "192.0.2.100/24"},
		{"a network of two", Config{Address: "192.0.2.100/31", Lease: minute}, "", "192.0.2.100/31"},
		{"IPv6", Config{Address: "2001:db8::100", Lease: minute}, "", "2001:db8::100/128"},
		{"IPv4 in IPv6", Config{Address: "::ffff:192.0.2.100", Lease: minute}, "", "192.0.2.100/32"},
		{"missing", Config{Lease: minute}, "address", "missing: write an address such as"},
		{"a name", Config{Address: "www.example.net", Lease: minute}, "address", `"www.example.net" is no address`},
		{"with a zone", Config{Address: "fe80::1%eth0", Lease: minute}, "address", "is no address"},
		{"every address", Config{Address: "0.0.0.0", Lease: minute}, "address", "cannot be one machine's"},
		{"loopback", Config{Address: "127.0.0.1/8", Lease: minute}, "address", "cannot be one machine's"},
		{"a group", Config{Address: "ff02::1", Lease: minute}, "address", "cannot be one machine's"},
		{"broadcast", Config{Address: "255.255.255.255", Lease: minute}, "address", "cannot be one machine's"},
		{"a whole network", Config{Address: "192.0.2.0/24", Lease: minute}, "address", "the network itself"},
		{"the network's broadcast", Config{Address: "192.0.2.127/25", Lease: minute}, "address", "the network itself or its broadcast"},
		{"the length of everything", Config{Address: "192.0.2.1/0", Lease: minute}, "address", "cannot be"},
		{"no lease", Config{Address: "192.0.2.1"}, "lease", `from "1s" to "1h"`},
		{"half seconds", Config{Address: "192.0.2.1", Lease: resources.Duration(1500 * time.Millisecond)}, "lease", "whole seconds"},
		{"for ever", Config{Address: "192.0.2.1", Lease: resources.Duration(2 * time.Hour)}, "lease", `"1h"`},
		{"no such name", Config{Address: "192.0.2.1", Device: "eth0/1", Lease: minute}, "device", `"ip link"`},
		{"lo", Config{Address: "192.0.2.1", Device: "lo", Lease: minute}, "device", "has neighbours"},
		{"too long a name", Config{Address: "192.0.2.1", Device: "abcdefghijklmnop", Lease: minute}, "device", "abcdefghijklmnop"},
		{"another's label", Config{Address: "192.0.2.1", Device: "eth0", Label: "eth1:1", Lease: minute}, "label", `"eth0:"`},
		{"too long a label", Config{Address: "192.0.2.1", Device: "eth0", Label: "eth0:12345678901", Lease: minute}, "label", "15"},
		{"a label alone", Config{Address: "192.0.2.1", Label: "eth0:1", Lease: minute}, "label", "needs a device"},
		{"a label for IPv6", Config{Address: "fd00::1", Device: "eth0", Label: "eth0:1", Lease: minute}, "label", "leave it out"},
	} {
		r, err := build(c.config, resources.Site{})
		if c.key == "" {
			if err != nil || r.(*Address).Prefix().String() != c.want || r.(*Address).Lease() != time.Minute {
				t.Errorf("%s: got %+v, %v, want %s", c.name, r, err, c.want)
			}
			continue
		}
		key, ok := errors.AsType[*plugin.KeyError](err)
		if !ok || key.Key != c.key || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s: … %s", c.name, err, c.key, c.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, ok := resources.Defaults("vip").(*Config)
	if !ok || c.Lease.Std() != time.Second {
		t.Errorf("defaults %+v", c)
	}
}
