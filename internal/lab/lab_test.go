//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

func owner(t *testing.T, l *Lab, node string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.AwaitOwner(ctx, node); err != nil {
		t.Fatal(err)
	}
}

// served waits until the director answers the client, and others if they are named, and
// returns when that was.
func served(t *testing.T, l *Lab, node string, since time.Duration, also ...View) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, v := range append(also, Client) {
		if err := l.AwaitAnswer(ctx, v, node, since); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
	}
	return netif.Boottime()
}

// pass waits.
func pass(d time.Duration) { <-time.After(d) }

// holds has a director take the address, and returns when it answers the client.
func holds(t *testing.T, l *Lab, node string) time.Duration {
	t.Helper()
	order(t, l, node, "hold")
	owner(t, l, node)
	return served(t, l, node, 0)
}

// unreached waits until the client has missed a number of answers since a time.
func unreached(t *testing.T, l *Lab, since time.Duration) {
	t.Helper()
	eventually(t, func() bool { o := l.Outage(Client, since, 0); return o.Ongoing && o.Lost >= 5 })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOutageOfKnownLength(t *testing.T) {
	l := open(t, Settings{Near: true, SecondNetwork: true, Witness: true})
	ready(t, l)
	from := holds(t, l, "dr1")
	served(t, l, "dr1", from, NearClient)
	order(t, l, "dr1", "drop")
	owner(t, l, "")
	pass(500 * time.Millisecond)
	order(t, l, "dr2", "hold")
	owner(t, l, "dr2")
	served(t, l, "dr2", from, NearClient)
	for _, v := range []View{Client, NearClient} {
		o := l.Outage(v, from, 0)
		if o.Ongoing || o.Lasted < 400*time.Millisecond || o.Lasted > 5*time.Second || o.Answered["dr1"] == 0 {
			t.Errorf("%s: 500ms without anybody were measured as %s, answered by %v", v, o, o.Answered)
		}
	}
	if d := l.Dual(from, 0); !d.None() {
		t.Errorf("two owners: %+v, of whom one took after the other gave", d)
	}
	if by, err := l.Believed(t.Context()); err != nil || by != "dr2" {
		t.Errorf("the gateway believes in %q, %v; want dr2", by, err)
	}
}

func TestTwoOwners(t *testing.T) {
	l := open(t, Settings{})
	ready(t, l)
	holds(t, l, "dr1")
	order(t, l, "dr2", "hold")
	owner(t, l, "dr1+dr2")
	began := netif.Boottime()
	eventually(t, func() bool { return l.Dual(0, 0).Answered >= 2 })
	order(t, l, "dr1", "drop")
	owner(t, l, "dr2")
	ended := netif.Boottime()
	d := l.Dual(0, 0)
	if lasted := ended - began; d.Kernels < lasted/2 || d.Sampled < lasted/2 {
		t.Errorf("two owners for more than %s were measured as %+v", lasted, d)
	}
	if d := l.Dual(ended, 0); !d.None() {
		t.Errorf("two owners after it was over: %+v", d)
	}
}

// TestHandover: an address that is given, then taken, has one owner however quick.
func TestHandover(t *testing.T) {
	l := open(t, Settings{})
	a := netip.MustParsePrefix("10.7.0.100/32")
	for i := range 50 {
		from, to := "dr1", "dr2"
		if i%2 == 1 {
			from, to = to, from
		}
		must(t, l.Within(from, func() error { return netif.Release(t.Context(), "eth0", a.Addr()) }))
		must(t, l.Within(to, func() error {
			return netif.AddAddress(t.Context(), netif.Add{Device: "eth0", Prefix: a})
		}))
		owner(t, l, to)
	}
	if d := l.Dual(0, 0); !d.None() {
		t.Errorf("two owners: %+v", d)
	}
}

func TestIPv6(t *testing.T) {
	l := open(t, Settings{Address: netip.MustParseAddr("fd07::100"), Near: true})
	ready(t, l)
	from := holds(t, l, "dr1")
	order(t, l, "dr1", "drop")
	holds(t, l, "dr2")
	if d := l.Dual(from, 0); !d.None() {
		t.Errorf("two owners: %+v", d)
	}
	order(t, l, "dr1", "hold")
	eventually(t, func() bool { d := l.Dual(from, 0); return d.Answered > 0 && d.Kernels > 0 && d.Sampled > 0 })
}

// reaches sends a datagram from one machine to the echo on another, by its own
// address, until one is answered. That takes its time if a neighbour was lost: the
// kernel asks for it once a second.
func reaches(t *testing.T, l *Lab, from, to string, patience time.Duration) bool {
	t.Helper()
	target := map[string]netip.Addr{"dr1": ip4(1, 11).Addr(), "dr2": ip4(1, 12).Addr(), "web1": Web(1)}[to]
	var conn net.Conn
	must(t, l.Within(from, func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(t.Context(), "udp4", netip.AddrPortFrom(target, echoPort).String())
		return err
	}))
	defer func() { _ = conn.Close() }()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_, _ = conn.Write(make([]byte, 8)) // it may be refused
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 64)); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// within is how long it is tried to reach somebody who can be, or cannot.
var within = map[bool]time.Duration{true: patience, false: 300 * time.Millisecond}

