package realserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// cabled is a real server and a neighbour on its network.
func cabled(t *testing.T) (server, neighbour *netiftest.Space) {
	t.Helper()
	server, neighbour = netiftest.New(t), netiftest.New(t)
	netiftest.Cable(server, "eth0", neighbour, "eth0")
	server.Address("eth0", "10.0.0.1/24")
	neighbour.Address("eth0", "10.0.0.2/24")
	server.Address("eth0", "fd00::1/64")
	neighbour.Address("eth0", "fd00::2/64")
	return server, neighbour
}

func mustUp(t *testing.T, s *netiftest.Space, c Config) (r Report) {
	t.Helper()
	s.Do(func(ctx context.Context) (err error) {
		r, err = Up(ctx, c)
		return err
	})
	return r
}

func mustDown(t *testing.T, s *netiftest.Space, c Config) (r Report) {
	t.Helper()
	s.Do(func(ctx context.Context) (err error) {
		r, err = Down(ctx, c)
		return err
	})
	return r
}

func situation(t *testing.T, s *netiftest.Space, c Config) (found Situation) {
	t.Helper()
	s.Do(func(ctx context.Context) (err error) {
		found, err = Status(ctx, c)
		return err
	})
	return found
}

func set(t *testing.T, s *netiftest.Space, key netif.Sysctl, value string) {
	t.Helper()
	s.Do(func(context.Context) error { return key.Set(value) })
}

const (
	arpIgnore   = netif.Sysctl("net.ipv4.conf.all.arp_ignore")
	arpAnnounce = netif.Sysctl("net.ipv4.conf.all.arp_announce")
)

func TestExactlyUndone(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		sysctl map[netif.Sysctl]string // before
	}{
		{name: "one", config: Config{VIPs: ips("10.0.0.10")}},
		{name: "three of both kinds", config: Config{VIPs: ips("10.0.0.10", "10.0.0.11", "fd00::10")}},
		{name: "IPv6", config: Config{VIPs: ips("fd00::10")}},
		{name: "twice the same", config: Config{VIPs: ips("10.0.0.10", "::ffff:10.0.0.10")}},
		{
			name: "strict filter where the packets come", config: Config{VIPs: ips("10.0.0.10"), Via: []string{"eth0"}},
			sysctl: map[netif.Sysctl]string{"net.ipv4.conf.eth0.rp_filter": "1"},
		},
		{
			name: "strict filter everywhere", config: Config{VIPs: ips("10.0.0.10"), Via: []string{"eth0"}},
			sysctl: map[netif.Sysctl]string{"net.ipv4.conf.all.rp_filter": "1"},
		},
		{
			name: "set half right already", config: Config{VIPs: ips("10.0.0.10")},
			sysctl: map[netif.Sysctl]string{arpIgnore: "2", arpAnnounce: "1"},
		},
		{
			name: "set right already", config: Config{VIPs: ips("10.0.0.10")},
			sysctl: map[netif.Sysctl]string{arpIgnore: "1", arpAnnounce: "2"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := cabled(t)
			for key, value := range c.sysctl {
				set(t, s, key, value)
			}
			c.config.StateDir = t.TempDir()
			before := s.Snapshot()
			for range 2 { // Up is idempotent, and works again after Down.
				mustUp(t, s, c.config)
				if again := mustUp(t, s, c.config); again.Done != nil || again.Left != nil {
					t.Errorf("up once more: %+v, want nothing to do", again)
				}
				if cmp.Equal(before, s.Snapshot()) {
					t.Error("nothing has changed")
				}
				if got := situation(t, s, c.config); got.State != IsUp {
					t.Errorf("status after up: %+v", got)
				}
				mustDown(t, s, c.config)
				if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
					t.Errorf("before up and after down (-before +after):\n%s", diff)
				}
				if again := mustDown(t, s, c.config); again.Done != nil {
					t.Errorf("down once more: %+v, want nothing to do", again)
				}
				if got := situation(t, s, c.config); got.State != IsDown {
					t.Errorf("status after down: %+v", got)
				}
			}
		})
	}
}

