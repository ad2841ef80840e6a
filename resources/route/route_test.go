package route

import (
	"errors"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/resources"
)

func TestBuild(t *testing.T) {
	for _, c := range []struct {
		name      string
		config    Config
		key, want string // empty: it is accepted, as want
	}{
		{"a network", Config{To: "198.51.100.0/24", Via: "192.0.2.254"}, "", "route 198.51.100.0/24 via 192.0.2.254 table 254"},
		{"an address", Config{To: "198.51.100.1", Device: "eth0", Metric: 5}, "", "route 198.51.100.1/32 dev eth0 table 254 metric 5"},
		{"default", Config{To: "default", Via: "192.0.2.254", Source: "192.0.2.100", Table: 7}, "", "route default via 192.0.2.254 src 192.0.2.100 table 7"},
		{"default by its source", Config{To: "default", Device: "eth0", Source: "fd00::1"}, "", "route default dev eth0 src fd00::1 table 254 metric 1024"},
		{"IPv6", Config{To: "2001:db8::/32", Via: "fe80::1", Device: "eth0", OnLink: true}, "", "route 2001:db8::/32 via fe80::1 dev eth0 table 254 metric 1024"},
		{"nowhere", Config{Via: "192.0.2.254"}, "to", "missing"},
		{"default of nothing", Config{To: "default", Device: "eth0"}, "to", `"0.0.0.0/0" or "::/0"`},
		{"a name", Config{To: "there", Device: "eth0"}, "to", `"there" is no network`},
		{"an address of the network", Config{To: "198.51.100.1/24", Device: "eth0"}, "to", "198.51.100.0/24"},
		{"two families", Config{To: "198.51.100.0/24", Via: "fd00::1"}, "via", "another family"},
		{"another source", Config{To: "198.51.100.0/24", Device: "eth0", Source: "fd00::1"}, "source", "another family"},
		{"default of two families", Config{To: "default", Via: "192.0.2.254", Source: "fd00::1"}, "source", "another family than 0.0.0.0/0"},
		{"no gateway", Config{To: "198.51.100.0/24", Via: "gw"}, "via", `"gw" is no address`},
		{"everybody", Config{To: "198.51.100.0/24", Device: "eth0", Source: "0.0.0.0"}, "source", "no address of one machine"},
		{"no way", Config{To: "198.51.100.0/24"}, "device", "missing"},
		{"no device", Config{To: "198.51.100.0/24", Device: "eth0/1"}, "device", "ip link"},
		{"on which link", Config{To: "198.51.100.0/24", Via: "192.0.2.1", OnLink: true}, "onlink", "write via and device"},
		{"no table", Config{To: "198.51.100.0/24", Device: "eth0", Table: -1}, "table", "-1 is no table"},
		{"the kernel's table", Config{To: "198.51.100.0/24", Device: "eth0", Table: 255}, "table", "more than 255"},
		{"no metric", Config{To: "198.51.100.0/24", Device: "eth0", Metric: -1}, "metric", "out of range"},
	} {
		if c.config.Table == 0 {
			c.config.Table = resources.Defaults("route").(*Config).Table
		}
		r, err := build(c.config, resources.Site{})
		if c.key == "" {
			if err != nil || r.(*Route).route.String() != c.want {
				t.Errorf("%s: %+v, %v, want %s", c.name, r, err, c.want)
			}
			continue
		}
		key, ok := errors.AsType[*plugin.KeyError](err)
		if !ok || key.Key != c.key || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s: … %s", c.name, err, c.key, c.want)
		}
	}
}
