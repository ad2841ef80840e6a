// Package realserver is the resource kind "realserver": a director that is a real
// server too as long as another director has the address. It is the one kind that
// works the other way round: stopped, this machine takes the packets that the active
// director sends it, by an address on lo and what keeps it silent about it; started,
// all of that is undone, for the address comes to the network here.
//
//	resource = [
//	  { type = "realserver", address = ["192.0.2.100"] },
//	  { type = "lvs" },
//	  { type = "vip", address = "192.0.2.100" },
//	]
//
// Write it before the addresses: the machine stops being a real server before the
// address comes, and is one again when the address is gone. It stays a real server
// when the daemon ends.
package realserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/realserver"
	"github.com/monitord/monitord/resources"
)

// Config is the configuration of the kind.
type Config struct {
	Address []string `toml:"address" doc:"The virtual addresses, IPv4 or IPv6, that this machine serves while it is not the active director; no default."`
	Mode    string   `toml:"mode" doc:"How the active director forwards: \"dr\" or \"tun\"; default \"dr\"."`
	Tunnel  string   `toml:"tunnel" doc:"What packets are wrapped in, with mode = \"tun\": \"ipip\", \"gue\" or \"gre\"; default \"ipip\"."`
	Port    int      `toml:"port" doc:"UDP port of tunnel = \"gue\"; default none."`
	Outer   int      `toml:"outer" doc:"IP version of the packets that carry, 4 or 6, with mode = \"tun\"; default that of the address."`
	Device  string   `toml:"device" doc:"Device that gets the address, with mode = \"dr\": lo or a dummy device; default \"lo\"."`
	Via     []string `toml:"via" doc:"Devices at which the director's packets arrive although the way to the clients is by another one; default none."`
}

func init() { resources.Register("realserver", Config{Mode: string(realserver.DR)}, build) }

func build(c Config, site resources.Site) (resources.Resource, error) {
	var errs []error
	bad := func(key, format string, args ...any) { errs = append(errs, resources.BadKey(key, format, args...)) }
	r := &Server{realserver.Config{
		Mode: realserver.Mode(c.Mode), Tunnel: realserver.Encapsulation(c.Tunnel), Port: uint16(c.Port), Outer: c.Outer,
		Device: c.Device, Via: slices.Clone(c.Via), StateDir: site.StateDir,
	}}
	if len(c.Address) == 0 {
		bad("address", "missing: write the virtual addresses, such as [\"192.0.2.100\"]")
	}
	for _, text := range c.Address {
		a, err := netip.ParseAddr(text)
		if err != nil {
			bad("address", "%q is no address: write one such as \"192.0.2.100\" or \"2001:db8::100\"", text)
			continue
		}
		r.config.VIPs = append(r.config.VIPs, a.Unmap())
	}
	if c.Mode != string(realserver.DR) && c.Mode != string(realserver.Tun) {
		bad("mode", "%q: write %q or %q", c.Mode, realserver.DR, realserver.Tun)
	}
	if c.Port < 0 || c.Port > 65535 {
		bad("port", "%d is out of range: write 1 to 65535", c.Port)
	}
	if len(errs) == 0 {
		errs = append(errs, r.config.Check())
	}
	return r, errors.Join(errs...)
}

// Server is the resource.
type Server struct{ config realserver.Config }

// unwinding bounds the way back from a Start that failed, whose context may be over.
const unwinding = time.Second

// Start ends that this machine is a real server, and undoes what made it one. What was
// so before, by somebody else's doing, stays.
func (s *Server) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := realserver.Down(ctx, s.config)
	if err == nil {
		return nil
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwinding)
	defer cancel()
	_, unwound := realserver.Up(back, s.config)
	return errors.Join(err, unwound)
}

// Stop makes this machine a real server. It fails as long as the address is on a
// device that has neighbours.
func (s *Server) Stop(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := realserver.Up(ctx, s.config)
	return err
}

// BeforeAddress is so that the address is taken off lo before it comes, and put back
// when it has gone.
func (s *Server) BeforeAddress() string {
	return "the real server's address on lo and the director's own cannot be there together"
}

var _ resources.Forerunner = (*Server)(nil)

// Status is Stopped while this machine is a real server for all addresses, and
// Running if it is for none and nothing of it is left; else it is Failed. An address
// that somebody else put there does not count.
func (s *Server) Status(ctx context.Context) (resources.Status, error) {
	if err := ctx.Err(); err != nil {
		return resources.Stopped, err
	}
	found, err := realserver.Status(ctx, s.config)
	if err != nil {
		return resources.Stopped, fmt.Errorf("real server: %w", err)
	}
	put := 0
	for _, v := range found.VIPs {
		if v.Remembered {
			put++
		}
	}
	switch {
	case put == len(found.VIPs) && found.State == realserver.IsUp:
		return resources.Stopped, nil
	case put == 0 && len(found.Notes) == 0:
		return resources.Running, nil
	}
	return resources.Failed, nil
}