// connect opens a TCP connection to the VIP from the neighbour, which sends to the
// server's MAC as a director does, and returns the first line from there.
func connect(t *testing.T, server, neighbour *netiftest.Space, vip netip.Addr, patience time.Duration) (string, error) {
	t.Helper()
	var l net.Listener
	server.Do(func(ctx context.Context) (err error) {
		var lc net.ListenConfig
		l, err = lc.Listen(ctx, "tcp", netip.AddrPortFrom(vip, 0).String())
		return err
	})
	served := make(chan struct{})
	go func() {
		defer close(served)
		if conn, err := l.Accept(); err == nil {
			_, _ = io.WriteString(conn, "here is "+conn.LocalAddr().(*net.TCPAddr).IP.String())
			_ = conn.Close()
		}
	}()
	defer func() {
		_ = l.Close()
		<-served
	}()
	var text []byte
	err := neighbour.Try(func(ctx context.Context) error {
		d := net.Dialer{Timeout: patience}
		conn, err := d.DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			return err
		}
		defer conn.Close()
		text, err = io.ReadAll(conn)
		return err
	})
	return string(text), err
}

// The neighbour asks on the wire who has the VIP: everybody's question before a
// director's MAC is known.
func TestSilentAndServing(t *testing.T) {
	for _, c := range []struct{ vip, server, control string }{
		{"10.0.0.10", "10.0.0.1", "lo"}, // IPv4: an address on lo is answered for
		{"fd00::10", "fd00::1", "eth0"}, // IPv6: only one on the device itself
	} {
		t.Run(c.vip, func(t *testing.T) {
			server, neighbour := cabled(t)
			vip, config := ip(c.vip), Config{VIPs: ips(c.vip), StateDir: t.TempDir()}
			single := netip.PrefixFrom(vip, vip.BitLen())

			server.Address(c.control, single.String())
			if !neighbour.Answers("eth0", vip, ip(c.server)) {
				t.Errorf("the VIP on %s is not answered for without up: this test cannot fail", c.control)
			}
			server.Do(func(ctx context.Context) error { return netif.RemoveAddress(ctx, c.control, single) })

			mustUp(t, server, config)
			if neighbour.Answers("eth0", vip, ip(c.server)) {
				t.Error("the server answers for the VIP")
			}
			neighbour.Pin("eth0", vip, server, "eth0")
			if got, err := connect(t, server, neighbour, vip, time.Minute); err != nil || got != "here is "+c.vip {
				t.Errorf("a connection to the VIP by the server's MAC: %q, %v", got, err)
			}
			mustDown(t, server, config)
			if neighbour.Answers("eth0", vip, ip(c.server)) {
				t.Error("the server answers for the VIP after down")
			}
		})
	}
}

// A server that answers a client asks for the client's MAC, or the gateway's: not
// in the name of the VIP, which would teach its MAC to whom it asks.
func TestAsksInItsOwnName(t *testing.T) {
	for _, c := range []struct{ announce, want string }{
		{"0", "10.0.0.10"}, // the control: without up's value
		{"1", "10.0.0.10"}, // level 1 is not enough for a VIP of the same network
		{"", "10.0.0.1"},   // what up sets
	} {
		server, neighbour := cabled(t)
		mustUp(t, server, Config{VIPs: ips("10.0.0.10"), StateDir: t.TempDir()})
		if c.announce != "" {
			set(t, server, arpAnnounce, c.announce)
		}
		got := neighbour.Heard("eth0", ip("10.0.0.77"), func() {
			server.Do(func(context.Context) error {
				conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(10, 0, 0, 10)}, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 77), Port: 9})
				if err != nil {
					return err
				}
				_, err = conn.Write([]byte("hello"))
				return errors.Join(err, conn.Close())
			})
		})
		if got != ip(c.want) {
			t.Errorf("arp_announce %q: asks in the name of %s, want %s", c.announce, got, c.want)
		}
	}
}

