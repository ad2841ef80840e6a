//go:build !linux

package netif

import (
	"context"
	"errors"
	"net/netip"
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
