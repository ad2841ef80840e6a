package sysctl

import (
	"errors"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/resources"
)

func TestBuild(t *testing.T) {
	const forward = "net.ipv4.ip_forward"
	for _, c := range []struct {
		name      string
		config    Config
		dir       string
		key, want string // key empty: it is accepted
	}{
		{"with the value for standby", Config{Key: forward, Value: "1", Stopped: "0"}, "", "", ""},
		{"with what is found", Config{Key: forward, Value: "1"}, "/state", "", ""},
		{"no key", Config{Value: "1"}, "/state", "key", "missing"},
		{"a path", Config{Key: "../etc/passwd", Value: "1"}, "/state", "key", "not a key"},
		{"no value", Config{Key: forward, Stopped: "1"}, "/state", "value", "missing"},
		{"no difference", Config{Key: forward, Value: "1 2", Stopped: "1\t2"}, "/state", "stopped", "another one"},
		{"nowhere to remember", Config{Key: forward, Value: "1"}, "", "stopped", "no statedir"},
	} {
		r, err := build(c.config, resources.Site{StateDir: c.dir})
		if c.key == "" {
			if err != nil || r == nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		key, ok := errors.AsType[*plugin.KeyError](err)
		if !ok || key.Key != c.key || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s: … %s", c.name, err, c.key, c.want)
		}
	}
}