// The kernel does not choose the VIP for connections of the server's own, even
// where the device has no address.
func TestNotASource(t *testing.T) {
	s := netiftest.New(t)
	other := netiftest.New(t)
	netiftest.Cable(s, "eth0", other, "eth0")
	other.Address("eth0", "10.0.0.2/24")
	other.Address("eth0", "fd00::2/64")
	s.Pin("eth0", ip("10.0.0.2"), other, "eth0")
	s.Pin("eth0", ip("fd00::2"), other, "eth0")
	mustUp(t, s, Config{VIPs: ips("10.0.0.10", "fd00::10"), StateDir: t.TempDir()})
	s.Address("lo", "10.9.9.9/32") // chosen, as it has the scope of others
	s.Address("lo", "fd09::9/128")
	s.Do(func(ctx context.Context) error {
		for to, want := range map[string]string{"10.0.0.2": "10.9.9.9", "fd00::2": "fd09::9"} {
			if r, err := netif.RouteTo(ctx, ip(to)); err != nil || r.Source != ip(want) {
				t.Errorf("to %s from %s (%v), want %s", to, r.Source, err, want)
			}
		}
		return nil
	})
}

func TestSharedByVIPs(t *testing.T) {
	s, _ := cabled(t)
	dir := t.TempDir()
	before := s.Snapshot()
	a, b := Config{VIPs: ips("10.0.0.10"), StateDir: dir}, Config{VIPs: ips("10.0.0.11"), StateDir: dir}
	mustUp(t, s, a)
	mustUp(t, s, b)
	mustDown(t, s, a)
	if got := situation(t, s, b); got.State != IsUp {
		t.Errorf("the other VIP after down of one: %+v", got)
	}
	if got := situation(t, s, a); got.State != IsDown {
		t.Errorf("the VIP that is down: %+v", got)
	}
	if got := situation(t, s, Config{VIPs: ips("10.0.0.10", "10.0.0.11"), StateDir: dir}); got.State != IsHalf {
		t.Errorf("both: %s, want half", got.State)
	}
	if got := situation(t, s, Config{StateDir: dir}); got.State != IsUp || len(got.VIPs) != 1 {
		t.Errorf("what is remembered: %+v, want one", got)
	}
	mustDown(t, s, Config{StateDir: dir}) // all
	if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
		t.Errorf("before and after (-before +after):\n%s", diff)
	}
}

func TestSomebodyElse(t *testing.T) {
	s, _ := cabled(t)
	c := Config{VIPs: ips("10.0.0.10", "10.0.0.11"), StateDir: t.TempDir()}
	s.Address("lo", "10.0.0.11/32") // there before
	mustUp(t, s, c)
	set(t, s, arpIgnore, "8") // changed after up, and as good
	before := s.Snapshot()
	got := mustDown(t, s, c)
	text := strings.Join(got.Left, "\n")
	for _, part := range []string{"10.0.0.11/32 on lo stays: it was there before", "arp_ignore stays 8: somebody else has changed it since it was set to 1 (it was 0 before)"} {
		if !strings.Contains(text, part) {
			t.Errorf("down leaves %q, want it to say %q", text, part)
		}
	}
	after := strings.Join(s.Snapshot(), "\n")
	if !strings.Contains(after, "all/arp_ignore = 8") || !strings.Contains(after, "10.0.0.11/32") || strings.Contains(after, "10.0.0.10/32") {
		t.Errorf("after down:\n%s", cmp.Diff(strings.Join(before, "\n"), after))
	}
}

