package realserver

import (
	"errors"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/resources"
)

func TestBuild(t *testing.T) {
	vip := []string{"192.0.2.100", "2001:db8::100"}
	for _, c := range []struct {
		name      string
		config    Config
		key, want string // both empty: it is accepted
	}{
		{"direct routing", Config{Address: vip, Mode: "dr"}, "", ""},
		{"on a dummy device", Config{Address: vip, Mode: "dr", Device: "dummy0", Via: []string{"eth1"}}, "", ""},
		{"a tunnel", Config{Address: vip, Mode: "tun", Tunnel: "gue", Port: 6080, Outer: 6}, "", "gre"},
		{"another tunnel", Config{Address: vip[1:], Mode: "tun", Outer: 4}, "", ""},
		{"no address", Config{Mode: "dr"}, "address", "missing"},
		{"a name", Config{Address: []string{"www"}, Mode: "dr"}, "address", `"www" is no address`},
		{"another mode", Config{Address: vip, Mode: "nat"}, "mode", `"dr" or "tun"`},
		{"no port", Config{Address: vip, Mode: "tun", Tunnel: "gue", Port: 65536}, "port", "out of range"},
		{"a tunnel in direct routing", Config{Address: vip, Mode: "dr", Tunnel: "gre"}, "", "has no tunnel"},
		{"loopback", Config{Address: []string{"127.0.0.1"}, Mode: "dr"}, "", "unicast"},
	} {
		_, err := build(c.config, resources.Site{StateDir: t.TempDir()})
		if c.key == "" && c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		key, _ := errors.AsType[*plugin.KeyError](err)
		if err == nil || c.key != "" && (key == nil || key.Key != c.key) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s: … %s", c.name, err, c.key, c.want)
		}
	}
	if c := resources.Defaults("realserver").(*Config); c.Mode != "dr" {
		t.Errorf("defaults %+v", c)
	}
}
