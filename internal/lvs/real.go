package lvs

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/plugin"
)

// reals builds the real servers.
func (c VirtualConfig) reals(v Virtual, relay bool) ([]Real, error) {
	var errs []error
	if len(c.Real) == 0 {
		errs = append(errs, plugin.BadKey("real", "a virtual service needs at least one real server, like real = [{ host = \"10.0.0.2\" }]"))
	}
	seen := map[string]string{}
	reals := make([]Real, 0, len(c.Real))
	for i, rc := range c.Real {
		key := fmt.Sprintf("real[%d]", i)
		all, err := rc.build(key, c, v, relay)
		errs = append(errs, err)
		for _, r := range all {
			if first, dup := seen[r.Target()]; dup {
				errs = append(errs, plugin.BadKey(key+".host", "%q is the same server as %q: %s", r.Host, first, r.Target()))
				continue
			}
			seen[r.Target()] = r.Host
			reals = append(reals, r)
		}
	}
	return reals, errors.Join(errs...)
}

// sorry builds the sorry server, of which there is one.
func (c VirtualConfig) sorry(v Virtual, relay bool) (*Real, error) {
	if c.Sorry == nil {
		return nil, nil
	}
	all, err := c.Sorry.build("sorry", c, v, relay)
	switch {
	case err != nil:
		return nil, err
	case len(all) > 1:
		return nil, plugin.BadKey("sorry.host", "%q is %d servers: write one", c.Sorry.Host, len(all))
	case all[0].Name != "":
		return nil, plugin.BadKey("sorry.host", "%q is not an IP address: write the address itself, because the name server may be down when it is needed", c.Sorry.Host)
	case slices.ContainsFunc(v.Reals, func(r Real) bool { return r.Target() == all[0].Target() }):
		return nil, plugin.BadKey("sorry.host", "%q is a real server too: the sorry server is for when these are down", c.Sorry.Host)
	case all[0].Weight == 0:
		return nil, plugin.BadKey("sorry.weight", "a sorry server of weight 0 would get no connections")
	}
	return &all[0], nil
}

