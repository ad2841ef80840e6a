package realserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/runcmd"
)

// A kernel has the things. Read returns a thing's value; write gives it one.
type kernel interface {
	read(ctx context.Context, t thing) (string, error)
	write(ctx context.Context, t thing, value string) error
	// namespace names what the values belong to, see netif.Namespace.
	namespace() (string, error)
}

// linux is the kernel of the calling thread's network namespace.
type linux struct{}

func (linux) namespace() (string, error) { return netif.Namespace() }

func (linux) read(ctx context.Context, t thing) (string, error) {
	switch t.Kind {
	case sysctl:
		value, err := t.Key.Get()
		if errors.Is(err, netif.ErrMissing) {
			return absent, nil // The device is not there, so its sysctl is not.
		}
		return value, err
	case address, elsewhere:
		return readAddress(ctx, t)
	case link, tunnel, quiet:
		return readLink(ctx, t)
	case port:
		ports, err := netif.Ports(ctx)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return "", err
		}
		return presence(slices.Contains(ports, gue(t))), nil
	}
	return "", fmt.Errorf("no kind of thing is called %q", t.Kind)
}

func presence(is bool) string {
	if is {
		return present
	}
	return absent
}

func readLink(ctx context.Context, t thing) (string, error) {
	l, err := netif.LinkNamed(ctx, t.Device)
	switch {
	case errors.Is(err, netif.ErrMissing):
		return absent, nil
	case err != nil:
		return "", err
	case t.Kind == tunnel:
		return present, nil
	case t.Kind == quiet && (l.Loop || l.NoARP):
		return "quiet", nil
	case t.Kind == quiet:
		return "answers", nil
	case l.Up:
		return up, nil
	}
	return down, nil
}

// between separates the places where an address is.
const between = "; "

// readAddress says whether the VIP is on its device; or where else it is, leaving
// out devices without neighbours.
func readAddress(ctx context.Context, t thing) (string, error) {
	all, err := netif.Addresses(ctx)
	if err != nil {
		return "", err
	}
	if t.Kind == address {
		return presence(slices.ContainsFunc(all, func(a netif.Address) bool {
			return a.Device == t.Device && a.Prefix == t.prefix()
		})), nil
	}
	var places []string
	for _, a := range all {
		if a.Prefix.Addr() != t.VIP {
			continue
		}
		l, err := netif.LinkNamed(ctx, a.Device)
		if err != nil && !errors.Is(err, netif.ErrMissing) {
			return "", err
		}
		if err == nil && !l.Loop && !l.NoARP {
			places = append(places, fmt.Sprintf("%s dev %s", a.Prefix, a.Device))
		}
	}
	return strings.Join(places, between), nil
}

func (k linux) write(ctx context.Context, t thing, value string) error {
	switch t.Kind {
	case sysctl:
		if value == absent {
			return nil
		}
		return t.Key.Set(value)
	case address:
		if value == absent {
			return netif.RemoveAddress(ctx, t.Device, t.prefix())
		}
		return disabled6(t, netif.AddAddress(ctx, netif.Add{
			Device: t.Device, Prefix: t.prefix(), Scope: netif.Host, Label: label(t.Device), Deprecated: t.VIP.Is6(), NoDAD: true,
		}))
	case link:
		if value == absent {
			return nil // The device goes with its module, or with the thing "tunnel".
		}
		return netif.SetUp(ctx, t.Device, value == up)
	case tunnel:
		if value == absent {
			return netif.RemoveLink(ctx, t.Device)
		}
		kind := tunnelKinds()[t.Device][0]
		return withModule(ctx, t, func() error { return netif.AddTunnel(ctx, netif.Tunnel{Name: t.Device, Kind: kind}) })
	case port:
		if value == absent {
			return netif.RemovePort(ctx, gue(t))
		}
		return withModule(ctx, t, func() error { return netif.AddPort(ctx, gue(t)) })
	case quiet:
		return refuse(ctx, t)
	case elsewhere:
		places, err := k.read(ctx, t)
		return errors.Join(err, fmt.Errorf("this machine answers for %s on the network (%s), as a real server must not: "+
			"take it away there, or give the director's address instead of this server's own", t.VIP, places))
	}
	return fmt.Errorf("no kind of thing is called %q", t.Kind)
}

func gue(t thing) netif.Port { return netif.Port{Number: t.Port, IPv6: t.Outer == 6} }

// refuse says what is wrong with the device of a VIP.
func refuse(ctx context.Context, t thing) error {
	if _, err := netif.LinkNamed(ctx, t.Device); err != nil {
		return err
	}
	return fmt.Errorf("device %s is on the network and would answer ARP for the VIP: take lo, or a dummy device", t.Device)
}

// label marks an IPv4 address in the output of ip(8), if the name leaves room:
// IFNAMSIZ is 16 with the zero.
func label(device string) string {
	const mark = ":vip"
	if len(device)+len(mark) > 15 {
		return ""
	}
	return device + mark
}

// disabled6 explains the kernel's "permission denied" to root.
func disabled6(t thing, err error) error {
	if !errors.Is(err, netif.ErrPermission) || t.VIP.Is4() {
		return err
	}
	key := netif.InterfaceKey("net.ipv6.conf", t.Device, "disable_ipv6")
	if value, _ := key.Get(); value == "1" {
		return fmt.Errorf("%w: IPv6 is disabled on %s (%s)", err, t.Device, key.Command("0"))
	}
	return err
}

// withModule loads a kernel module if it turns out to be missing: the kernel loads
// those of devices itself, if it can, but not fou.
func withModule(ctx context.Context, t thing, do func() error) error {
	err := do()
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	name := module(t)
	if loading := modprobe(ctx, name); loading != nil {
		return fmt.Errorf("%w; this kernel needs its module %s for that, and it cannot be loaded: %w", err, name, loading)
	}
	return do()
}

func modprobe(ctx context.Context, name string) error {
	path, err := findProgram("modprobe")
	if err != nil {
		return err
	}
	result, err := runcmd.Run(ctx, runcmd.Command{
		Path: path, Args: []string{"modprobe", "--", name}, Env: []string{"PATH=" + os.Getenv("PATH")},
	})
	if err != nil {
		return err
	}
	if result.Exit != 0 {
		return fmt.Errorf("modprobe %s: %s: %s", name, result, strings.TrimSpace(string(result.Output)))
	}
	return nil
}

// findProgram searches PATH and, as that of a user may lack them, the folders of
// the administrator.
func findProgram(name string) (string, error) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s (package kmod)", name)
}
