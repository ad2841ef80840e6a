//go:build linux

// Package hosts is support for end-to-end tests: machines and the cables between
// them, each machine a network namespace of this kernel, with small servers and
// clients inside. Nothing of it is visible outside, and all of it is gone when
// the test ends.
//
//	n := hosts.New(t)
//	lan := n.Segment("lan")
//	web := n.Host("web")
//	web.Join(lan, "10.2.0.21/24")
//
// [NewLVS] has the usual set-up of directors and real servers ready.
//
// Functions that cannot fail but for a broken test end the test themselves and
// are for the test's goroutine; those that return an error are for any.
package hosts

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A Network is the hosts of a test and the switch that joins them.
type Network struct {
	t      testing.TB
	cables namespace // where the segments and the far ends of the cables are
	ports  int
	hosts  map[string]*Host
}

// New makes an empty network for the time of the test. It needs root: without,
// the test is skipped, or fails if MONITORD_REQUIRE_ALL is 1.
func New(t testing.TB) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("MONITORD_REQUIRE_ALL") == "1" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	return &Network{t: t, cables: newNamespace(t), hosts: map[string]*Host{}}
}

// A Segment is an Ethernet that hosts join.
type Segment struct {
	network *Network
	bridge  netlink.Link
}

// Segment adds an Ethernet; the name has at most 15 characters.
func (n *Network) Segment(name string) *Segment {
	n.t.Helper()
	// A bridge that takes no part in anything: no spanning tree (ports forward at
	// once), no snooping (every multicast reaches everybody).
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &snooping}
	if err := n.cables.links.LinkAdd(bridge); err != nil {
		n.t.Fatalf("segment %s: %v", name, err)
	}
	if err := n.cables.links.LinkSetUp(bridge); err != nil {
		n.t.Fatalf("segment %s: %v", name, err)
	}
	return &Segment{network: n, bridge: bridge}
}

// A namespace is a network namespace and the netlink sockets into it.
type namespace struct {
	handle netns.NsHandle
	links  *netlink.Handle
}

// newNamespace makes a namespace that is gone when the test ends and the last
// process in it has ended.
func newNamespace(t testing.TB) namespace {
	t.Helper()
	var ns namespace
	err := inNamespace(func() error {
		var err error
		ns.handle, err = netns.New()
		return err
	})
	if err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	t.Cleanup(func() { _ = ns.handle.Close() })
	if ns.links, err = netlink.NewHandleAt(ns.handle); err != nil {
		t.Fatalf("netlink in the new namespace: %v", err)
	}
	t.Cleanup(ns.links.Close)
	return ns
}

// do runs f on a thread that is in the namespace.
func (ns namespace) do(f func() error) error {
	return inNamespace(func() error {
		if err := netns.Set(ns.handle); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return f()
	})
}

// inNamespace runs f on a thread of its own, which f may move to another
// namespace. A thread that cannot be brought back ends with its goroutine.
func inNamespace(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errEnded
		defer func() { done <- err }()
		runtime.LockOSThread()
		home, e := netns.Get()
		if e != nil {
			err = fmt.Errorf("this thread's network namespace: %w", e)
			return
		}
		defer func() {
			if netns.Set(home) == nil {
				runtime.UnlockOSThread()
			}
			_ = home.Close()
		}()
		err = f()
	}()
	return <-done
}

var errEnded = fmt.Errorf("the goroutine inside of a host was ended: call Fatal outside")

// patience is how long the kernel, emulated at worst, may take for what it does
// by itself, such as a link that comes up.
const patience = 20 * time.Second

// Eventually waits until the condition returns nil, and fails the test with its
// last error if that takes longer than limit.
func Eventually(t testing.TB, limit time.Duration, condition func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %v", limit, err)
		}
	}
}
