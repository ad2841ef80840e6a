package ping

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/icmp/icmptest"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func online(t testing.TB, set func(*config)) monitors.Monitor {
	t.Helper()
	c := defaults()
	// Short enough to wait for.
	c.Interval, c.Timeout = monitors.Duration(20*time.Millisecond), monitors.Duration(250*time.Millisecond)
	set(&c)
	m, err := build(c, monitors.Site{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// answers is a network in which the last part of the address decides.
func answers(to netip.Addr, n int) icmptest.Answer {
	switch to.As16()[15] {
	case 3, 4:
		return icmptest.Silence
	case 5:
		return icmptest.Refuse
	case 6: // One of three comes back.
		if n%3 != 1 {
			return icmptest.Silence
		}
	}
	return icmptest.Reply
}

// TestConformance runs for both families and both kinds of sockets.
func TestConformance(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	icmptest.New(t, answers)
	host := func(name string) func(testing.TB) string { return func(testing.TB) string { return name } }
	run := func(t *testing.T, prefix string) {
		monitortest.Run(t, monitortest.Subject{
			New: func(t testing.TB) monitors.Monitor { return online(t, func(*config) {}) },
			Patient: func(t testing.TB) monitors.Monitor {
				return online(t, func(c *config) { c.Timeout = monitors.Duration(time.Minute) })
			},
			Up: host(prefix + "2"), Down: host(prefix + "3"), Silent: host(prefix + "4"),
		})
	}
	t.Run("raw", func(t *testing.T) { run(t, "10.77.0.") })
	icmptest.PermitDatagrams(t)
	t.Run("datagram", func(t *testing.T) { run(t, "fd77::") })
}

// TestNetwork pings real hosts and reads the verdicts, alone and in a group.
func TestNetwork(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	icmptest.New(t, answers)
	for _, test := range []struct {
		host    string
		set     func(*config)
		verdict monitors.Verdict
		reason  string
	}{
		{"10.77.0.2:80", func(*config) {}, monitors.Up, ""},
		{"fd77::2", func(*config) {}, monitors.Up, ""},
		{"[fd77::2]:443", func(c *config) { c.Source = "fd77::1" }, monitors.Up, ""},
		{"10.77.0.2", func(c *config) { c.Size = 9000 }, monitors.Up, ""},
		{"10.77.0.3", func(*config) {}, monitors.Down, "3 of 3 pings lost"},
		{"fd77::3", func(c *config) { c.Count = 1 }, monitors.Down, "1 of 1 pings lost"},
		{"10.77.0.6", func(*config) {}, monitors.Up, ""},
		{"10.77.0.6", func(c *config) { c.Loss = "66%" }, monitors.Down, "2 of 3 pings lost, limit 66%"},
		{"10.77.0.2", func(c *config) { c.RTT = 1 }, monitors.Down, "average round trip"},
		{"203.0.113.1", func(*config) {}, monitors.Unknown, "ping could not be sent: network is unreachable"},
		{"10.77.0.2", func(c *config) { c.IP = "6" }, monitors.Unknown, "10.77.0.2 is not an IPv6 address"},
	} {
		for _, hosts := range [][]string{{test.host}, {test.host, "127.0.0.1", "::1"}} {
			if len(hosts) > 1 && (strings.HasSuffix(test.host, ".6") || test.reason == "average round trip") {
				continue // Both would judge the same with another host's figures.
			}
			r, err := online(t, test.set).Check(t.Context(), monitors.Request{Hosts: hosts})
			if err != nil {
				t.Fatal(err)
			}
			if h := r.Hosts[0]; h.Verdict != test.verdict || !strings.HasPrefix(h.Reason, test.reason) {
				t.Errorf("%d hosts: %+v, want %s %q", len(hosts), h, test.verdict, test.reason)
			}
		}
	}
	refused(t)
}

// refused: a router's words end up in the reason.
func refused(t *testing.T) {
	t.Helper()
	r, err := online(t, func(*config) {}).Check(t.Context(), monitors.Request{Hosts: []string{"10.77.0.5", "fd77::5"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "10.77.0.5 fd77::5\n" +
		"10.77.0.5 down: 3 of 3 pings lost: host unreachable, says 10.77.0.2\n" +
		"fd77::5 down: 3 of 3 pings lost: address unreachable, says fd77::1\n"
	if got := string(r.Output); got != want || r.Exit != 1 {
		t.Errorf("exit %d, output\n%s\nwant 1 and\n%s", r.Exit, got, want)
	}
}

func TestForeignSourceIsNoVerdict(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	m := online(t, func(c *config) { c.Source = "192.0.2.99" })
	for _, hosts := range [][]string{{"127.0.0.1"}, {"127.0.0.1", "127.0.0.2"}} {
		r, err := m.Check(t.Context(), monitors.Request{Hosts: hosts})
		if err == nil || !strings.Contains(err.Error(), "192.0.2.99") || len(r.Hosts) != 0 {
			t.Errorf("%+v, %v, want an error about the source address", r, err)
		}
	}
}

// TestThousandHosts: no host of a large group is down by mistake.
func TestThousandHosts(t *testing.T) {
	if !icmptest.Isolated(t) {
		return
	}
	hosts := []string{"::1", "localhost"}
	for i := range 1000 {
		hosts = append(hosts, fmt.Sprintf("127.1.%d.%d:80", i/250, i%250+1))
	}
	r, err := online(t, func(c *config) { c.Timeout = monitors.Duration(2 * time.Second) }).Check(t.Context(), monitors.Request{Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hosts {
		if h.Verdict != monitors.Up || h.Took <= 0 {
			t.Errorf("%+v, want it up", h)
		}
	}
}
