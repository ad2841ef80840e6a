package config

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/alerts"
	_ "github.com/monitord/monitord/alerts/exec"
	"github.com/monitord/monitord/monitors"
	_ "github.com/monitord/monitord/monitors/exec"
	"github.com/monitord/monitord/resources"
	_ "github.com/monitord/monitord/resources/lvs"
	_ "github.com/monitord/monitord/resources/vip"
)

// The plugins of these tests. "exec" is the real one, because its name matters.

type probeConfig struct {
	Path     string            `toml:"path"`
	Port     uint16            `toml:"port"`
	Status   []string          `toml:"status"`
	Timeout  monitors.Duration `toml:"timeout"`
	Pause    time.Duration     `toml:"pause"`
	Ratio    float64           `toml:"ratio"`
	Weight   *int              `toml:"weight"`
	Follow   bool              `toml:"follow"`
	Source   netip.Addr        `toml:"source"`
	Headers  map[string]string `toml:"headers"`
	TLS      probeTLS          `toml:"tls"`
	Steps    []probeStep       `toml:"step"`
	Password monitors.Secret   `toml:"password"`
}

type probeTLS struct {
	ServerName string `toml:"server_name"`
	Days       int8   `toml:"days"`
}

type probeStep struct {
	Send string `toml:"send"`
}

// Warnings implements [monitors.Warner].
func (c *probeConfig) Warnings() []error {
	switch c.Password {
	case "plain":
		return []error{
			monitors.BadKey("password", "is plain\nto see"), monitors.BadKey("tls.server_name", "is of no use then"),
			nil, errors.Join(errors.New("one of all"), errors.New("another of all")),
		}
	case "panic":
		panic("out of words")
	}
	return nil
}

type probe struct{ probeConfig }

func (probe) Check(context.Context, monitors.Request) (monitors.Result, error) {
	return monitors.Result{}, nil
}

type noteConfig struct {
	To      []string      `toml:"to"`
	Subject string        `toml:"subject"`
	Key     alerts.Secret `toml:"key"`
}

// Warnings implements [alerts.Warner].
func (c noteConfig) Warnings() []error {
	if c.Key == "plain" {
		return []error{alerts.BadKey("key", "is plain to see")}
	}
	return nil
}

type note struct{ noteConfig }

func (note) Send(context.Context, alerts.Event) error { return nil }

type followConfig struct {
	Virtual string `toml:"virtual"`
}

type follow struct {
	followConfig
	pool alerts.Pool
}

func (f follow) Send(ctx context.Context, e alerts.Event) error {
	return f.pool.Report(ctx, f.Virtual, e.Group+":"+e.Service, nil)
}
func (follow) Follower() {}

type chatConfig struct {
	URL    alerts.Secret `toml:"url"`
	Format string        `toml:"format"`
	Name   string        `toml:"name"`
}

// step is a resource that does nothing.
type step struct{}

func (step) Start(context.Context) error                      { return nil }
func (step) Stop(context.Context) error                       { return nil }
func (step) Status(context.Context) (resources.Status, error) { return resources.Stopped, nil }

type stepConfig struct {
	Unit string `toml:"unit"`
	File string `toml:"file"`
}

// Warnings implements [resources.Warner].
func (c stepConfig) Warnings() []error {
	if c.Unit == "plain" {
		return []error{resources.BadKey("unit", "is plain to see")}
	}
	return nil
}

func buildStep(c stepConfig, _ resources.Site) (resources.Resource, error) {
	if c.File != "" {
		if _, err := os.Stat(c.File); err != nil {
			return nil, resources.BadKey("file", "%w", err)
		}
	}
	return step{}, nil
}

func init() {
	resources.Register("test-step", stepConfig{}, buildStep)
	monitors.Register("test-probe", probeConfig{Path: "/", Timeout: monitors.Duration(5 * time.Second)}, buildProbe)
	monitors.Register("test-panic", struct{}{}, func(struct{}, monitors.Site) (monitors.Monitor, error) { panic("out of luck") })
	alerts.Register("test-note", noteConfig{}, func(c noteConfig, _ alerts.Site) (alerts.Alert, error) {
		if len(c.To) == 0 {
			return nil, alerts.BadKey("to", "nobody to write to: name a recipient")
		}
		return note{c}, nil
	})
	alerts.Register("test-follow", followConfig{}, func(c followConfig, site alerts.Site) (alerts.Alert, error) {
		if _, ok := site.Pool.Servers(c.Virtual); !ok {
			return nil, alerts.BadKey("virtual", "there is no virtual service %q%s", c.Virtual, didYouMean(c.Virtual, site.Pool.Virtuals(), "there are"))
		}
		return follow{c, site.Pool}, nil
	})
}

func buildProbe(c probeConfig, _ monitors.Site) (monitors.Monitor, error) {
	if !strings.HasPrefix(c.Path, "/") {
		return nil, monitors.BadKey("path", "%q does not begin with a /", c.Path)
	}
	for name := range c.Headers {
		if strings.Contains(name, " ") {
			return nil, monitors.BadKey("headers."+name, "%q is no name of a header", name)
		}
	}
	if c.Password == "wrong" {
		return nil, monitors.BadKey("password", "this is too easy")
	}
	if c.Port == 1 {
		return nil, fmt.Errorf("port 1 is not for us")
	}
	return probe{c}, nil
}

// Two chats have different names, by which the rate limit and the order of messages
// tell them apart; and none shows the secret.
func TestNamesOfAlerts(t *testing.T) {
	name := func(c chatConfig) string { return nameOf(&pluginTable{kind: "chat", bound: &c}) }
	a, b := name(chatConfig{URL: "https://example.org/secret-a", Format: "short"}), name(chatConfig{URL: "https://example.org/secret-b", Format: "short"})
	if a == b || !strings.HasPrefix(a, "chat example.org ") || !strings.HasSuffix(a, " short") || strings.Contains(a, "secret") {
		t.Errorf("names %q and %q", a, b)
	}
	for _, c := range []struct {
		of   chatConfig
		want string
	}{
		{chatConfig{Format: "short"}, "chat short"},
		{chatConfig{URL: "https://ann:pass@chat.example.org:8443/se?key=cret#s"}, "chat chat.example.org:8443 9b4fa9"},
		{chatConfig{URL: "https://ann:pa/ss@chat.example.org/"}, "chat 7110cc"},
		{chatConfig{URL: "https://pa/ss@chat.example.org/"}, "chat fc813f"},
		{chatConfig{URL: "pass.example.org/x"}, "chat 79ba7d"},
		{chatConfig{URL: "pass://example.org/x"}, "chat cf4dd4"},
		{chatConfig{URL: "https://example.org/secret-a", Format: "short", Name: "the operators"}, "chat the operators"},
	} {
		if got := name(c.of); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
