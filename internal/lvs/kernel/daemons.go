package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
)

// SyncSettings are those of the kernel's sync daemons, by which directors tell
// each other their connections. 0 is the kernel's default.
type SyncSettings struct {
	Role      SyncRole
	Interface string
	SyncID    int // 0 to 255
	MaxLength uint16
	Group     netip.Addr // of multicast; default 224.0.0.81
	Port      uint16     // default 8848
	TTL       uint8      // default 1
}

// SyncRole says which daemons run.
type SyncRole string

// A master sends the connections, a backup receives them.
const (
	SyncMaster SyncRole = "master"
	SyncBackup SyncRole = "backup"
	SyncBoth   SyncRole = "both"
)

func (r SyncRole) roles() []ipvs.Role {
	switch r {
	case SyncMaster:
		return []ipvs.Role{ipvs.Master}
	case SyncBackup:
		return []ipvs.Role{ipvs.Backup}
	case SyncBoth:
		return []ipvs.Role{ipvs.Master, ipvs.Backup}
	}
	return nil
}

// during is the settings of an activity.
func (s *SyncSettings) during(a lvs.Activity) *SyncSettings {
	if s == nil || s.Role == SyncBoth {
		return s
	}
	now := *s
	switch a {
	case lvs.Active:
		now.Role = SyncMaster
	case lvs.Standby:
		now.Role = SyncBackup
	case lvs.Alone, lvs.Waiting:
	}
	return &now
}

// daemons are those that should run.
func (s *SyncSettings) daemons() map[ipvs.Role]ipvs.Daemon {
	all := map[ipvs.Role]ipvs.Daemon{}
	if s == nil {
		return all
	}
	for _, role := range s.Role.roles() {
		all[role] = ipvs.Daemon{
			Role: role, Interface: s.Interface, SyncID: s.SyncID,
			MaxLength: s.MaxLength, Group: s.Group, Port: s.Port, TTL: s.TTL,
		}
	}
	return all
}

// alike reports whether a running daemon is the wanted one.
func alike(running, wanted ipvs.Daemon) bool {
	if !wanted.Group.IsValid() {
		wanted.Group = netip.AddrFrom4([4]byte{224, 0, 0, 81})
	}
	wanted.Port = cmp.Or(wanted.Port, 8848)
	wanted.TTL = cmp.Or(wanted.TTL, 1)
	wanted.MaxLength = cmp.Or(bounded(wanted), running.MaxLength)
	return running == wanted
}

// bounded is the length of messages that the kernel makes of the wanted one
// (start_sync_thread in ip_vs_sync.c); 0 is left to it, who goes by the
// interface.
func bounded(d ipvs.Daemon) uint16 {
	if d.MaxLength == 0 {
		return 0
	}
	least, headers := uint16(1), uint16(20+8) // IPv4, UDP
	if d.Role == ipvs.Backup {
		least = 1024
	}
	if d.Group.Is6() {
		headers = 40 + 8
	}
	return min(max(d.MaxLength, least), 65535-headers)
}

// runDaemons has the wanted sync daemons run, with the wanted settings, and
// stops those that we started.
func (r *round) runDaemons(ctx context.Context) error {
	if r.activity == lvs.Waiting {
		return nil
	}
	wanted := r.settings.Sync.during(r.activity).daemons()
	if len(wanted) == 0 && len(r.memory.daemons) == 0 {
		return nil
	}
	all, err := r.access.Daemons(ctx)
	if err != nil {
		return err
	}
	running := map[ipvs.Role]ipvs.Daemon{}
	for _, d := range all {
		running[d.Role] = d
	}
	var errs []error
	for _, role := range []ipvs.Role{ipvs.Master, ipvs.Backup} {
		errs = append(errs, r.runDaemon(ctx, role, wanted, running))
	}
	return errors.Join(errs...)
}

func (r *round) runDaemon(ctx context.Context, role ipvs.Role, wanted, running map[ipvs.Role]ipvs.Daemon) error {
	w, isWanted := wanted[role]
	d, runs := running[role]
	if isWanted && runs && alike(d, w) {
		return nil
	}
	if runs && (isWanted || r.memory.daemons[role]) {
		if err := r.access.StopDaemon(ctx, role); err != nil && !errors.Is(err, ipvs.ErrMissing) {
			return err
		}
	}
	if !isWanted {
		delete(r.memory.daemons, role)
		return nil
	}
	r.memory.daemons[role] = true
	unsaved := r.save() // first remembered, then done
	err := r.access.StartDaemon(ctx, w)
	if err == nil {
		r.mended(fmt.Sprintf("the sync daemon %s %s", role, amiss(runs)))
	}
	return errors.Join(unsaved, err)
}

// mended notes a repair of what the settings say; new settings make none.
func (r *round) mended(what string) {
	if r.started && !r.fresh && r.activity == r.ran {
		r.repair.Other = append(r.repair.Other, what)
	}
}

func amiss(runs bool) string {
	if runs {
		return "had other settings: it was started anew"
	}
	return "was not running: it was started"
}

// setTimeouts sets those that are given and differ.
func (r *round) setTimeouts(ctx context.Context) error {
	w := r.settings.Timeouts
	if w == (ipvs.Timeouts{}) {
		return nil
	}
	now, err := r.access.Timeouts(ctx)
	if err != nil {
		return err
	}
	var differ []string
	for _, t := range []struct {
		name        string
		wanted, now time.Duration
	}{{"tcp", w.TCP, now.TCP}, {"tcp_fin", w.TCPFin, now.TCPFin}, {"udp", w.UDP, now.UDP}} {
		if t.wanted != 0 && t.wanted != t.now {
			differ = append(differ, fmt.Sprintf("%s was %s instead of %s", t.name, t.now, t.wanted))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	if err := r.access.SetTimeouts(ctx, w); err != nil {
		return err
	}
	r.mended("the timeout " + strings.Join(differ, ", "))
	return nil
}

// save has the memory remembered if it is another than was last.
func (r *round) save() error {
	if r.memory.equal(r.saved) {
		return nil
	}
	if err := r.remember(r.memory.closed()); err != nil {
		return fmt.Errorf("what is ours in the kernel cannot be remembered: %w", err)
	}
	r.saved = r.memory.clone()
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
