package ssh

import (
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/dialogue/dialoguetest"
	"github.com/monitord/monitord/monitors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(t testing.TB, change func(*config)) config {
	t.Helper()
	c, ok := monitors.Defaults("ssh").(*config)
	if !ok {
		t.Fatal("the kind is not registered with its config")
	}
	if change != nil {
		change(c)
	}
	return *c
}

func mustBuild(t testing.TB, change func(*config)) monitors.Monitor {
	t.Helper()
	m, err := build(configured(t, change), monitors.Site{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConformance(t *testing.T) {
	dialoguetest.Conform(t, func(t testing.TB) monitors.Monitor { return mustBuild(t, nil) }, shell)
}

func TestHostile(t *testing.T) {
	dialoguetest.Hostile(t, func(timeout time.Duration) monitors.Monitor {
		return mustBuild(t, func(c *config) { c.Timeout = monitors.Duration(timeout) })
	})
	dialoguetest.Ahead(t, mustBuild(t, nil), "SSH-2.0-x\r\n")
}

// shell is a server that is all right.
func shell(testing.TB) func(net.Conn) { return dialtest.SayAndHang("SSH-2.0-OpenSSH_9.9\r\n") }

func TestTalk(t *testing.T) {
	soon := func(c *config) { c.Timeout = dialoguetest.Soon }
	version := func(c *config) { c.Version = `OpenSSH_(9\.[89]|1\d)` }
	for _, c := range []struct {
		name   string
		steps  []string
		change func(*config)
		reason string
	}{
		{name: "all is well", steps: []string{"S: SSH-2.0-OpenSSH_9.9", "HANG"}},
		{name: "and closes", steps: []string{"S: SSH-2.0-OpenSSH_9.9"}},
		{name: "of both versions", steps: []string{"S: SSH-1.99-Cisco-1.25", "HANG"}},
		{name: "other lines first", steps: []string{"S: keep out", "S:  SSH- is for staff", "S: SSH-2.0-dropbear", "HANG"}},
		{name: "version", steps: []string{"S: SSH-2.0-OpenSSH_9.9 Debian-3", "HANG"}, change: version},
		{
			name: "another version", steps: []string{"S: SSH-2.0-OpenSSH_8.4", "HANG"}, change: version,
			reason: `connected, but the identification is "SSH-2.0-OpenSSH_8.4", wanted a match of "OpenSSH_(9\\.[89]|1\\d)"`,
		},
		{name: "old", steps: []string{"S: SSH-1.5-1.2.27", "HANG"}, reason: `the identification is "SSH-1.5-1.2.27", wanted version 2.0 of the protocol`},
		{name: "shut out", steps: []string{"S: Not allowed at this time"}, reason: `connected, but no identification: the connection was closed; received "Not allowed at this time\r\n"`},
		{name: "silent", steps: []string{"HANG"}, change: soon, reason: "connected, but no identification within 300ms; nothing was received"},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				dialoguetest.Play(t, address, c.steps, func(stretch monitors.Duration) monitors.Monitor {
					return mustBuild(t, func(conf *config) {
						if c.change != nil {
							c.change(conf)
						}
						conf.Timeout *= stretch
					})
				}, c.reason)
			})
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"version", func(c *config) { c.Version = "(" }, "RE2"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		dialoguetest.WantKey(t, err, c.key, c.text)
	}
	dialoguetest.BadPlainKeys(t, func(keys dialoguetest.Keys) error {
		_, err := build(configured(t, func(c *config) {
			c.Port, c.Timeout, c.Limit, c.Source, c.IP = keys.Port, keys.Timeout, keys.Limit, keys.Source, keys.IP
		}), monitors.Site{})
		return err
	})
}
