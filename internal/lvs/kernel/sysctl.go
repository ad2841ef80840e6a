package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/monitord/monitord/internal/lvs"
)

// The sysctls (Documentation/networking/ipvs-sysctl.rst), all 0 by default:
// expireTemplates has clients whose persistent server got weight 0 choose anew;
// expireConnections ends the connections of a removed server at their next packet
// instead of dropping their packets; conntrack has them known to netfilter, which
// has to translate the source for fullnat; backupOnly has a kernel that is told of
// connections forward none, but take those for an address on lo itself.
const (
	expireTemplates   = "net.ipv4.vs.expire_quiescent_template"
	expireConnections = "net.ipv4.vs.expire_nodest_conn"
	conntrack         = "net.ipv4.vs.conntrack"
	backupOnly        = "net.ipv4.vs.backup_only"
)

// on is what they are set to.
const on = "1"

// sysctlsFor returns the keys that a table needs, sorted.
func sysctlsFor(t lvs.Table) []string {
	var templates, connections, tracking bool
	for _, s := range t {
		templates = templates || s.Persistence > 0
		connections = connections || s.Drain == lvs.DrainCut
		tracking = tracking || slices.ContainsFunc(s.Servers, isFullNAT)
	}
	var keys []string
	for _, n := range []struct {
		key    string
		needed bool
	}{{conntrack, tracking}, {expireConnections, connections}, {expireTemplates, templates}} {
		if n.needed {
			keys = append(keys, n.key)
		}
	}
	return keys
}

// sysctlsFor adds what a standby needs. While nothing is decided it is as it was.
func (r *round) sysctlsFor(t lvs.Table) []string {
	keys := sysctlsFor(t)
	_, was := r.memory.sysctls[backupOnly]
	if r.settings.Sync != nil && r.activity == lvs.Standby || was && r.activity == lvs.Waiting {
		keys = append([]string{backupOnly}, keys...)
	}
	return keys
}

func isFullNAT(r lvs.Server) bool { return r.Forward == lvs.FullNAT }

// A need is a sysctl that is to be set.
type need struct {
	key    string
	err    error  // why it cannot be
	repair string // what is to be said of it then
}

// sysctls reads those that are needed, notes the values that are to be restored,
// and returns what is to be raised. It relies on the last round if the needs are
// the same, unless this one is full.
func (r *round) sysctls(keys []string) []need {
	if !r.full && slices.Equal(keys, r.needs) {
		return nil
	}
	r.needs = keys
	var raise []need
	for _, key := range keys {
		value, err := r.sysctl.Get(key)
		_, ours := r.memory.sysctls[key]
		switch {
		case err != nil:
			raise = append(raise, need{key: key, err: err})
		case value == on:
		case ours:
			raise = append(raise, need{key: key, repair: fmt.Sprintf("%s was %s: it was set to %s again", key, value, on)})
		default:
			raise = append(raise, need{key: key})
			r.memory.sysctls[key] = value
		}
	}
	return raise
}

func (r *round) raise(n need) error {
	err := n.err
	if err == nil {
		err = r.sysctl.Set(n.key, on)
	}
	if err != nil {
		return fmt.Errorf("%s = %s is needed: %w", n.key, on, err)
	}
	if n.repair != "" && r.started {
		r.repair.Other = append(r.repair.Other, n.repair)
	}
	return nil
}

// lower restores those that are not needed any more.
func (r *round) lower(keys []string) []error {
	var errs []error
	for _, key := range sortedKeys(r.memory.sysctls) {
		if slices.Contains(keys, key) {
			continue
		}
		if err := restore(r.sysctl, key, r.memory.sysctls[key]); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(r.memory.sysctls, key)
	}
	return errs
}

// restore gives a sysctl its old value, if it still has ours. With ip_vs its
// sysctls are gone.
func restore(s Sysctl, key, before string) error {
	value, err := s.Get(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && value == on {
		err = s.Set(key, before)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be restored to %s: %w", key, before, err)
	}
	return nil
}
