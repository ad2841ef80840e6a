package lvs

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/plugin"
)

// VirtualConfig is one table [[virtual]].
type VirtualConfig struct {
	Name               string          `toml:"name" doc:"What the ipvs alerts of watches call this virtual service; no default."`
	Address            string          `toml:"address" doc:"Address and port that clients connect to, like \"10.0.0.1:80\" or \"[2001:db8::1]:80\"; \"10.0.0.1-9:80\" is a service at each of these addresses, all with one pool; port 0 is all ports, with persistence; default none, with a fwmark. The relay takes \"0.0.0.0:80\" for every IPv4 address of this machine, \"[::]:80\" for every IPv6 address."`
	FWMark             int             `toml:"fwmark" doc:"Instead of address: the service is all packets that the firewall gave this mark; default 0: none."`
	Family             string          `toml:"family" doc:"Of a fwmark: \"ipv4\" or \"ipv6\"; default \"ipv4\"."`
	Protocol           string          `toml:"protocol" doc:"Transport: \"tcp\", \"udp\" or \"sctp\"; default \"tcp\"."`
	Scheduler          string          `toml:"scheduler" doc:"Who gets the next connection: \"rr\" each in turn, \"wrr\" in turn by weight, \"lc\" the fewest connections, \"wlc\" the fewest connections by weight; the kernel also has \"lblc\", \"lblcr\", \"dh\", \"sh\", \"mh\", \"sed\", \"nq\", \"fo\" and \"ovf\" (see ipvsadm(8)); default \"wlc\"."`
	Flags              []string        `toml:"flags" doc:"What the scheduler does otherwise: \"sh-port\", \"sh-fallback\", \"mh-port\", \"mh-fallback\"; \"ops\" schedules each UDP packet by itself; default none."`
	Persistence        plugin.Duration `toml:"persistence" doc:"How long after its last connection a client is sent to the same server; default 0s: not at all."`
	PersistenceNetmask string          `toml:"persistence_netmask" doc:"Which clients count as one for persistence: \"255.255.255.0\" or \"/24\", for IPv6 \"/64\"; default each address by itself."`
	Forward            string          `toml:"forward" doc:"How packets get to the real servers: \"dr\" direct routing, \"nat\", \"tun\", \"local\" this machine, \"fullnat\" with the director's address as the client's; default \"dr\". The relay always does what fullnat does."`
	Tunnel             *TunnelConfig   `toml:"tunnel" doc:"What \"tun\" wraps packets in: { type = \"gue\", port = 6080 }; default IP in IP."`
	OnFailure          string          `toml:"on_failure" doc:"What happens to a real server that is down: \"remove\" takes it out, \"quiesce\" gives it weight 0 so that its connections go on; default \"remove\"."`
	MinUp              *int            `toml:"min_up" doc:"How many real servers are kept in although they are down, rather than to empty the pool: the last ones that were up; 0 lets it become empty; default 1, with a sorry server 0."`
	Sorry              *RealConfig     `toml:"sorry" doc:"The server that gets the connections while the quorum is missing: { host = \"10.0.0.9\" }; default none."`
	Quorum             int             `toml:"quorum" doc:"The weight of servers, all together, that must be up; default 1."`
	QuorumHysteresis   int             `toml:"quorum_hysteresis" doc:"By how much the weight must go below the quorum to lose it, and above it to get it back; default 0."`
	Start              string          `toml:"start" doc:"Where a real server is before its first result: \"down\" is out, \"up\" is in; default \"down\"."`
	Drain              string          `toml:"drain" doc:"What happens to the connections of a removed server: \"drain\" lets them go on for drain_timeout (in the kernel: until it forgets them, should the server come back), \"cut\" ends them at once, which in the kernel is a switch for all services; default \"drain\"."`
	DrainTimeout       plugin.Duration `toml:"drain_timeout" doc:"How long the connections of a removed or drained server may go on; default 60s."`
	ConnectTimeout     plugin.Duration `toml:"connect_timeout" doc:"How long the relay waits for a real server to accept a connection; default 3s."`
	Real               []RealConfig    `toml:"real" doc:"The real servers; no default."`
}

// RealConfig is one real server of a [VirtualConfig], or several of them.
type RealConfig struct {
	Host    string        `toml:"host" doc:"The server as written in the host group: an address or a name, with or without \":port\". \"10.0.0.21-29\" is a server at each of these addresses; no default."`
	Port    int           `toml:"port" doc:"Port to forward to; default is the virtual service's. Only \"nat\", \"fullnat\" and the relay can change it."`
	Weight  *int          `toml:"weight" doc:"Share of the connections, 0 to 65535; 0 gets none; default 1."`
	Forward string        `toml:"forward" doc:"How packets get to this server; default as the virtual service says, \"local\" for a loopback address."`
	Tunnel  *TunnelConfig `toml:"tunnel" doc:"What \"tun\" wraps packets for this server in; default as the virtual service says."`
	Upper   int           `toml:"upper" doc:"Number of connections at which the server gets no new ones; default 0: any."`
	Lower   int           `toml:"lower" doc:"Number of connections below which a server that reached upper gets new ones again; default 0: three quarters of upper."`
}

