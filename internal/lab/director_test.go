//go:build linux

package lab

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

// asDirector makes the test binary a director that does what it reads from its
// folder's fifo "orders": a program in the place of the daemon, driven by hand.
const asDirector = "MONITORD_LAB_TEST_DIRECTOR"

func TestMain(m *testing.M) {
	if role := os.Getenv(asInsider); role != "" {
		os.Exit(insider(role))
	}
	if os.Getenv(asDirector) != "" {
		if err := direct(os.Args[1], netip.MustParseAddr(os.Args[2])); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(alone(m))
}

// alone runs the tests with a folder for temporary files of their own: one of them counts
// what labs leave there.
func alone(m *testing.M) int {
	folder, err := os.MkdirTemp("", "own")
	if err == nil {
		err = os.Setenv("TMPDIR", folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }() // What is left there was seen by the tests.
	return m.Run()
}

// direct takes orders: hold (until further notice, by a lease of a second that is
// renewed), drop, quiet (no longer renew). SIGTERM drops the address and ends.
func direct(orders string, address netip.Addr) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	left := make(chan os.Signal, 1)
	signal.Notify(left, syscall.SIGUSR2)
	wire, err := netif.OpenWire(ctx, "eth0")
	if err != nil {
		return err
	}
	lines := read(orders)
	renew := time.NewTicker(250 * time.Millisecond)
	fmt.Println("ready")
	holding := false
	hold := func() error {
		_, err := netif.Hold(ctx, "eth0", netip.PrefixFrom(address, address.BitLen()), netif.HoldOptions{Lifetime: time.Second})
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return netif.Release(context.Background(), "eth0", address)
		case <-left:
			return nil
		case <-renew.C:
			if holding {
				err = hold()
			}
		case order := <-lines:
			switch order {
			case "hold":
				holding = true
				if err = hold(); err == nil {
					err = wire.Announce(address)
				}
			case "drop":
				holding = false
				err = netif.Release(ctx, "eth0", address)
			case "quiet":
				holding = false
			}
			fmt.Println("done", order)
		}
		if err != nil {
			return err
		}
	}
}

// read brings the lines of a fifo, to which one writer after another comes.
func read(path string) <-chan string {
	lines := make(chan string)
	go func() { // until the process ends
		for {
			file, err := os.Open(path)
			if err != nil {
				return
			}
			for in := bufio.NewScanner(file); in.Scan(); {
				lines <- in.Text()
			}
			_ = file.Close()
		}
	}()
	return lines
}

// order has a node's director do something; it has when order returns.
func order(t *testing.T, l *Lab, node, what string) {
	t.Helper()
	n, err := l.Node(node)
	if err != nil {
		t.Fatal(err)
	}
	before := strings.Count(l.Log(node), "done "+what)
	file, err := os.OpenFile(n.Folder+"/orders", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintln(file, what)
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return strings.Count(l.Log(node), "done "+what) > before })
}

// patience is generous: the machine may be busy.
const patience = 20 * time.Second

// eventually looks again and again, for what nobody tells of.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// open opens a lab with such directors, which are ready; its end ends with the test.
func open(t *testing.T, s Settings) *Lab {
	t.Helper()
	if s.Config == nil {
		s.Config = func(n Node) string {
			if err := syscall.Mkfifo(n.Folder+"/orders", 0o600); err != nil {
				t.Error(err)
			}
			return ""
		}
		address := "10.7.0.100"
		if s.Address.IsValid() {
			address = s.Address.String()
		}
		s.Args = func(n Node) []string { return []string{n.Folder + "/orders", address} }
		// The race detector has every program end a second late.
		s.Env = []string{asDirector + "=1", "GORACE=atexit_sleep_ms=0"}
	}
	s.Happened = func(e Event) { t.Logf("%8.3f %s", e.At.Seconds(), e) }
	l, err := Open(t.Context(), s)
	if err != nil {
		if os.Getuid() == 0 || os.Getenv("MONITORD_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skipf("network namespaces need root: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func ready(t *testing.T, l *Lab) {
	t.Helper()
	for _, n := range l.Nodes() {
		if err := l.Start(n.Name); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return strings.Contains(l.Log(n.Name), "ready") })
	}
}