// TestCables: who reaches whom under which fault.
func TestCables(t *testing.T) {
	l := open(t, Settings{})
	ctx := t.Context()
	all := func(want ...bool) {
		t.Helper()
		for i, way := range [][2]string{{"dr1", "dr2"}, {"dr1", "web1"}, {"dr2", "web1"}} {
			if got := reaches(t, l, way[0], way[1], within[want[i]]); got != want[i] {
				t.Errorf("%s reaches %s: %t, want %t", way[0], way[1], got, want[i])
			}
		}
	}
	carrier := func(want bool) {
		t.Helper()
		must(t, l.Within("dr1", func() error {
			link, err := netif.LinkNamed(ctx, "eth0")
			if link.Carrier != want {
				t.Errorf("dr1 has a carrier: %t, want %t", link.Carrier, want)
			}
			return err
		}))
	}
	all(true, true, true)
	must(t, l.Partition(ctx, "dr1", "dr2"))
	all(false, true, true)
	must(t, l.Cut(ctx, "dr1"))
	carrier(true)
	all(false, false, true)
	must(t, l.Heal(ctx))
	all(true, true, true)
	must(t, l.Pull(ctx, "dr1"))
	carrier(false)
	all(false, false, true)
	must(t, l.Plug(ctx, "dr1"))
	carrier(true)
	all(true, true, true)
	if err := l.Cut(ctx, "dr3"); err == nil {
		t.Error("a machine that is not there was cut")
	}
}

// TestOneWay: who is mute hears, who is deaf is heard.
func TestOneWay(t *testing.T) {
	l := open(t, Settings{})
	for fault, sends := range map[string]bool{"mute": false, "deafen": true} {
		must(t, l.Do(t.Context(), fault+" dr1"))
		if reaches(t, l, "dr1", "web1", within[false]) {
			t.Errorf("%s: dr1 gets an answer", fault)
		}
		if got := heard(t, l, "dr1", "web1", within[sends]); got != sends {
			t.Errorf("%s: web1 hears dr1: %t, want %t", fault, got, sends)
		}
		if got := heard(t, l, "web1", "dr1", within[!sends]); got == sends {
			t.Errorf("%s: dr1 hears web1: %t, want %t", fault, got, !sends)
		}
		must(t, l.Heal(t.Context()))
	}
}

// heard reports whether one machine hears another's gratuitous ARP.
func heard(t *testing.T, l *Lab, from, to string, patience time.Duration) bool {
	t.Helper()
	claimed := netip.MustParseAddr("10.7.0.222")
	var ear, mouth *netif.Wire
	must(t, l.Within(to, func() (err error) { ear, err = netif.OpenWire(t.Context(), "eth0"); return err }))
	defer func() { _ = ear.Close() }()
	must(t, l.Within(from, func() (err error) { mouth, err = netif.OpenWire(t.Context(), "eth0"); return err }))
	defer func() { _ = mouth.Close() }()
	ear.Guard(claimed)
	must(t, mouth.Announce(claimed))
	select {
	case <-ear.Heard():
		return true
	case <-time.After(patience):
		return false
	}
}

func TestGateway(t *testing.T) {
	l := open(t, Settings{Near: true})
	ready(t, l)
	holds(t, l, "dr1")
	must(t, l.Gateway(t.Context(), false))
	down := netif.Boottime()
	unreached(t, l, down)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.AwaitAnswer(ctx, NearClient, "dr1", netif.Boottime()); err != nil {
		t.Errorf("a client that needs no gateway: %v", err)
	}
	must(t, l.Gateway(t.Context(), true))
	served(t, l, "dr1", netif.Boottime())
}