// build returns the servers of one table, several for a range of addresses. With
// an error it returns none.
func (c RealConfig) build(key string, of VirtualConfig, v Virtual, relay bool) ([]Real, error) {
	r := Real{Weight: 1}
	if c.Weight != nil {
		r.Weight = *c.Weight
	}
	var errs []error
	if r.Weight < 0 || r.Weight > 65535 {
		errs = append(errs, plugin.BadKey(key+".weight", "%d is out of range: write 0 to 65535", r.Weight))
	}
	errs = append(errs, c.thresholds(key, &r))
	hosts, err := c.hosts(key)
	errs = append(errs, err)
	all := make([]Real, 0, len(hosts))
	for _, host := range hosts {
		r.Host = host
		one, err := c.place(key, r, v)
		if err == nil && !relay {
			err = c.method(key, &one, of)
		}
		if err == nil {
			err = c.suits(key, one, v, relay)
		}
		if err != nil {
			errs = append(errs, err)
			break // the next of a range has the same fault
		}
		all = append(all, one)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

// hosts are the texts of the servers, one but for a range.
func (c RealConfig) hosts(key string) ([]string, error) {
	hosts, err := Hosts(c.Host)
	if err != nil {
		return nil, plugin.BadKey(key+".host", "%w", err)
	}
	return hosts, nil
}

func (c RealConfig) thresholds(key string, r *Real) error {
	const most = 1<<31 - 1
	for name, n := range map[string]int{"upper": c.Upper, "lower": c.Lower} {
		if n < 0 || n > most {
			return plugin.BadKey(key+"."+name, "%d is out of range: write 0 to %d", n, most)
		}
	}
	if c.Lower > 0 && c.Lower >= max(c.Upper, 1) {
		return plugin.BadKey(key+".lower", "%d is not less than upper, %d", c.Lower, c.Upper)
	}
	r.Upper, r.Lower = uint32(c.Upper), uint32(c.Lower)
	return nil
}

// place finds out where the server is: its address or name, and its port.
func (c RealConfig) place(key string, r Real, v Virtual) (Real, error) {
	host, own, err := splitHost(r.Host)
	if err != nil {
		return r, plugin.BadKey(key+".host", "%w", err)
	}
	if len(v.IDs) > 0 {
		r.Port = v.IDs[0].Address.Port()
	}
	switch {
	case c.Port < 0 || c.Port > 65535:
		return r, plugin.BadKey(key+".port", "%d is out of range: write 1 to 65535", c.Port)
	case c.Port != 0 && own != 0 && c.Port != int(own):
		return r, plugin.BadKey(key+".port", "%q has the port %d already: write the port once", c.Host, own)
	case own != 0:
		r.Port = own
	case c.Port != 0:
		r.Port = uint16(c.Port)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		r.Address = netip.AddrPortFrom(a.Unmap(), r.Port)
		return r, nil
	}
	r.Name = strings.ToLower(host)
	return r, nil
}

// method finds out how packets get to the server.
func (c RealConfig) method(key string, r *Real, of VirtualConfig) error {
	word, blamed := c.Forward, key+".forward"
	switch {
	case word != "":
	case r.Address.Addr().IsLoopback():
		word = string(Local)
	case of.Forward != "":
		word, blamed = of.Forward, "forward"
	default:
		word = string(DirectRouting)
	}
	var err error
	if r.Forward, err = oneOf(blamed, word, Forwards()); err != nil {
		return err
	}
	tunnel, blamed := c.Tunnel, key+".tunnel"
	if tunnel == nil {
		tunnel, blamed = of.Tunnel, "tunnel"
	}
	switch {
	case tunnel == nil:
		return nil
	case r.Forward == Tunneling:
		r.Tunnel, err = tunnel.build(blamed)
		return err
	case c.Tunnel != nil:
		return plugin.BadKey(blamed, "is for forward = %q, not %q", Tunneling, r.Forward)
	}
	return nil
}

func (c TunnelConfig) build(key string) (Tunnel, error) {
	kind, err := oneOf(key+".type", c.kind(), []TunnelType{"ipip", GUE, GRE})
	if err != nil {
		return Tunnel{}, err
	}
	checksum, err := oneOf(key+".checksum", c.checksum(), []Checksum{"none", OuterChecksum, RemoteChecksum})
	if err != nil {
		return Tunnel{}, err
	}
	t := Tunnel{Type: kind, Port: uint16(c.Port), Checksum: checksum}
	if kind == "ipip" {
		t.Type = IPIP
	}
	if checksum == "none" {
		t.Checksum = NoChecksum
	}
	switch {
	case kind == GUE && (c.Port < 1 || c.Port > 65535):
		return t, plugin.BadKey(key+".port", "%d is not a port: gue needs one from 1 to 65535, like 6080", c.Port)
	case kind != GUE && c.Port != 0:
		return t, plugin.BadKey(key+".port", "is for type = %q, not %q", GUE, kind)
	case t.Type == IPIP && t.Checksum != NoChecksum:
		return t, plugin.BadKey(key+".checksum", "ipip has none: %q is for gue or gre", checksum)
	case kind == GRE && checksum == RemoteChecksum:
		return t, plugin.BadKey(key+".checksum", "%q is for gue: write \"csum\" or \"none\"", checksum)
	}
	return t, nil
}

func (c TunnelConfig) kind() string {
	if c.Type == "" {
		return "ipip"
	}
	return c.Type
}

func (c TunnelConfig) checksum() string {
	if c.Checksum == "" {
		return "none"
	}
	return c.Checksum
}

// suits checks the server against the virtual service.
func (c RealConfig) suits(key string, r Real, v Virtual, relay bool) error {
	for _, id := range v.IDs {
		if err := c.suitsOne(key, r, id, relay); err != nil {
			return err
		}
	}
	return nil
}

func (c RealConfig) suitsOne(key string, r Real, id ServiceID, relay bool) error {
	virtual, addr := id.Address, r.Address.Addr()
	at := key + ".host"
	switch {
	case r.Address.IsValid() && r.Address == virtual && (relay || r.Forward != Local):
		return plugin.BadKey(at, "%q is the virtual service itself: its connections would come back to it", c.Host)
	case relay:
		return nil
	case r.Address.IsValid() && kernelAddress(addr) != nil:
		return plugin.BadKey(at, "%w", kernelAddress(addr))
	case addr == virtual.Addr() && r.Forward != Local:
		return plugin.BadKey(at, "%q is the virtual service's own address: write the real server's, or forward = %q if this director serves it itself", c.Host, Local)
	case addr.IsValid() && addr.BitLen() != virtual.Addr().BitLen() && r.Forward != Tunneling:
		return plugin.BadKey(at, "%q and the virtual service's %s are of two address families: only forward = %q can change from one to the other", c.Host, describe(id), Tunneling)
	case r.Forward.keepsPort() && r.Port != virtual.Port():
		return c.portKept(key, r, id)
	}
	return nil
}

// portKept blames a port that the way of forwarding cannot change.
func (c RealConfig) portKept(key string, r Real, id ServiceID) error {
	at := key + ".host"
	if c.Port != 0 {
		at = key + ".port"
	}
	why := "the server gets the packets as the client sent them"
	if id.Protocol == FWMark || id.Address.Port() == 0 {
		return plugin.BadKey(at, "forward = %q cannot change the port to %d, because %s: leave the port out, or use %q or %q", r.Forward, r.Port, why, NAT, FullNAT)
	}
	return plugin.BadKey(at, "forward = %q cannot change the port from %d to %d, because %s: use %q or %q for that", r.Forward, id.Address.Port(), r.Port, why, NAT, FullNAT)
}

func describe(id ServiceID) string {
	if id.Protocol == FWMark {
		return fmt.Sprintf("mark %d", id.Mark)
	}
	return id.Address.Addr().String()
}