func TestMended(t *testing.T) {
	s, _ := cabled(t)
	c := Config{VIPs: ips("10.0.0.10"), StateDir: t.TempDir()}
	before := s.Snapshot()
	mustUp(t, s, c)
	set(t, s, arpIgnore, "0")
	got := situation(t, s, c)
	want := Check{
		What: string(arpIgnore), Is: "0", Want: "1", Mend: "sysctl -w net.ipv4.conf.all.arp_ignore=1",
		Why: "else this machine answers ARP for the VIP, beside the director",
	}
	if got.State != IsHalf || !slices.Contains(got.VIPs[0].Checks, want) {
		t.Errorf("status %+v, want half and %+v", got, want)
	}
	s.Do(func(ctx context.Context) error {
		return netif.RemoveAddress(ctx, "lo", netip.MustParsePrefix("10.0.0.10/32"))
	})
	if got := situation(t, s, c); got.State != IsDown {
		t.Errorf("without its address: %s, want down", got.State)
	}
	if r := mustUp(t, s, c); len(r.Done) != 2 {
		t.Errorf("up again did %q, want two things", r.Done)
	}
	if got := situation(t, s, c); got.State != IsUp {
		t.Errorf("mended: %+v", got)
	}
	mustDown(t, s, c)
	if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
		t.Errorf("before and after (-before +after):\n%s", diff)
	}
}

// What somebody else sets between two calls of up is what down returns to.
func TestMendedReturnsToTheirs(t *testing.T) {
	s, _ := cabled(t)
	c := Config{VIPs: ips("10.0.0.10"), StateDir: t.TempDir()}
	mustUp(t, s, c)
	set(t, s, arpAnnounce, "1")
	mustUp(t, s, c)
	mustDown(t, s, c)
	s.Do(func(context.Context) error {
		if got, err := arpAnnounce.Get(); got != "1" {
			t.Errorf("arp_announce after down: %s (%v), want theirs, 1", got, err)
		}
		return nil
	})
}

// After a reboot, or in a new container, the memory says up and the kernel no.
func TestAfterReboot(t *testing.T) {
	old, _ := cabled(t)
	c := Config{VIPs: ips("10.0.0.10"), StateDir: t.TempDir()}
	mustUp(t, old, c)
	s, _ := cabled(t)
	set(t, s, arpIgnore, "2") // another start, another value
	before := s.Snapshot()
	if r := mustDown(t, s, c); len(r.Done) != 0 || !strings.Contains(strings.Join(r.Left, " "), "is gone") {
		t.Errorf("down in the new namespace: %+v", r)
	}
	mustUp(t, old, c)
	if got := situation(t, s, c); got.State != IsDown {
		t.Errorf("status in the new namespace: %+v", got)
	}
	mustUp(t, s, c)
	if got := situation(t, s, c); got.State != IsUp {
		t.Errorf("up again: %+v", got)
	}
	mustDown(t, s, c)
	if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
		t.Errorf("before and after (-before +after):\n%s", diff)
	}
}

func TestRefused(t *testing.T) {
	s, _ := cabled(t)
	dir := t.TempDir()
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"the server's own address", Config{VIPs: ips("10.0.0.1")}, "this machine answers for 10.0.0.1 on the network (10.0.0.1/24 dev eth0)"},
		{"on the network", Config{VIPs: ips("10.0.0.10"), Device: "eth0"}, "would answer ARP"},
		{"no such device", Config{VIPs: ips("10.0.0.10"), Device: "dummy9"}, "dummy9: does not exist"},
		{"no such way", Config{VIPs: ips("10.0.0.10"), Via: []string{"eth9"}}, "net.ipv4.conf.eth9.rp_filter = 2: does not exist"},
	} {
		c.config.StateDir = dir
		before := s.Snapshot()
		err := s.Try(func(ctx context.Context) error {
			_, err := Up(ctx, c.config)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
			t.Errorf("%s: not unwound:\n%s", c.name, diff)
		}
	}
	found := situation(t, s, Config{VIPs: ips("10.0.0.1"), StateDir: dir})
	if got, want := found.VIPs[0].Checks[0].Mend, "ip addr del 10.0.0.1/24 dev eth0"; got != want {
		t.Errorf("status of the server's own address mends with %q, want %q", got, want)
	}
	set(t, s, "net.ipv6.conf.lo.disable_ipv6", "1")
	err := s.Try(func(ctx context.Context) error {
		_, err := Up(ctx, Config{VIPs: ips("fd00::10"), StateDir: dir})
		return err
	})
	if !errors.Is(err, netif.ErrPermission) || !strings.Contains(err.Error(), "sysctl -w net.ipv6.conf.lo.disable_ipv6=0") {
		t.Errorf("IPv6 disabled: %v", err)
	}
}

