package lvs

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/plugin"
)

// Config is the table [lvs].
type Config struct {
	Backend       string          `toml:"backend" doc:"What forwards the connections: \"kernel\", Linux's IPVS; \"relay\", an embedded TCP forwarder that needs no privilege; or \"record\", which forwards nothing and only logs what it would; default \"relay\"."`
	Own           string          `toml:"own" doc:"Which services of the kernel's table are removed if no [[virtual]] wants them: those that monitord \"added\", or \"all\"; default \"added\"."`
	OnExit        string          `toml:"on_exit" doc:"What becomes of the kernel's table when the daemon ends: \"keep\" leaves it forwarding, \"remove\" takes out what monitord added; default \"keep\"."`
	Reconcile     plugin.Duration `toml:"reconcile" doc:"How often the kernel's table is compared with what it should be, and mended, 1s to 1m; default 5s."`
	TCPTimeout    plugin.Duration `toml:"tcp_timeout" doc:"After what silence the kernel forgets a TCP connection; default 0s: as the kernel has it, which is 900s."`
	TCPFinTimeout plugin.Duration `toml:"tcpfin_timeout" doc:"The same after the FIN; default 0s: as the kernel has it, which is 120s."`
	UDPTimeout    plugin.Duration `toml:"udp_timeout" doc:"The same of UDP; default 0s: as the kernel has it, which is 300s."`
}

// The backends' names.
const (
	BackendKernel = "kernel"
	BackendRelay  = "relay"
	BackendRecord = "record"
)

// The values of the keys own and on_exit.
const (
	OwnAdded     = "added"
	OwnAll       = "all"
	OnExitKeep   = "keep"
	OnExitRemove = "remove"
)

// DefaultConfig returns the defaults of the table [lvs].
func DefaultConfig() Config {
	return Config{Backend: BackendRelay, Own: OwnAdded, OnExit: OnExitKeep, Reconcile: plugin.Duration(5 * time.Second)}
}

// Check blames bad values of keys with [plugin.BadKey].
func (c Config) Check() error {
	var errs []error
	_, err := oneOf("backend", c.Backend, []string{BackendKernel, BackendRelay, BackendRecord})
	errs = append(errs, err)
	_, err = oneOf("own", c.Own, []string{OwnAdded, OwnAll})
	errs = append(errs, err)
	_, err = oneOf("on_exit", c.OnExit, []string{OnExitKeep, OnExitRemove})
	errs = append(errs, err)
	if r := c.Reconcile.Std(); r < time.Second || r > time.Minute {
		errs = append(errs, plugin.BadKey("reconcile", "%s is out of range: write 1s to 1m", r))
	}
	for _, t := range []struct {
		key   string
		value plugin.Duration
	}{{"tcp_timeout", c.TCPTimeout}, {"tcpfin_timeout", c.TCPFinTimeout}, {"udp_timeout", c.UDPTimeout}} {
		if d := t.value.Std(); d < 0 || d%time.Second != 0 || d > 31*24*time.Hour {
			errs = append(errs, plugin.BadKey(t.key, "%s is no number of whole seconds up to 31 days", d))
		}
	}
	return errors.Join(errs...)
}

// isRelay reports whether connections are forwarded by monitord itself. The record
// has the kernel's rules.
func (c Config) isRelay() bool { return c.Backend == BackendRelay }

// SyncConfig is the table [sync]: the kernel's daemon that tells other directors
// of connections, so that these survive a failover.
type SyncConfig struct {
	Role      string `toml:"role" doc:"\"master\" sends, \"backup\" receives, \"both\" does both; default \"both\", so that whichever director has the connections tells the other."`
	Interface string `toml:"interface" doc:"The interface that the other directors are on, like \"eth1\"; no default."`
	SyncID    int    `toml:"syncid" doc:"A number from 1 to 255 that the directors of one site share; default 1."`
	Group     string `toml:"group" doc:"Multicast address; default \"224.0.0.81\", the kernel's."`
	Port      int    `toml:"port" doc:"UDP port of the messages; default 8848, the kernel's."`
	TTL       int    `toml:"ttl" doc:"How many routers the packets may cross, 1 to 255; default 1."`
	MaxLength int    `toml:"max_length" doc:"Most bytes of a packet; default 0: as fits the interface."`
}