// TunnelConfig is what packets are wrapped in.
type TunnelConfig struct {
	Type     string `toml:"type" doc:"\"ipip\", \"gue\" or \"gre\"; default \"ipip\"."`
	Port     int    `toml:"port" doc:"UDP port of gue; default none."`
	Checksum string `toml:"checksum" doc:"\"none\", \"csum\" of gue and gre, \"remcsum\" of gue; default \"none\"."`
}

// DefaultVirtualConfig returns the defaults of a table [[virtual]].
func DefaultVirtualConfig() VirtualConfig {
	return VirtualConfig{
		Protocol: string(TCP), Scheduler: string(WeightedLeastConnection),
		OnFailure: string(Remove), Quorum: 1, Start: string(StartDown),
		Drain:          string(DrainSlowly),
		DrainTimeout:   plugin.Duration(time.Minute),
		ConnectTimeout: plugin.Duration(3 * time.Second),
	}
}

// Build checks the values against what the backend can do and returns the
// virtual service. Its error joins one [plugin.KeyError] for each mistake; keys
// of real servers are written "real[0].host".
func (c VirtualConfig) Build(backend string) (Virtual, error) {
	v := Virtual{
		Name: c.Name, MinUp: c.minUp(), Quorum: c.Quorum, Hysteresis: c.QuorumHysteresis,
		Persistence:  c.Persistence.Std(),
		DrainTimeout: c.DrainTimeout.Std(), ConnectTimeout: c.ConnectTimeout.Std(),
	}
	var errs [14]error
	protocol, err := oneOf("protocol", c.Protocol, Protocols())
	errs[0] = err
	v.IDs, errs[1] = c.ids(protocol)
	v.Scheduler, errs[2] = oneOf("scheduler", c.Scheduler, Schedulers())
	v.Flags, errs[3] = c.flags(v.Scheduler)
	v.OnFailure, errs[4] = oneOf("on_failure", c.OnFailure, []OnFailure{Remove, Quiesce})
	v.Start, errs[5] = oneOf("start", c.Start, []Start{StartDown, StartUp})
	v.Drain, errs[6] = oneOf("drain", c.Drain, []Drain{DrainSlowly, DrainCut})
	v.Mask, errs[7] = c.mask(v)
	relay := Config{Backend: backend}.isRelay()
	c, errs[13] = c.blamedOnce()
	v.Reals, errs[8] = c.reals(v, relay)
	v.Sorry, errs[9] = c.sorry(v, relay)
	errs[10] = c.checkRest(v)
	if relay {
		errs[11] = c.relayLacks(v)
	} else if len(v.IDs) > 0 && c.FWMark == 0 {
		errs[12] = c.kernelLacks(v)
	}
	return v, errors.Join(errs[:]...)
}

// blamedOnce checks what real servers take from the virtual service, and takes
// out what is wrong, lest each of them is blamed for it.
func (c VirtualConfig) blamedOnce() (VirtualConfig, error) {
	var errs []error
	if c.Forward != "" {
		if _, err := oneOf("forward", c.Forward, Forwards()); err != nil {
			errs = append(errs, err)
			c.Forward = ""
		}
	}
	if c.Tunnel != nil {
		if _, err := c.Tunnel.build("tunnel"); err != nil {
			errs = append(errs, err)
			c.Tunnel = nil
		}
	}
	return c, errors.Join(errs...)
}

// minUp is the key's value or its default: a sorry server is there for an empty
// pool.
func (c VirtualConfig) minUp() int {
	switch {
	case c.MinUp != nil:
		return *c.MinUp
	case c.Sorry != nil:
		return 0
	}
	return 1
}

// checkRest checks what needs no conversion.
func (c VirtualConfig) checkRest(v Virtual) error {
	var errs []error
	bad := func(key, format string, args ...any) { errs = append(errs, plugin.BadKey(key, format, args...)) }
	if strings.TrimSpace(c.Name) == "" {
		bad("name", "a virtual service needs a name, by which the ipvs alerts find it")
	}
	if v.Drain == DrainSlowly && v.DrainTimeout <= 0 {
		bad("drain_timeout", "must be more than 0s; to end connections at once write drain = %q", DrainCut)
	}
	if v.ConnectTimeout <= 0 {
		bad("connect_timeout", "must be more than 0s")
	}
	able, weight := 0, 0
	for _, r := range v.Reals {
		weight += r.Weight
		able += min(r.Weight, 1)
	}
	switch {
	case v.MinUp < 0:
		bad("min_up", "%d is negative: write 0 to let the pool become empty", v.MinUp)
	case len(v.Reals) == 0: // blamed for that
	case v.MinUp > max(able, 1):
		bad("min_up", "%d is more than the %d real servers of weight 1 or more", v.MinUp, able)
	case v.MinUp > 0 && c.Sorry != nil:
		bad("min_up", "%d keeps a server in although it is down, so that the sorry server would not be used: write 0, or leave one of them out", v.MinUp)
	}
	switch {
	case v.Quorum < 1:
		bad("quorum", "%d is no weight that could be missing: write 1 or more", v.Quorum)
	case len(v.Reals) > 0 && weight > 0 && v.Quorum > weight:
		bad("quorum", "%d can never be had: the weight of all real servers together is %d", v.Quorum, weight)
	case v.Hysteresis < 0 || v.Hysteresis >= v.Quorum:
		bad("quorum_hysteresis", "%d is out of range: write 0 to %d, less than the quorum, or it is never lost", v.Hysteresis, v.Quorum-1)
	case weight > 0 && v.Quorum+v.Hysteresis > weight:
		bad("quorum_hysteresis", "%d makes a quorum that was lost impossible to get back: the weight of all real servers together is %d", v.Hysteresis, weight)
	}
	return errors.Join(errs...)
}

