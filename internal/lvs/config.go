package lvs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/plugin"
)

// Config is the table [lvs].
type Config struct {
	Backend string `toml:"backend" doc:"What forwards the connections: \"relay\", an embedded TCP forwarder that needs no privilege, or \"record\", which forwards nothing and only logs what it would; default \"relay\"."`
}

// The backends' names.
const (
	BackendRelay  = "relay"
	BackendRecord = "record"
)

// DefaultConfig returns the defaults of the table [lvs].
func DefaultConfig() Config { return Config{Backend: BackendRelay} }

// Check blames a bad value of a key with [plugin.BadKey].
func (c Config) Check() error {
	_, err := oneOf("backend", c.Backend, []string{BackendRelay, BackendRecord})
	return err
}

// VirtualConfig is one table [[virtual]].
type VirtualConfig struct {
	Name           string          `toml:"name" doc:"What the ipvs alerts of watches call this virtual service."`
	Address        string          `toml:"address" doc:"Address and port that clients connect to, like \"10.0.0.1:80\" or \"[2001:db8::1]:80\"; \"0.0.0.0:80\" is every IPv4 address of this machine, \"[::]:80\" every IPv6 address."`
	Protocol       string          `toml:"protocol" doc:"Transport: \"tcp\"."`
	Scheduler      string          `toml:"scheduler" doc:"Who gets the next connection: \"rr\" each in turn, \"wrr\" in turn by weight, \"lc\" the fewest connections, \"wlc\" the fewest connections by weight; default \"wlc\"."`
	OnFailure      string          `toml:"on_failure" doc:"What happens to a real server that is down: \"remove\" takes it out, \"quiesce\" gives it weight 0 so that its connections go on; default \"remove\"."`
	MinUp          int             `toml:"min_up" doc:"How many real servers are kept in although they are down, rather than to empty the pool: the last ones that were up; 0 lets it become empty; default 1."`
	Start          string          `toml:"start" doc:"Where a real server is before its first result: \"down\" is out, \"up\" is in; default \"down\"."`
	Drain          string          `toml:"drain" doc:"What happens to the connections of a removed server: \"drain\" lets them go on for drain_timeout, \"cut\" ends them at once; default \"drain\"."`
	DrainTimeout   plugin.Duration `toml:"drain_timeout" doc:"How long the connections of a removed server may go on; default 60s."`
	ConnectTimeout plugin.Duration `toml:"connect_timeout" doc:"How long the relay waits for a real server to accept a connection; default 3s."`
	Real           []RealConfig    `toml:"real" doc:"The real servers."`
}

// RealConfig is one real server of a [VirtualConfig].
type RealConfig struct {
	Host   string `toml:"host" doc:"The server as written in the host group: an address or a name, with or without \":port\"."`
	Port   int    `toml:"port" doc:"Port to forward to; default is the virtual service's."`
	Weight *int   `toml:"weight" doc:"Share of the connections, 0 to 65535; 0 gets none; default 1."`
}

// DefaultVirtualConfig returns the defaults of a table [[virtual]].
func DefaultVirtualConfig() VirtualConfig {
	return VirtualConfig{
		Protocol: string(TCP), Scheduler: string(WeightedLeastConnection),
		OnFailure: string(Remove), MinUp: 1, Start: string(StartDown),
		Drain:          string(DrainSlowly),
		DrainTimeout:   plugin.Duration(time.Minute),
		ConnectTimeout: plugin.Duration(3 * time.Second),
	}
}

// Build checks the values and returns the virtual service. Its error joins one
// [plugin.KeyError] for each mistake; keys of real servers are written
// "real[0].host".
func (c VirtualConfig) Build() (Virtual, error) {
	v := Virtual{
		Name: c.Name, MinUp: c.MinUp,
		DrainTimeout: c.DrainTimeout.Std(), ConnectTimeout: c.ConnectTimeout.Std(),
	}
	var errs [8]error
	v.Address, errs[0] = virtualAddress(c.Address)
	v.Protocol, errs[1] = oneOf("protocol", c.Protocol, Protocols())
	v.Scheduler, errs[2] = oneOf("scheduler", c.Scheduler, Schedulers())
	v.OnFailure, errs[3] = oneOf("on_failure", c.OnFailure, []OnFailure{Remove, Quiesce})
	v.Start, errs[4] = oneOf("start", c.Start, []Start{StartDown, StartUp})
	v.Drain, errs[5] = oneOf("drain", c.Drain, []Drain{DrainSlowly, DrainCut})
	v.Reals, errs[6] = c.reals(v.Address.Port())
	errs[7] = c.checkRest(v)
	return v, errors.Join(errs[:]...)
}

// checkRest checks what needs no conversion.
func (c VirtualConfig) checkRest(v Virtual) error {
	var errs []error
	if strings.TrimSpace(c.Name) == "" {
		errs = append(errs, plugin.BadKey("name", "a virtual service needs a name, by which the ipvs alerts find it"))
	}
	if v.Drain == DrainSlowly && v.DrainTimeout <= 0 {
		errs = append(errs, plugin.BadKey("drain_timeout", "must be more than 0s; to end connections at once write drain = %q", DrainCut))
	}
	if v.ConnectTimeout <= 0 {
		errs = append(errs, plugin.BadKey("connect_timeout", "must be more than 0s"))
	}
	able := 0
	for _, r := range c.Real {
		if r.Weight == nil || *r.Weight > 0 {
			able++
		}
	}
	switch {
	case c.MinUp < 0:
		errs = append(errs, plugin.BadKey("min_up", "%d is negative: write 0 to let the pool become empty", c.MinUp))
	case len(c.Real) > 0 && c.MinUp > max(able, 1):
		errs = append(errs, plugin.BadKey("min_up", "%d is more than the %d real servers of weight 1 or more", c.MinUp, able))
	}
	return errors.Join(errs...)
}