func TestDamagedMemory(t *testing.T) {
	s, _ := cabled(t)
	c := Config{VIPs: ips("10.0.0.10"), StateDir: t.TempDir()}
	mustUp(t, s, c)
	if err := os.WriteFile(filepath.Join(c.StateDir, "realserver", "realserver.state"), []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := mustUp(t, s, c)
	if text := strings.Join(r.Left, " "); !strings.Contains(text, "cannot be used") || !strings.Contains(text, "will not be undone") {
		t.Errorf("up with a damaged memory says %q", text)
	}
	if got := situation(t, s, c); got.State != IsUp {
		t.Errorf("status %+v", got)
	}
}

// errCrash is what everything returns after the crash.
var errCrash = errors.New("the process is dead")

// mortal is a kernel under a process that fails, or dies, at one of its writes.
type mortal struct {
	kernel
	left   int    // writes until then
	after  bool   // the last one is still done
	dead   bool   // nothing is done from then on
	dies   bool   // else only that one write fails
	dir    string // of the memory, which is kept as it was at that moment
	corpse string
}

func (m *mortal) write(ctx context.Context, t thing, value string) error {
	if m.dead {
		return errCrash
	}
	m.left--
	if m.left != 0 {
		return m.kernel.write(ctx, t, value)
	}
	var err error
	if m.after {
		err = m.kernel.write(ctx, t, value)
	}
	if m.dies {
		m.dead = true
		err = errors.Join(err, os.CopyFS(m.corpse, os.DirFS(m.dir)))
	}
	return errors.Join(err, errCrash)
}

func (m *mortal) read(ctx context.Context, t thing) (string, error) {
	if m.dead {
		return "", errCrash
	}
	return m.kernel.read(ctx, t)
}

// tries calls do with a kernel that ends at the first write, the second, … before
// and after it, until do has no more of them.
func tries(t *testing.T, dies bool, do func(t *testing.T, m *mortal) error) {
	t.Helper()
	count := 0
	for n := 1; ; n++ {
		for _, after := range []bool{false, true} {
			var err error
			t.Run(fmt.Sprintf("write %d, after it %t", n, after), func(t *testing.T) {
				err = do(t, &mortal{kernel: linux{}, left: n, after: after, dies: dies, corpse: filepath.Join(t.TempDir(), "corpse")})
			})
			if err == nil {
				if count < 6 {
					t.Errorf("%d ways to fail only", count)
				}
				return
			}
			count++
		}
	}
}

func TestFailsMidway(t *testing.T) {
	tries(t, false, func(t *testing.T, m *mortal) error {
		s, _ := cabled(t)
		set(t, s, "net.ipv4.conf.eth0.rp_filter", "1")
		c := Config{VIPs: ips("10.0.0.10", "fd00::10"), Via: []string{"eth0"}, StateDir: t.TempDir()}
		before := s.Snapshot()
		err := s.Try(func(ctx context.Context) error {
			_, err := upOn(ctx, m, c)
			return err
		})
		if err == nil {
			return nil
		}
		if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
			t.Errorf("not unwound (-before +after):\n%s", diff)
		}
		if got := situation(t, s, Config{StateDir: c.StateDir}); len(got.VIPs) != 0 || len(got.Notes) != 0 {
			t.Errorf("remembered: %+v", got)
		}
		return err
	})
}

// A VIP that cannot be put up takes nothing from one that is.
func TestFailsBesideOthers(t *testing.T) {
	s, _ := cabled(t)
	before := s.Snapshot()
	c := Config{VIPs: ips("10.0.0.10"), StateDir: t.TempDir()}
	mustUp(t, s, c)
	set(t, s, arpIgnore, "0")
	err := s.Try(func(ctx context.Context) error {
		_, err := upOn(ctx, &mortal{kernel: linux{}, left: 2}, Config{VIPs: ips("10.0.0.11"), StateDir: c.StateDir})
		return err
	})
	if !errors.Is(err, errCrash) {
		t.Fatalf("up: %v, want it to fail at the address", err)
	}
	if got := situation(t, s, Config{StateDir: c.StateDir}); got.State != IsUp || len(got.VIPs) != 1 {
		t.Errorf("the other VIP: %+v, want up, with what was broken mended", got)
	}
	mustDown(t, s, c)
	if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
		t.Errorf("before and after (-before +after):\n%s", diff)
	}
}