// TestProcesses: what becomes of a director's address as its program is dealt with.
func TestProcesses(t *testing.T) {
	l := open(t, Settings{})
	ready(t, l)
	ctx := t.Context()
	holds(t, l, "dr1")
	must(t, l.Kill9(ctx, "dr1"))
	if l.Owner() != "dr1" {
		t.Error("the address went with the program, not with the lease")
	}
	owner(t, l, "") // the lease's end
	if err := l.Kill9(ctx, "dr1"); !errors.Is(err, errNotRunning) {
		t.Errorf("kill what is dead: %v", err)
	}
	must(t, l.Start("dr1"))
	holds(t, l, "dr1")
	must(t, l.Freeze("dr1", 2500*time.Millisecond))
	owner(t, l, "")
	owner(t, l, "dr1") // resumed
	must(t, l.Restart(ctx, "dr1"))
	if l.Owner() != "dr1" {
		t.Error("a restart gave up the address")
	}
	owner(t, l, "")
	holds(t, l, "dr1")
	order(t, l, "dr1", "quiet") // or it is put back before anybody sees it
	must(t, l.RemoveAddress(ctx, "dr1"))
	owner(t, l, "")
	holds(t, l, "dr1")
	must(t, l.Stop(ctx, "dr1"))
	must(t, l.Within("dr1", func() error { // the kernel itself: its messages may be late
		found, err := netif.Find(ctx, "eth0", netip.MustParseAddr("10.7.0.100"))
		if found.Held {
			t.Errorf("a program that was asked to end keeps the address: %+v", found)
		}
		return err
	}))
	owner(t, l, "")
}

func TestForeign(t *testing.T) {
	l := open(t, Settings{})
	must(t, l.Foreign(t.Context(), true))
	believed := func(want string) {
		t.Helper()
		eventually(t, func() bool { by, err := l.Believed(t.Context()); return err == nil && by == want })
	}
	believed("stranger")
	ready(t, l)
	order(t, l, "dr1", "hold")
	owner(t, l, "dr1")
	pass(4 * askPace) // Both answer.
	if d := l.Dual(0, 0); !d.None() {
		t.Errorf("a stranger counts as a director: %+v", d)
	}
	must(t, l.Foreign(t.Context(), false))
}

// TestLanes: several labs at once see nothing of each other, and none leaves anything.
func TestLanes(t *testing.T) {
	var before traces
	// The threads that earlier tests had in namespaces end after these tests do.
	eventually(t, func() bool { before = left(t); return before.namespaces == 1 })
	t.Run("lanes", func(t *testing.T) {
		for i, holder := range []string{"dr1", "dr2", ""} {
			t.Run(fmt.Sprintf("lane %d", i+1), func(t *testing.T) {
				t.Parallel()
				l := open(t, Settings{})
				ready(t, l)
				if holder != "" {
					holds(t, l, holder)
				}
				if l.Owner() != holder {
					t.Errorf("owner %q, want %q", l.Owner(), holder)
				}
			})
		}
	})
	var after traces
	defer func() {
		if after != before {
			t.Errorf("left is %+v, before there was %+v", after, before)
		}
	}()
	eventually(t, func() bool { after = left(t); return after == before })
}

// traces is what there is of this process: descriptors, children, namespaces of its
// threads. Threads and goroutines come and go with the runtime.
type traces struct{ descriptors, children, namespaces, folders int }

func left(t *testing.T) (found traces) {
	t.Helper()
	list := func(pattern string) []string {
		all, err := filepath.Glob(pattern)
		must(t, err)
		return all
	}
	found.descriptors = len(list("/proc/self/fd/*"))
	found.folders = len(list(os.TempDir() + "/lab*"))
	spaces := map[string]bool{}
	for _, task := range list("/proc/self/task/*") {
		children, _ := os.ReadFile(task + "/children") // it may have ended
		found.children += len(strings.Fields(string(children)))
		if space, err := os.Readlink(task + "/ns/net"); err == nil {
			spaces[space] = true
		}
	}
	found.namespaces = len(spaces)
	return found
}