// Clash returns a [plugin.KeyError] if v cannot stand beside the services that
// are there already: the same name, or the same address.
func Clash(there []Virtual, v Virtual) error {
	for _, t := range there {
		if t.Name == v.Name {
			return plugin.BadKey("name", "there is another virtual service named %q", v.Name)
		}
		if t.Address == v.Address && t.Protocol == v.Protocol && v.Address.IsValid() {
			return plugin.BadKey("address", "virtual service %q has the address %s already", t.Name, v.Address)
		}
	}
	return nil
}

func oneOf[T ~string](key, value string, accepted []T) (T, error) {
	if i := slices.Index(accepted, T(value)); i >= 0 {
		return accepted[i], nil
	}
	names := make([]string, len(accepted))
	for i, a := range accepted {
		names[i] = strconv.Quote(string(a))
	}
	return "", plugin.BadKey(key, "%q is not accepted: write %s", value, orList(names))
}

func orList(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func virtualAddress(text string) (netip.AddrPort, error) {
	bad := func(format string, args ...any) (netip.AddrPort, error) {
		return netip.AddrPort{}, plugin.BadKey("address", format, args...)
	}
	if text == "" {
		return bad("a virtual service needs an address and a port, like \"10.0.0.1:80\"")
	}
	if a, err := netip.ParseAddrPort(text); err == nil {
		if a.Port() == 0 {
			return bad("%q has port 0: write the port that clients connect to, 1 to 65535", text)
		}
		if a.Addr().IsMulticast() {
			return bad("%q is a multicast address: TCP needs a unicast address", text)
		}
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return bad("%q has no port: write %q", text, netip.AddrPortFrom(a, 80))
	}
	host, port, err := net.SplitHostPort(text)
	switch {
	case err == nil && host == "":
		return bad("%q has no address: write %q for every IPv4 address of this machine, or one of them", text, "0.0.0.0:"+port)
	case err == nil && validPort(port) != nil:
		return bad("%q: %w", text, validPort(port))
	case err == nil:
		return bad("%q is not an IP address: write the address itself, like %q, because the name server may be down when it is needed", host, "10.0.0.1:"+port)
	}
	return bad("%q is not an address with a port: write it like \"10.0.0.1:80\" or \"[2001:db8::1]:80\"", text)
}

func validPort(text string) error {
	if n, err := strconv.ParseUint(text, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return nil
}

// reals builds the real servers; port is the virtual service's.
func (c VirtualConfig) reals(port uint16) ([]Real, error) {
	var errs []error
	if len(c.Real) == 0 {
		errs = append(errs, plugin.BadKey("real", "a virtual service needs at least one real server, like real = [{ host = \"10.0.0.2\" }]"))
	}
	seen := map[string]int{}
	reals := make([]Real, 0, len(c.Real))
	for i, rc := range c.Real {
		r, err := rc.build(fmt.Sprintf("real[%d]", i), port)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if first, dup := seen[r.Target()]; dup {
			errs = append(errs, plugin.BadKey(fmt.Sprintf("real[%d].host", i), "%q is the same server as %q: %s", rc.Host, c.Real[first].Host, r.Target()))
			continue
		}
		seen[r.Target()] = i
		reals = append(reals, r)
	}
	return reals, errors.Join(errs...)
}

func (c RealConfig) build(key string, port uint16) (Real, error) {
	r := Real{Host: c.Host, Weight: 1}
	if c.Weight != nil {
		r.Weight = *c.Weight
	}
	if r.Weight < 0 || r.Weight > 65535 {
		return r, plugin.BadKey(key+".weight", "%d is out of range: write 0 to 65535", r.Weight)
	}
	host, own, err := splitHost(c.Host)
	if err != nil {
		return r, plugin.BadKey(key+".host", "%w", err)
	}
	r.Port = port
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

// splitHost takes "host", "host:port", "::1", "[::1]" and "[::1]:port" apart;
// port is 0 if there is none.
func splitHost(text string) (host string, port uint16, err error) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		return a.Unmap().String(), 0, nil
	}
	host = text
	if strings.Contains(text, ":") {
		h, p, err := net.SplitHostPort(text)
		if err != nil {
			return "", 0, fmt.Errorf("%q is neither an address nor a name, with or without \":port\"", text)
		}
		if err := validPort(p); err != nil {
			return "", 0, fmt.Errorf("%q: %w", text, err)
		}
		n, _ := strconv.ParseUint(p, 10, 16) // checked by validPort
		host, port = h, uint16(n)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String(), port, nil
	}
	if !isName(host) {
		return "", 0, fmt.Errorf("%q is neither an address nor a name, with or without \":port\"", text)
	}
	return host, port, nil
}

// isName reports whether the text can be a host's name. One whose last label is
// a number is a mistyped address (RFC 1123, section 2.1).
func isName(text string) bool {
	name := strings.TrimSuffix(text, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	_, err := strconv.ParseUint(labels[len(labels)-1], 10, 64)
	return err != nil
}