func TestDiesInUp(t *testing.T) {
	tries(t, true, func(t *testing.T, m *mortal) error {
		s, _ := cabled(t)
		c := Config{VIPs: ips("10.0.0.10", "fd00::10"), StateDir: t.TempDir()}
		m.dir = c.StateDir
		before := s.Snapshot()
		died := s.Try(func(ctx context.Context) error {
			_, err := upOn(ctx, m, c)
			return err
		})
		if died == nil {
			return nil
		}
		c.StateDir = m.corpse
		if m.after { // repaired by the next up
			mustUp(t, s, c)
			if got := situation(t, s, c); got.State != IsUp {
				t.Errorf("up after the crash: %+v", got)
			}
		}
		mustDown(t, s, c)
		if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
			t.Errorf("down after the crash (-before +after):\n%s", diff)
		}
		return died
	})
}

func TestDiesInDown(t *testing.T) {
	tries(t, true, func(t *testing.T, m *mortal) error {
		s, _ := cabled(t)
		c := Config{VIPs: ips("10.0.0.10", "fd00::10"), StateDir: t.TempDir()}
		m.dir = c.StateDir
		before := s.Snapshot()
		mustUp(t, s, c)
		died := s.Try(func(ctx context.Context) error {
			_, err := downOn(ctx, m, c)
			return err
		})
		if died == nil {
			return nil
		}
		c.StateDir = m.corpse
		if notes := situation(t, s, c).Notes; len(notes) == 0 || !strings.Contains(notes[0], "was not undone") {
			t.Errorf("status after the crash says %q", notes)
		}
		mustDown(t, s, c)
		if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
			t.Errorf("down after the crash (-before +after):\n%s", diff)
		}
		return died
	})
}

// An address that cannot be removed must not be answered for either.
func TestSilentWhileAddressStays(t *testing.T) {
	s, _ := cabled(t)
	before := s.Snapshot()
	c := Config{VIPs: ips("10.0.0.10", "10.0.0.11"), StateDir: t.TempDir()}
	mustUp(t, s, c)
	err := s.Try(func(ctx context.Context) error {
		_, err := downOn(ctx, &mortal{kernel: linux{}, left: 1}, c)
		return err
	})
	if !errors.Is(err, errCrash) {
		t.Errorf("down: %v", err)
	}
	text := strings.Join(s.Snapshot(), "\n")
	if !strings.Contains(text, "all/arp_ignore = 1") || !strings.Contains(text, "10.0.0.10/32") || strings.Contains(text, "10.0.0.11/32") {
		t.Errorf("after a down that could not remove the first address:\n%s", text)
	}
	mustDown(t, s, c)
	if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
		t.Errorf("before and after (-before +after):\n%s", diff)
	}
}

// A context that is over does not keep the failed Up from being undone.
func TestUnwoundThoughCancelled(t *testing.T) {
	s, _ := cabled(t)
	before := s.Snapshot()
	err := s.Try(func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		k := &canceller{kernel: linux{}, cancel: cancel, left: 3}
		_, err := upOn(ctx, k, Config{VIPs: ips("10.0.0.10"), StateDir: t.TempDir()})
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("up: %v, want Canceled", err)
	}
	if diff := cmp.Diff(before, s.Snapshot()); diff != "" {
		t.Errorf("not unwound (-before +after):\n%s", diff)
	}
}

// canceller ends the context after some writes.
type canceller struct {
	kernel
	cancel func()
	left   int
}

func (c *canceller) write(ctx context.Context, t thing, value string) error {
	if c.left--; c.left == 0 {
		c.cancel()
	}
	return c.kernel.write(ctx, t, value)
}
