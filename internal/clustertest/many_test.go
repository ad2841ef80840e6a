//go:build linux

package clustertest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// An estate is every address that the kernels of dr1 and dr2 have, by one socket: in the
// order of what happened, also between the two.
type estate struct {
	feed  *netif.Feed
	ended sync.WaitGroup

	mu   sync.Mutex // protects what follows
	news map[netip.Addr][]holding
	last map[netip.Addr][2]bool
	lost int
}

// A holding is who of the two has an address from a moment on.
type holding struct {
	at  time.Duration
	who [2]bool
}

func (s *site) estate() *estate {
	s.t.Helper()
	e := &estate{news: map[netip.Addr][]holding{}, last: map[netip.Addr][2]bool{}}
	var other *os.File
	s.must(s.Within("dr2", func() (err error) {
		other, err = os.Open("/proc/thread-self/ns/net")
		return err
	}))
	number := -1
	s.must(s.Within("dr1", func() (err error) {
		if number, err = netif.NumberNamespace(s.t.Context(), int(other.Fd())); err != nil {
			return err
		}
		e.feed, err = netif.OpenFeed()
		return errors.Join(err, other.Close())
	}))
	e.ended.Go(func() { e.hear(number) })
	s.t.Cleanup(func() {
		s.must(e.feed.Close())
		e.ended.Wait()
	})
	return e
}

func (e *estate) hear(second int) {
	for {
		all, err := e.feed.Next()
		if err != nil {
			return
		}
		e.mu.Lock()
		for _, a := range all {
			if a.Lost {
				e.lost++
				continue
			}
			who := e.last[a.Address]
			node := 0
			if a.Namespace == second {
				node = 1
			} else if a.Namespace != -1 {
				continue
			}
			if who[node] == !a.Gone {
				continue
			}
			who[node] = !a.Gone
			e.last[a.Address] = who
			e.news[a.Address] = append(e.news[a.Address], holding{a.At, who})
		}
		e.mu.Unlock()
	}
}

// A verdict is what became of many addresses in a part of time.
type verdict struct {
	moved, lost, dual int // addresses
	longestDual       time.Duration
	// The first and the last address that was gone, and that was there again.
	goneFirst, goneLast, hereFirst, hereLast time.Duration
	longestAbsence                           time.Duration
}

func (v verdict) String() string {
	return fmt.Sprintf("moved %d, lost %d; gone %s-%s, here again %s-%s, absent for at most %s; two owners %d for at most %s",
		v.moved, v.lost, ms(v.goneFirst), ms(v.goneLast), ms(v.hereFirst), ms(v.hereLast), ms(v.longestAbsence), v.dual, ms(v.longestDual))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d)/1e6) }

func (e *estate) since(from time.Duration, addresses []netip.Addr) (v verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lost > 0 {
		panic("messages of the kernels were lost")
	}
	now := netif.Boottime()
	for _, a := range addresses {
		e.judge(&v, a, from, now)
	}
	return v
}

func (e *estate) judge(v *verdict, a netip.Addr, from, now time.Duration) {
	list := e.news[a]
	moved := false
	for i, h := range list {
		until := now
		if i+1 < len(list) {
			until = list[i+1].at
		}
		start := max(h.at, from)
		if until <= start {
			continue
		}
		switch h.who {
		case [2]bool{}:
			moved = true
			v.longestAbsence = max(v.longestAbsence, until-start)
			v.goneFirst, v.goneLast = earliest(v.goneFirst, start-from), max(v.goneLast, start-from)
			if i+1 < len(list) {
				v.hereFirst, v.hereLast = earliest(v.hereFirst, until-from), max(v.hereLast, until-from)
			}
		case [2]bool{true, true}:
			v.dual++
			v.longestDual = max(v.longestDual, until-start)
		}
	}
	if moved {
		v.moved++
	}
	if who := e.last[a]; who == [2]bool{} {
		v.lost++
	}
}

func earliest(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// all waits until one of the two, and nobody else, has every address.
func (e *estate) all(s *site, node string, addresses []netip.Addr) {
	s.t.Helper()
	s.eventually(node+" has every address", func() bool { return e.has(node, addresses) })
}

// has tells whether one of the two, and nobody else, has every address.
func (e *estate) has(node string, addresses []netip.Addr) bool {
	want := [2]bool{node == "dr1", node == "dr2"}
	e.mu.Lock()
	defer e.mu.Unlock()
	return !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return e.last[a] != want })
}

// owner waits until one of the two, and nobody else, has every address.
func (e *estate) owner(s *site, addresses []netip.Addr) (name string) {
	s.t.Helper()
	s.eventually("one has every address", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		first := e.last[addresses[0]]
		name = map[[2]bool]string{{true, false}: "dr1", {false, true}: "dr2"}[first]
		return name != "" && !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return e.last[a] != first })
	})
	return name
}

// addresses are as many as wanted, the lab's own first.
func addresses(v4, v6 int) []netip.Addr {
	all := []netip.Addr{netip.MustParseAddr("10.7.0.100")}
	for i := 1; i < v4; i++ {
		all = append(all, netip.AddrFrom4([4]byte{10, 77, byte(i / 200), byte(1 + i%200)}))
	}
	for i := range v6 {
		all = append(all, netip.MustParseAddr(fmt.Sprintf("fd07::1:%x", i+1)))
	}
	return all
}

const ownResource = "  [[group.resource]]\n  type = \"vip\"\n  address = \"10.7.0.100\"\n  device = \"eth0\"\n"

