//go:build !linux

package netif

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Addresses is for Linux only, as all of this package.
func Addresses(context.Context) ([]Address, error) { return nil, errors.ErrUnsupported }

// Links is for Linux only.
func Links(context.Context) ([]Link, error) { return nil, errors.ErrUnsupported }

// LinkNamed is for Linux only.
func LinkNamed(context.Context, string) (Link, error) { return Link{}, errors.ErrUnsupported }

// RouteTo is for Linux only.
func RouteTo(context.Context, netip.Addr) (Route, error) { return Route{}, errors.ErrUnsupported }

// Routes is for Linux only.
func Routes(context.Context) ([]Route, error) { return nil, errors.ErrUnsupported }

// RoutesOf is for Linux only.
func RoutesOf(context.Context, netip.Prefix, int) ([]Route, error) { return nil, errors.ErrUnsupported }

// PutRoute is for Linux only.
func PutRoute(context.Context, NewRoute) error { return errors.ErrUnsupported }

// RemoveRoute is for Linux only.
func RemoveRoute(context.Context, NewRoute) error { return errors.ErrUnsupported }

// Neighbours is for Linux only.
func Neighbours(context.Context) ([]Neighbour, error) { return nil, errors.ErrUnsupported }

// AddAddress is for Linux only.
func AddAddress(context.Context, Add) error { return errors.ErrUnsupported }

// ReplaceAddress is for Linux only.
func ReplaceAddress(context.Context, Add) error { return errors.ErrUnsupported }

// RemoveAddress is for Linux only.
func RemoveAddress(context.Context, string, netip.Prefix) error { return errors.ErrUnsupported }

// SetUp is for Linux only.
func SetUp(context.Context, string, bool) error { return errors.ErrUnsupported }

// RenameLink is for Linux only.
func RenameLink(context.Context, string, string) error { return errors.ErrUnsupported }

// AddTunnel is for Linux only.
func AddTunnel(context.Context, Tunnel) error { return errors.ErrUnsupported }

// RemoveLink is for Linux only.
func RemoveLink(context.Context, string) error { return errors.ErrUnsupported }

// Ports is for Linux only.
func Ports(context.Context) ([]Port, error) { return nil, errors.ErrUnsupported }

// AddPort is for Linux only.
func AddPort(context.Context, Port) error { return errors.ErrUnsupported }

// RemovePort is for Linux only.
func RemovePort(context.Context, Port) error { return errors.ErrUnsupported }

// Namespace is for Linux only.
func Namespace() (string, error) { return "", errors.ErrUnsupported }

// Boottime is for Linux only.
func Boottime() time.Duration { return 0 }

// Hold is for Linux only.
func Hold(context.Context, string, netip.Prefix, HoldOptions) (Held, error) {
	return Held{}, errors.ErrUnsupported
}

// Release is for Linux only.
func Release(context.Context, string, netip.Addr) error { return errors.ErrUnsupported }

// HoldAll is for Linux only.
func HoldAll(context.Context, []Lease, time.Duration) (Held, error) {
	return Held{}, errors.ErrUnsupported
}

// ReleaseAll is for Linux only.
func ReleaseAll(context.Context, []Lease) error { return errors.ErrUnsupported }

// FindAll is for Linux only.
func FindAll(context.Context, []Lease) ([]Found, error) { return nil, errors.ErrUnsupported }

// A Census is for Linux only.
type Census struct{}

// TakeCensus is for Linux only.
func TakeCensus(context.Context) (*Census, error) { return nil, errors.ErrUnsupported }

// WithoutRoutes is for Linux only.
func (c *Census) WithoutRoutes() *Census { return c }

// Leased is for Linux only.
func (*Census) Leased(netip.Addr) string { return "" }

// Covering is for Linux only.
func (*Census) Covering(context.Context, netip.Addr) (string, error) {
	return "", errors.ErrUnsupported
}

// Find is for Linux only.
func Find(context.Context, string, netip.Addr) (Found, error) {
	return Found{}, errors.ErrUnsupported
}

// Covering is for Linux only.
func Covering(context.Context, netip.Addr) (string, error) { return "", errors.ErrUnsupported }

// A Wire is for Linux only.
type Wire struct{}

// OpenWire is for Linux only.
func OpenWire(context.Context, string) (*Wire, error) { return nil, errors.ErrUnsupported }

// Device is for Linux only.
func (*Wire) Device() string { return "" }

// Refresh is for Linux only.
func (*Wire) Refresh(context.Context) error { return errors.ErrUnsupported }

// Guard is for Linux only.
func (*Wire) Guard(...netip.Addr) {}

// Ask is for Linux only.
func (*Wire) Ask(Question) error { return errors.ErrUnsupported }

// Announce is for Linux only.
func (*Wire) Announce(netip.Addr) error { return errors.ErrUnsupported }

// Heard is for Linux only.
func (*Wire) Heard() <-chan Sighting { return nil }

// Flush is for Linux only.
func (*Wire) Flush() {}

// Close is for Linux only.
func (*Wire) Close() error { return nil }

// A Watcher is for Linux only.
type Watcher struct{}

// Watch is for Linux only.
func Watch(context.Context, WatchOptions) (*Watcher, error) { return nil, errors.ErrUnsupported }

// Changes is for Linux only.
func (*Watcher) Changes() <-chan Change { return nil }

// Close is for Linux only.
func (*Watcher) Close() error { return nil }