// A Sync is how directors tell each other of connections.
type Sync struct {
	Master, Backup bool
	Interface      string
	SyncID         int
	Group          netip.Addr
	Port           uint16
	TTL            int
	MaxLength      int // bytes; 0 is what fits the interface
}

// DefaultSyncConfig returns the defaults of the table [sync]. Address, port and
// TTL are those of the kernel (ip_vs_sync.c).
func DefaultSyncConfig() SyncConfig {
	return SyncConfig{Role: "both", SyncID: 1, Group: "224.0.0.81", Port: 8848, TTL: 1}
}

// Build checks the values; its error joins one [plugin.KeyError] for each
// mistake.
func (c SyncConfig) Build(backend string) (Sync, error) {
	var errs []error
	role, err := oneOf("role", c.Role, []string{"master", "backup", "both"})
	errs = append(errs, err)
	s := Sync{
		Master: role != "backup", Backup: role != "master",
		Interface: c.Interface, SyncID: c.SyncID, Port: uint16(c.Port), TTL: c.TTL, MaxLength: c.MaxLength,
	}
	bad := func(key, format string, args ...any) { errs = append(errs, plugin.BadKey(key, format, args...)) }
	if backend != BackendKernel {
		bad("interface", "the connections of the %s cannot be told to another director: [sync] needs [lvs] backend = %q", backend, BackendKernel)
	}
	if c.Interface == "" || len(c.Interface) > 15 || strings.ContainsAny(c.Interface, "/ ") {
		bad("interface", "%q is no interface's name: write one like \"eth1\"", c.Interface)
	}
	if c.SyncID < 1 || c.SyncID > 255 {
		bad("syncid", "%d is out of range: write 1 to 255", c.SyncID)
	}
	if s.Group, err = netip.ParseAddr(c.Group); err != nil || !s.Group.IsMulticast() {
		bad("group", "%q is no multicast address: write one like \"224.0.0.81\"", c.Group)
	}
	if c.Port < 1 || c.Port > 65535 {
		bad("port", "%d is out of range: write 1 to 65535", c.Port)
	}
	if c.TTL < 1 || c.TTL > 255 {
		bad("ttl", "%d is out of range: write 1 to 255", c.TTL)
	}
	if c.MaxLength < 0 || c.MaxLength > 65535 {
		bad("max_length", "%d is out of range: write 0 to 65535", c.MaxLength)
	}
	return s, errors.Join(errs...)
}

// Clash returns a [plugin.KeyError] if v cannot stand beside the services that
// are there already: the same name, or the same address.
func Clash(there []Virtual, v Virtual) error {
	for _, t := range there {
		if t.Name == v.Name {
			return plugin.BadKey("name", "there is another virtual service named %q", v.Name)
		}
		for _, id := range v.IDs {
			switch {
			case !slices.Contains(t.IDs, id):
			case id.Protocol == FWMark:
				return plugin.BadKey("fwmark", "virtual service %q has the firewall mark %d already", t.Name, id.Mark)
			default:
				return plugin.BadKey("address", "virtual service %q has the address %s already", t.Name, id.Address)
			}
		}
	}
	return nil
}

func oneOf[T ~string](key, value string, accepted []T) (T, error) {
	if i := slices.Index(accepted, T(value)); i >= 0 {
		return accepted[i], nil
	}
	return "", plugin.BadKey(key, "%q is not accepted: write %s", value, orList(quoted(accepted)))
}

func quoted[T ~string](words []T) []string {
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = strconv.Quote(string(w))
	}
	return names
}

func orList(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