func (c VirtualConfig) flags(s Scheduler) (Flags, error) {
	var all Flags
	var errs []error
	for i, word := range c.Flags {
		key := fmt.Sprintf("flags[%d]", i)
		at := slices.IndexFunc(flagNames, func(n struct {
			name      string
			flag      Flags
			scheduler Scheduler
		},
		) bool {
			return n.name == word
		})
		if at < 0 {
			errs = append(errs, plugin.BadKey(key, "%q is not accepted: write %s", word, orList(quoted(Flags(0xff).Names()))))
			continue
		}
		n := flagNames[at]
		switch {
		case n.scheduler != "" && s != "" && n.scheduler != s:
			errs = append(errs, plugin.BadKey(key, "%q is for scheduler = %q", word, n.scheduler))
		case n.flag == OnePacket && c.FWMark == 0 && c.Protocol != string(UDP):
			errs = append(errs, plugin.BadKey(key, "\"ops\" is for protocol = \"udp\" or a fwmark"))
		}
		all |= n.flag
	}
	return all, errors.Join(errs...)
}

// mask returns how many leading bits of its address make a client.
func (c VirtualConfig) mask(v Virtual) (int, error) {
	if len(v.IDs) == 0 {
		return 0, nil
	}
	whole := v.Family().BitLen()
	bad := func(format string, args ...any) (int, error) {
		return whole, plugin.BadKey("persistence_netmask", format, args...)
	}
	if p := v.Persistence; p < 0 || p%time.Second != 0 || p > 31*24*time.Hour {
		return whole, plugin.BadKey("persistence", "%s is no number of whole seconds up to 31 days", p)
	}
	text := c.PersistenceNetmask
	switch {
	case text == "":
		return whole, nil
	case v.Persistence == 0:
		return bad("is of no use without persistence")
	}
	if m, err := netip.ParseAddr(text); err == nil && m.Is4() && whole == 32 {
		b := m.As4()
		n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		if ones := bits.LeadingZeros32(^n); ones > 0 && n<<ones == 0 {
			return ones, nil
		}
	}
	if p, err := netip.ParsePrefix(v.Family().String() + text); err == nil && strings.HasPrefix(text, "/") && p.Bits() > 0 {
		return p.Bits(), nil
	}
	return bad("%q is no netmask: write \"255.255.255.0\" or \"/24\", for IPv6 \"/64\"", text)
}

// kernelLacks blames an address that only the relay can serve.
func (c VirtualConfig) kernelLacks(v Virtual) error {
	if v.Family().IsUnspecified() {
		return plugin.BadKey("address", "%q: the kernel needs the address itself; only the relay can serve all of them", c.Address)
	}
	if err := kernelAddress(v.Family()); err != nil {
		return plugin.BadKey("address", "%w", err)
	}
	return nil
}

// relayLacks blames what only the kernel can do.
func (c VirtualConfig) relayLacks(v Virtual) error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, plugin.BadKey(key, format+", the relay cannot: set [lvs] backend = %q, or leave it out", append(args, BackendKernel)...))
	}
	switch {
	case c.FWMark != 0:
		bad("fwmark", "this needs the kernel's IPVS")
	case c.Protocol == string(UDP) || c.Protocol == string(SCTP):
		bad("protocol", "%q needs the kernel's IPVS", c.Protocol)
	}
	if v.Scheduler != "" && !slices.Contains(RelaySchedulers(), v.Scheduler) {
		bad("scheduler", "%q needs the kernel's IPVS", v.Scheduler)
	}
	if v.Persistence != 0 {
		bad("persistence", "this needs the kernel's IPVS")
	}
	if len(c.Flags) > 0 {
		bad("flags", "these need the kernel's IPVS")
	}
	for i, r := range c.Real {
		if r.Upper != 0 || r.Lower != 0 {
			bad(fmt.Sprintf("real[%d].upper", i), "thresholds need the kernel's IPVS")
		}
	}
	return errors.Join(errs...)
}