// oneGroup has every address in the group "web".
func oneGroup(t *testing.T, all []netip.Addr, device string) edit {
	var text strings.Builder
	for _, a := range all {
		fmt.Fprintf(&text, "  [[group.resource]]\n  type = \"vip\"\n  address = %q\n%s", a, device)
	}
	return replaced(t, ownResource, text.String())
}

// cost is what a process used, and its machine sent, in a while.
func (s *site) cost(node string, during func()) string {
	s.t.Helper()
	pid := s.pid(node)
	cpu, sent := ticks(s.t, pid), s.sent(node)
	began := netif.Boottime()
	during()
	took := netif.Boottime() - began
	used := time.Duration(ticks(s.t, pid)-cpu) * 10 * time.Millisecond
	return fmt.Sprintf("%.1f %% of a core, %.0f frames a second", 100*float64(used)/float64(took), float64(s.sent(node)-sent)/took.Seconds())
}

func ticks(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}

// sent is how many frames a machine's eth0 has sent.
func (s *site) sent(machine string) (frames int) {
	s.t.Helper()
	s.must(s.Within(machine, func() error {
		raw, err := os.ReadFile("/proc/thread-self/net/dev")
		for line := range strings.Lines(string(raw)) {
			if name, rest, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == "eth0" {
				frames, err = strconv.Atoi(strings.Fields(rest)[9])
			}
		}
		return err
	}))
	return frames
}

func (s *site) gaps(node string) string {
	s.t.Helper()
	v, err := s.view(node)
	s.must(err)
	return fmt.Sprintf("longest gap of %s %.1f ms, %d too long, %d events dropped", node, v.LongestGap*1000, v.Gaps, v.Dropped)
}

// TestEndToEndManyAddresses: 200 IPv4 and 100 IPv6 addresses in one group. All of them move together, none has two owners at any instant, and none is
// lost; what is told is measured, and not asserted on a machine that may be busy.
func TestEndToEndManyAddresses(t *testing.T) {
	all := addresses(200, 100)
	s := open(t, lab.Settings{}, oneGroup(t, all, "  device = \"eth0\"\n"), eager(t))
	e := s.estate()
	s.must(s.StartAll())
	e.all(s, "dr1", all)
	s.eventually("dr2 is heard", func() bool { return s.role("dr2") == "standby" })
	pass(time.Second)
	for _, node := range []string{"dr1", "dr2"} {
		t.Logf("%s at rest: %s; %s", node, s.cost(node, func() { pass(2 * time.Second) }), s.gaps(node))
	}
	began := netif.Boottime()
	// Who has them after a fault is not asserted: a machine that stalls costs a move more.
	step := func(what string, do func(owner string) error) {
		t.Helper()
		owner := e.owner(s, all)
		from := netif.Boottime()
		s.must(do(owner))
		pass(2 * time.Second)
		now := e.owner(s, all)
		t.Logf("%s: from %s to %s: %s; client %s; %s", what, owner, now, e.since(from, all), s.Outage(lab.Client, from, 0), s.gaps(now))
	}
	var pulled string
	step("pull", func(owner string) error { pulled = owner; return s.Pull(t.Context(), owner) })
	step("plug", func(string) error { return s.Plug(t.Context(), pulled) })
	step("restart", func(owner string) error { return s.Restart(t.Context(), owner) })
	step("remove one", func(owner string) error { return s.RemoveAddress(t.Context(), owner) })
	step("kill -9", func(owner string) error { pulled = owner; return s.Kill9(t.Context(), owner) })
	s.must(s.Start(pulled))
	s.eventually(pulled+" is back", func() bool { return s.role(pulled) == "standby" })
	step("stop", func(owner string) error { return s.Stop(t.Context(), owner) })
	if v := e.since(began, all); v.dual > 0 || v.lost > 0 {
		t.Errorf("all in all: %s", v)
	}
}

// TestEndToEndRenamedDevice: the device is renamed while it carries the address, which
// has one owner all the time; later it gets its name back, and the director is fit again.
func TestEndToEndRenamedDevice(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	s.begins()
	rename := func(from, to string) {
		t.Helper()
		s.must(s.Within("dr1", func() error { return netif.RenameLink(t.Context(), from, to) }))
	}
	rename("eth0", "lan0")
	s.owned("dr2")
	s.served("dr2")
	s.logged("dr1", "eth0 is missing")
	rename("lan0", "eth0")
	s.regains("dr1", nil)
}

// TestEndToEndCarrierOfOneDevice: of two groups on two devices the one moves whose device
// goes down, and the other stays.
func TestEndToEndCarrierOfOneDevice(t *testing.T) {
	t.Parallel()
	back := netip.MustParseAddr("10.9.0.100")
	s := open(t, lab.Settings{SecondNetwork: true}, replaced(t, ownResource,
		ownResource+"\n[[group]]\nname = \"back\"\n  [[group.resource]]\n  type = \"vip\"\n  address = \"10.9.0.100\"\n  device = \"eth1\"\n"))
	e := s.estate()
	s.begins()
	e.all(s, "dr1", []netip.Addr{back})
	began := netif.Boottime()
	up := func(is bool) {
		t.Helper()
		s.must(s.Within("dr1", func() error { return netif.SetUp(t.Context(), "eth1", is) }))
	}
	up(false)
	e.all(s, "dr2", []netip.Addr{back})
	s.logged("dr1", "eth1 is missing or has no carrier")
	up(true)
	pass(time.Second)
	s.still(began, "dr1")
	t.Log(e.since(began, []netip.Addr{back}))
	if v := e.since(began, []netip.Addr{back}); v.dual > 0 {
		t.Errorf("the address on eth1: %s", v)
	}
}
